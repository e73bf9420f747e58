"""The memory of training and of sampling: by arithmetic and, on a GPU, measured.

python benchmarks/memory.py                     the arithmetic; with a GPU, also the measurements, in 100 s at most
python benchmarks/memory.py --measure-only      the measurements alone
python benchmarks/memory.py --size toy          the measuring code at toy size, also on a CPU

Random weights, 512×384, 45 matches in each picture, bf16 autocast, two micro-batches in an update. The arithmetic runs
the same updates on PyTorch's meta device and counts the bytes of all tensors, without the attention loss (0.02 GB in
each picture) and without the workspaces of libraries. A GB is 10⁹ bytes. The tables go to `memory.md` and `memory.json`
in the output folder.
"""

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arguments import parser_of
from cases import GUIDANCE, HALF, META, SIZES, Case, Size, Training, batch_of, weights_of
from counting import CudaAutocast, LiveBytes
from diffusers.utils import logging
from results import table
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from siftvton.files import write_json, write_text
from siftvton.model import build
from siftvton.sampling.batch import generate
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.supervision.losses import noise_error

GB = 1e9
BATCHES = (1, 8)  # of every case
SAMPLED = (torch.bfloat16, torch.float32)
CASES = (
    Case(),
    Case(checkpointing=True),
    Case(optimizer="adamw8bit"),
    Case(optimizer="adafactor"),
    Case(optimizer="adamw8bit", checkpointing=True),
    Case(cached=True, checkpointing=True),
    Case(trainable="lora"),
    Case(trainable="lora", checkpointing=True),
)
LADDERS = (*CASES[:2], *CASES[-2:])  # measured at further batches


def bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def state_bytes(optimizer: str, weights: Iterable[Tensor]) -> float:
    """The bytes of an optimiser's state, for float32 weights."""
    total = 0.0
    for weight in weights:
        values = weight.numel()
        if optimizer == "adafactor" and weight.dim() > 1:  # means over rows and over columns
            total += 4 * (values / weight.shape[-1] + values / weight.shape[-2])
        elif optimizer == "adafactor":
            total += 4 * values
        elif optimizer == "adamw8bit" and values >= 4096:  # smaller tensors have a state in float32
            total += 2 * (values + 4 * math.ceil(values / 256))
        else:
            total += 8 * values
    return total


def count_training(case: Case, size: Size, images: int) -> dict[str, float]:
    """The memory of an update in GB, part by part."""
    training = Training(case, size, META)
    batch, autocast = training.batch(images), CudaAutocast(HALF)
    if case.checkpointing:  # the second run of a block happens in the backward pass, where no mode is on
        again = partial(checkpoint, use_reentrant=False, context_fn=lambda: (nullcontext(), CudaAutocast(HALF)))
        training.network.unet.enable_gradient_checkpointing(again)
        training.network.garment_encoder.enable_gradient_checkpointing(again)
    with LiveBytes(training.weights()) as live, autocast:
        for _ in range(2):  # the second micro-batch finds the gradients of the first
            live.peak = live.now
            inputs = training.inputs(batch)
            with autocast.caching():
                prediction = training.network(
                    inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned
                )
                loss = noise_error(prediction, inputs.target).mean()
            loss.backward()
            del inputs, prediction, loss
    gradients = bytes_of(weight.grad for weight in training.trained if weight.grad is not None)
    weights, state = bytes_of(training.weights()), state_bytes(case.optimizer, training.trained)
    return {
        "weights": weights / GB,
        "gradients": gradients / GB,
        "state": state / GB,
        "activations": (live.peak - gradients) / GB,
        "total": (weights + state + live.peak) / GB,
    }


@torch.no_grad()
def count_sampling(size: Size, images: int, dtype: torch.dtype) -> dict[str, float]:
    """The memory of sampling with guidance in GB: the largest of encoding, a step and decoding."""
    with META:
        pipeline = TryOnPipeline(**size.parts(), scheduler=build.scheduler()).to(dtype)
        stride = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        grid = [pixels // stride for pixels in size.pictures]
        picture = torch.empty(images, 3, *size.pictures, dtype=dtype)
        latent = torch.empty(images, pipeline.vae.config.latent_channels, *grid, dtype=dtype)
        sample = torch.empty(images, pipeline.unet.config.in_channels, *grid, dtype=dtype)
        context = torch.empty(images, 1, pipeline.unet.config.context_width, dtype=dtype)
        timestep = torch.empty(images, dtype=torch.long)

    def step() -> None:
        features = pipeline.garment_encoder(sample, latent, timestep, context)
        pipeline.unet(sample.repeat(2, 1, 1, 1), timestep.repeat(2), context.repeat(2, 1, 1), features)

    stages: tuple[Callable[[], Any], ...] = (
        lambda: pipeline.vae.encode(picture),
        step,
        lambda: pipeline.vae.decode(latent),
    )
    weights = weights_of(pipeline)
    peaks = []
    for stage in stages:
        with LiveBytes(weights) as live, CudaAutocast(None):
            stage()
        peaks.append(live.peak)
    given, peak = bytes_of(weights), max(peaks)
    return {"weights": given / GB, "activations": peak / GB, "total": (given + peak) / GB}


class Meter:
    """Measures peak memory and time: PyTorch's allocator on a GPU, and the tensors' bytes on a CPU."""

    def __init__(self, device: torch.device, given: list[Tensor]) -> None:
        """
        Args:
            given: the tensors that exist already; used on a CPU alone.
        """
        self.device, self.given = device, given

    def run(self, work: Callable[[], Any]) -> dict[str, float]:
        """Run ``work``; returns the largest allocated and reserved memory in GB, and the seconds."""
        cuda, live = self.device.type == "cuda", LiveBytes(self.given)
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        with nullcontext() if cuda else live:
            work()
        if not cuda:
            return {"peak": (bytes_of(self.given) + live.peak) / GB, "seconds": time.perf_counter() - start}
        torch.cuda.synchronize()
        return {
            "peak": torch.cuda.max_memory_allocated() / GB,
            "reserved": torch.cuda.max_memory_reserved() / GB,
            "seconds": time.perf_counter() - start,
        }


def measure_training(case: Case, size: Size, device: torch.device, batches: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Measure an update at each batch up to the first that does not fit; yields rows."""
    training = Training(case, size, device)
    optimizer = training.optimizer()
    training.update(optimizer, training.batch(1))  # makes the optimiser's state
    for images in batches:
        row = {"case": case.title, "batch": images}
        try:
            batch = training.batch(images)
            state = [value for each in optimizer.state.values() for value in each.values()]
            given = [*training.weights(), *(value for value in state if isinstance(value, Tensor))]
            meter = Meter(device, given)
            if device.type == "cuda":
                training.update(optimizer, batch)  # libraries choose their kernels
            yield row | meter.run(lambda batch=batch: training.update(optimizer, batch))
        except torch.OutOfMemoryError:
            yield row | {"error": "out of memory"}
            return


def measure_sampling(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Measure guided sampling of one picture in five steps; yields one row."""
    with device:
        pipeline = TryOnPipeline(**size.parts(), scheduler=build.scheduler()).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    batch = batch_of(1, size.pictures, device, None)

    def sample() -> None:
        generate(pipeline, batch, seed=0, steps=5, guidance=GUIDANCE)

    if device.type == "cuda":
        sample()
    meter = Meter(device, weights_of(pipeline))
    yield {"case": _sampling(dtype), "batch": 1} | meter.run(sample)


def measured(size: Size, device: torch.device, limit: float) -> Iterator[dict[str, Any]]:
    """All measurements; an error ends its own case alone.

    Args:
        limit: seconds after which no further measurement begins.
    """
    end = time.perf_counter() + limit
    for dtype in SAMPLED:
        yield from rows_in_time(_sampling(dtype), end, measure_sampling(size, device, dtype))
    for case in CASES:
        yield from rows_in_time(case.title, end, measure_training(case, size, device, BATCHES))
    for case in LADDERS:
        yield from rows_in_time(case.title, end, measure_training(case, size, device, size.ladder))


def rows_in_time(title: str, end: float, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows until the time ``end``; a last row, called ``title``, says if an error or the time ended them."""
    try:
        while time.perf_counter() < end:
            found = next(rows, None)
            if found is None:
                return
            yield found
        yield {"case": title, "error": "not run: out of time"}
    except Exception as error:  # noqa: BLE001  the other cases still count
        yield {"case": title, "error": one_line(error)}
    finally:
        del rows
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def one_line(error: Exception) -> str:
    """The kind and the beginning of the message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def counted(size: Size) -> Iterator[dict[str, Any]]:
    """The arithmetic for each case at batch 1 and 8."""
    for case in CASES:
        for images in BATCHES:
            yield {"case": case.title, "batch": images} | count_training(case, size, images)
    for dtype in SAMPLED:
        yield {"case": _sampling(dtype), "batch": 1} | count_sampling(size, 1, dtype)


def _sampling(dtype: torch.dtype) -> str:
    return f"sampling, {str(dtype).removeprefix('torch.')}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--size", default="full", choices=tuple(SIZES))
    parser.add_argument("--output", default="outputs/memory", help="folder for memory.md and memory.json")
    parser.add_argument("--measure-only", action="store_true", help="leave out the arithmetic")
    parser.add_argument("--seconds", type=float, default=100.0, help="time for the measurements")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    size, output = SIZES[arguments.size], Path(arguments.output)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "counted": [], "measured": []}
    columns = {
        "counted": ("case", "batch", "weights", "gradients", "state", "activations", "total"),
        "measured": ("case", "batch", "peak", "reserved", "seconds", "error"),
    }
    runs: dict[str, Iterator[dict[str, Any]]] = {}
    if device.type == "cuda" or arguments.size == "toy":
        runs["measured"] = measured(size, device, arguments.seconds)
    if not arguments.measure_only:
        runs["counted"] = counted(size)
    for what, rows in runs.items():
        for row in rows:
            print(what, row, flush=True)
            results[what].append(row)
            write_json(output / "memory.json", results)  # what is done stays if the process is ended
    text = [f"{name}, PyTorch {torch.__version__}; GB"]
    for what in runs:
        text += ["", what, "", table({name: name for name in columns[what]}, results[what], number=".2f")]
    write_text(output / "memory.md", "\n".join(text) + "\n")
    print("\n" + "\n".join(text))


if __name__ == "__main__":
    main()
