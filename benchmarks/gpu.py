"""Speed and memory on one GPU: training, sampling and preprocessing in one table.

python benchmarks/gpu.py                                everything, in about five minutes on an H100
python benchmarks/gpu.py --only training sampling       these parts alone
python benchmarks/gpu.py --size toy --only training     the same code at toy size, also on a CPU

Random weights and pictures. Training: fine-tuning in bf16 autocast with AdamW, 45 matches in each picture, two
micro-batches in an update; a ratio is the time over that of unsupervised training. Sampling: guidance, with encoding
and decoding; a case names the sampler, its steps and the number format. Preprocessing: `preprocess_sift` on toy pairs,
with the start of its processes. The first call is timed apart; in the rows of compiled networks, it compiles.

The rows come in the order of their importance. A row that fails, e.g. because memory is full, says so and ends no other
row. Peaks are those of PyTorch's allocator on a GPU, and the bytes of all tensors on a CPU. A GB is 10⁹ bytes. The
table and `gpu.json` are written to the output folder after every row.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from arguments import parser_of
from cases import GUIDANCE, SIZES, Case, Size, Training, batch_of, weights_of
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler, UniPCMultistepScheduler
from diffusers.utils import logging
from memory import Meter, one_line, rows_in_time
from preprocessing import ours
from results import table
from training_step import dense_match_loss

from siftvton.devices import set_up_gpu
from siftvton.files import write_json, write_text
from siftvton.model import build
from siftvton.sampling.batch import generate
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.execution import place, use_scheduler
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.toy.world.write import write_world
from siftvton.training.compiling import compile_blocks, supervised_layers
from siftvton.training.config import SupervisionConfig
from siftvton.training.step import ATTENTION_LOSSES

Row = dict[str, Any]
PLMS, UNIPC, DPM = (kind.__name__ for kind in (PNDMScheduler, UniPCMultistepScheduler, DPMSolverMultistepScheduler))
EVERY_TIMESTEP = SupervisionConfig(max_timestep=999)  # all images are supervised
UNSUPERVISED, SUPERVISED, DENSE = "unsupervised", "supervised", "dense supervision"
FORMS = {UNSUPERVISED: replace(EVERY_TIMESTEP, weight=0.0), SUPERVISED: EVERY_TIMESTEP, DENSE: EVERY_TIMESTEP}
PARTS = ("training", "sampling", "preprocessing", "compiling")
COLUMNS = {
    "part": "part",
    "case": "case",
    "pictures": "pictures",
    "batch": "batch",
    "rate": "per second",
    "seconds": "seconds",
    "peak": "peak, GB",
    "ratio": "ratio",
    "first": "first call, s",
    "error": "error",
}


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Attributes:
        size: the network, and the usual size of its pictures.
        large: (height, width) of larger pictures, in pixels.
        trained, trained_large: number of images in a micro-batch of usual and of large pictures.
        drawn: numbers of pictures that are sampled at once.
        steps, few: numbers of sampling steps.
        pairs: number of pairs to preprocess. frame: (height, width) of their pictures, in pixels.
        repeats: number of measured updates.
    """

    size: Size
    large: tuple[int, int]
    trained: int
    trained_large: int
    drawn: tuple[int, ...]
    steps: int
    few: tuple[int, ...]
    pairs: int
    frame: tuple[int, int]
    repeats: int


SCALES = {
    "full": Scale(SIZES["full"], (1024, 768), 8, 2, (1, 8), 50, (10, 20), 96, (512, 384), 5),
    "toy": Scale(SIZES["toy"], (96, 64), 2, 1, (1, 2), 2, (1,), 2, (128, 96), 1),
}


def attempt(measure: Callable[..., Row], *given: Any) -> Row:
    """The row that ``measure`` returns, or one that says why there is none."""
    try:
        return measure(*given)
    except torch.OutOfMemoryError:
        return {"error": "out of memory"}
    except Exception as error:  # noqa: BLE001  the other rows still count
        return {"error": one_line(error)}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def training_rows(
    scale: Scale, device: torch.device, pictures: tuple[int, int], images: int, compiled: bool = False
) -> Iterator[Row]:
    """Updates without supervision, with ours and with dense matrices; compiled ones with ours alone."""
    training = Training(Case(), replace(scale.size, pictures=pictures), device)
    optimizer = training.optimizer()
    training.update(optimizer, training.batch(1))  # makes the optimiser's state
    if compiled:
        compile_blocks(training.network, supervised_layers(training.network, EVERY_TIMESTEP))
    unsupervised = None
    for form in [SUPERVISED] if compiled else FORMS:
        training.supervision = FORMS[form]
        with patch.dict(ATTENTION_LOSSES, {"sift": dense_match_loss} if form == DENSE else {}):
            found = attempt(measured_update, training, optimizer, images, scale.repeats)
        if form == UNSUPERVISED:
            unsupervised = found.get("seconds")
        if unsupervised and "seconds" in found:
            found["ratio"] = found["seconds"] / unsupervised
        yield {"case": f"{form}{', compiled' if compiled else ''}", "batch": images} | found


def measured_update(training: Training, optimizer: torch.optim.Optimizer, images: int, repeats: int) -> Row:
    """Measure updates of two micro-batches, after a first one, in which libraries choose their kernels."""
    optimizer.zero_grad()  # an update that failed has left gradients
    batch = training.batch(images)
    state = [value for each in optimizer.state.values() for value in each.values() if isinstance(value, torch.Tensor)]
    meter = Meter(training.device, [*training.weights(), *state])
    first = meter.run(lambda: training.update(optimizer, batch))
    found = meter.run(lambda: [training.update(optimizer, batch) for _ in range(repeats)])
    found["seconds"] /= repeats
    return found | {"rate": 2 * images / found["seconds"], "first": first["seconds"]}


def sampling_rows(
    scale: Scale,
    device: torch.device,
    pictures: tuple[int, int],
    dtype: torch.dtype,
    runs: Sequence[tuple[str, int, int]],
    compiled: bool = False,
) -> Iterator[Row]:
    """Batches of pictures.

    Args:
        runs: sampler, steps and batch of each row.
    """
    with device:
        pipeline = TryOnPipeline(**scale.size.parts(), scheduler=build.scheduler()).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, ExecutionConfig(device=str(device), compile=compiled))
    for scheduler, steps, images in runs:
        name = scheduler.removesuffix("Scheduler")
        case = f"{name} {steps}, {str(dtype).removeprefix('torch.')}{', compiled' if compiled else ''}"
        found = attempt(measured_pictures, pipeline, device, pictures, scheduler, steps, images)
        yield {"case": case, "batch": images} | found


def measured_pictures(
    pipeline: TryOnPipeline, device: torch.device, pictures: tuple[int, int], scheduler: str, steps: int, images: int
) -> Row:
    """Measure a batch, after a first one of two steps."""
    use_scheduler(pipeline, scheduler)
    batch = batch_of(images, pictures, device, None)

    def sample(steps: int) -> None:
        generate(pipeline, batch, seed=0, steps=steps, guidance=GUIDANCE)

    meter = Meter(device, weights_of(pipeline))
    first = meter.run(lambda: sample(2))
    found = meter.run(lambda: sample(steps))
    return found | {"rate": images / found["seconds"], "first": first["seconds"]}


def preprocessing_rows(scale: Scale) -> Iterator[Row]:
    """Matches of toy pairs, by all cores, four cores and one core."""
    available = os.cpu_count() or 1
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "toy"
        write_world(data, train_pairs=scale.pairs, test_pairs=2, seed=0, height=scale.frame[0], width=scale.frame[1])
        for cores in sorted({1, min(4, available), available}, reverse=True):
            output = Path(scratch) / f"matches_{cores}"
            yield {"case": f"cores: {cores}", "batch": scale.pairs} | attempt(
                measured_matches, data, output, cores, scale
            )


def measured_matches(data: Path, output: Path, cores: int, scale: Scale) -> Row:
    """Measure the preprocessing command."""
    start = time.perf_counter()
    ours(data, output, "separate", workers=cores, frame=scale.frame)
    seconds = time.perf_counter() - start
    return {"rate": scale.pairs / seconds, "seconds": seconds}


def plan(scale: Scale, device: torch.device, parts: Sequence[str]) -> Iterator[tuple[str, str, Iterator[Row]]]:
    """What is measured, in the order of importance: the part, the size of the pictures, and the rows."""
    usual, large, half = scale.size.pictures, scale.large, torch.bfloat16
    drawn = [(PLMS, scale.steps, scale.drawn[0])]
    drawn += [(name, steps, scale.drawn[0]) for steps in scale.few for name in (UNIPC, DPM)]
    drawn += [(PLMS, scale.steps, images) for images in scale.drawn[1:]]
    drawn += [(UNIPC, scale.few[0], images) for images in scale.drawn[1:]]
    whole = drawn[:1]
    everything = [
        ("training", usual, training_rows(scale, device, usual, scale.trained)),
        ("sampling", usual, sampling_rows(scale, device, usual, half, drawn)),
        ("training", large, training_rows(scale, device, large, scale.trained_large)),
        ("preprocessing", scale.frame, preprocessing_rows(scale)),
        ("sampling", usual, sampling_rows(scale, device, usual, torch.float32, whole)),
        ("sampling", usual, sampling_rows(scale, device, usual, torch.float16, whole)),
        ("sampling", large, sampling_rows(scale, device, large, half, whole)),
        ("compiling", usual, sampling_rows(scale, device, usual, half, whole, compiled=True)),
        ("compiling", usual, training_rows(scale, device, usual, scale.trained, compiled=True)),
    ]
    for part, pictures, rows in everything:
        if part in parts:
            yield part, "×".join(map(str, pictures)), rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--size", default="full", choices=tuple(SCALES))
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="parts to measure")
    parser.add_argument("--seconds", type=float, default=270.0, help="no row begins after this time")
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu"), help="folder for gpu.md and gpu.json")
    given = parser.parse_args(arguments)
    logging.set_verbosity_error()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and given.size != "toy":
        parser.error("this machine has no GPU with CUDA; use --size toy to try the code on the CPU")
    set_up_gpu(device)
    end = time.perf_counter() + given.seconds
    conditions = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "size": given.size,
    }
    done: list[Row] = []
    for part, pictures, rows in plan(SCALES[given.size], device, given.only):
        for row in rows_in_time(part, end, rows):
            done.append({"part": part, "pictures": pictures, **row})
            print(done[-1], flush=True)
            write_json(given.output / "gpu.json", {**conditions, "rows": done})  # stays if the process is ended
            write_text(given.output / "gpu.md", table(COLUMNS, done, text_columns=3) + "\n")
    print(f"\n{conditions['device']}, PyTorch {conditions['torch']}, {conditions['cores']} cores\n")
    print(table(COLUMNS, done, text_columns=3))


if __name__ == "__main__":
    main()
