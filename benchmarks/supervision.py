"""The cost of supervision in time and memory: without it, with ours, and dense as published.

python benchmarks/supervision.py                 time of the reference, one hooked layer and a toy step, interleaved
python benchmarks/supervision.py losses          time of one hooked layer with each of the attention losses, interleaved
python benchmarks/supervision.py memory          peak memory of the layer and the toy step, each in a new process

Forward and backward pass, float32, on the CPU. The layer has 3,072 queries and keys, 8 heads of width 40 and batch 2.
The toy step uses the shipped network with batch 8 and includes the step of the optimiser. Each takes a few minutes on
two cores. The tables are printed, and the ratios of the first and the last go to `outputs/bench.json`.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import plain
import torch
from arguments import parser_of
from diffusers.models.attention_processor import Attention
from processes import peak, peak_apart
from results import record, spread
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from siftvton.correspondence import Correspondences, with_dense_field
from siftvton.sampling.loading import load
from siftvton.supervision import (
    Recorder,
    ReferenceAttention,
    regularise,
    supervise,
    supervise_flow,
    supervise_places,
)
from siftvton.training.state import select_trainable

ROUNDS = 11
FRAME = (512, 384)
GRIDS = ((16, 12), (32, 24), (64, 48))
FORMS = ("without", "ours", "dense")
TOY = Path(__file__).parents[1] / "checkpoints" / "toy"


def matches_of(count: int, images: int) -> list[Correspondences]:
    """``count`` matches for each image, in the middle of both pictures, where garments are."""
    draw = np.random.default_rng(0)
    low, high = np.array([100, 120]), np.array([284, 420])
    return [Correspondences(*(low + draw.random((2, count, 2)) * (high - low)), frame=FRAME) for _ in range(images)]


def supervised_step(
    model: nn.Module,
    forward: Callable[[], Tensor],
    parameters: list[nn.Parameter],
    batch: list[Correspondences],
    layers: list[str],
    form: str,
) -> None:
    """Run forward and backward pass in one of the forms."""
    for parameter in parameters:
        parameter.grad = None
    if form == "without":
        forward().square().mean().backward()
        return
    dense = form == "dense"
    reference = None if dense else ReferenceAttention.from_correspondences(batch)
    with plain.dense_supervision(model, batch, layers) if dense else supervise(model, reference, layers) as recorder:
        loss = forward().square().mean()
        (loss + 0.1 * recorder.loss().mean()).backward()


def layer_step(count: int) -> Callable[[str], None]:
    """A function that runs one hooked layer in a form, with ``count`` matches for each image."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"hooked": Attention(320, cross_attention_dim=320, heads=8, dim_head=40)})
    hidden, garment = torch.randn(2, 2, 3072, 320, requires_grad=True)
    batch, parameters = matches_of(count, 2), list(model.parameters())

    def forward() -> Tensor:
        return model["hooked"](hidden, encoder_hidden_states=garment)

    return lambda form: supervised_step(model, forward, parameters, batch, ["hooked"], form)


def toy_step(count: int) -> Callable[[str], None]:
    """A function that runs one update of the toy network in a form, with ``count`` matches for each image."""
    pipeline = load(TOY)
    network = pipeline.network()
    parameters = select_trainable(network, "all")
    optimizer = torch.optim.AdamW(parameters, lr=1e-6)
    torch.manual_seed(0)
    given = (torch.randn(8, 13, 32, 24), torch.full((8,), 300), torch.randn(8, 4, 32, 24), torch.rand(8, 3, 224, 224))
    batch, layers = matches_of(count, 8), network.unet.hooked_layers("middle")

    def step(form: str) -> None:
        supervised_step(
            network.unet, lambda: network(*given, torch.ones(8, dtype=torch.bool)), parameters, batch, layers, form
        )
        optimizer.step()

    return step


CASES = {
    "layer, 20 matches": (layer_step, 20),
    "layer, 100 matches": (layer_step, 100),
    "layer, 500 matches": (layer_step, 500),
    "toy step, 8 matches": (toy_step, 8),  # the average of its training pairs
}


def compare_references() -> None:
    """Compare building the reference attention of a batch on three grids; the figures are for one image."""
    images = 8
    matches = matches_of(100, images)
    times: dict[str, list[float]] = {"sparse": [], "dense": []}

    def sparse() -> int:
        reference = ReferenceAttention.from_correspondences(matches)
        return sum(t.nbytes for grid in GRIDS for t in vars(reference.at(grid, grid)).values())

    def dense() -> int:
        return sum(plain.dense_reference(each, grid, grid).nbytes for each in matches for grid in GRIDS)

    for _ in range(4 * ROUNDS):
        for name, build in (("sparse", sparse), ("dense", dense)):
            start = time.perf_counter()
            build()
            times[name].append((time.perf_counter() - start) / images)
    ratio = np.array(times["dense"]) / np.array(times["sparse"])
    sizes = {"dense": dense() / images, "sparse": sparse() / images}
    print(f"reference attention, 100 matches, three grids, for each image of a batch of {images}:")
    for name, size in sizes.items():
        print(f"{name}: {np.median(times[name]) * 1e3:.3f} ms, {size / 2**10:.1f} KiB")
    print(f"time ratio {spread(ratio, 0)}")
    record(
        dense_over_sparse_reference_time=float(np.median(ratio)),
        dense_over_sparse_reference_bytes=sizes["dense"] / sizes["sparse"],
    )


def compare_time() -> None:
    """Run all cases and forms in interleaved rounds; print a table of times and FLOPs."""
    compare_references()
    print("\n| case | form | ms | ratio to without | CPU ratio | GFLOP |\n|---|---|---:|---:|---:|---:|")
    for case, (make, count) in CASES.items():
        step = make(count)
        wall: dict[str, list[float]] = {form: [] for form in FORMS}
        cpu: dict[str, list[float]] = {form: [] for form in FORMS}
        flops = {}
        for form in FORMS:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                step(form)  # also a warm-up
            flops[form] = counter.get_total_flops()
        for _ in tqdm(range(ROUNDS), desc=case, unit="round", leave=False):
            for form in FORMS:
                start, start_cpu = time.perf_counter(), time.process_time()
                step(form)
                wall[form].append(time.perf_counter() - start)
                cpu[form].append(time.process_time() - start_cpu)
        for form in FORMS:
            ratio = np.array(wall[form]) / np.array(wall["without"])
            print(
                f"| {case} | {form} | {np.median(wall[form]) * 1e3:.0f} | {spread(ratio)} | "
                f"{np.median(np.array(cpu[form]) / np.array(cpu['without'])):.3f} | "
                f"{flops[form] / 1e9:.2f} |"
            )
            if case.startswith("toy") and form == "ours":
                record(supervised_over_unsupervised_time=float(np.median(ratio)))


def loss_recorders(model: nn.Module) -> dict[str, Callable[[], AbstractContextManager[Recorder | None]]]:
    """What records each loss of a layer with two images, by the name of its row; 100 matches, a mask of a torso."""
    matches = matches_of(100, 2)
    dense = [with_dense_field(each, reach=32) for each in matches]
    pictures, mask = torch.rand(2, 2, 3, *FRAME), torch.zeros(2, 1, *FRAME)
    mask[..., 120:420, 100:284] = 1
    latent_mask = nn.functional.interpolate(mask, size=GRIDS[-1])

    def reference(batch: list[Correspondences], sigma: float = 0.0) -> ReferenceAttention:
        return ReferenceAttention.from_correspondences(batch, sigma)

    return {
        "no loss": nullcontext,
        "Eq. 2": lambda: supervise(model, reference(matches)),
        "Eq. 2, σ = 8 pixels": lambda: supervise(model, reference(matches, 8)),
        f"Eq. 2, dense field ({sum(map(len, dense)) // 2} matches)": lambda: supervise(model, reference(dense)),
        "place": lambda: supervise_places(model, reference(matches)),
        "flow": lambda: supervise_flow(model, *pictures, mask),
        "ATV": lambda: regularise(model, latent_mask, FRAME),
    }


def compare_losses() -> None:
    """Run one full-width layer with each loss in interleaved rounds; print a table of CPU times."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"hooked": Attention(320, cross_attention_dim=320, heads=8, dim_head=40)})
    hidden, garment = torch.randn(2, 2, 3072, 320, requires_grad=True)
    recorders = loss_recorders(model)
    times: dict[str, list[float]] = {name: [] for name in recorders}
    for _ in tqdm(range(ROUNDS + 1), unit="round", leave=False):
        for name, make in recorders.items():
            model.zero_grad()
            start = time.process_time()
            with make() as recorder:
                loss = model["hooked"](hidden, encoder_hidden_states=garment).square().mean()
                (loss if recorder is None else loss + 0.1 * recorder.loss().mean()).backward()
            times[name].append(time.process_time() - start)
    print("| loss | CPU ms | ratio to no loss |\n|---|---:|---:|")
    for name, seconds in times.items():
        ratio = np.array(seconds[1:]) / np.array(times["no loss"][1:])
        print(f"| {name} | {np.median(seconds[1:]) * 1e3:.0f} | {spread(ratio)} |")


def compare_memory() -> None:
    """Print the peak memory of all cases and forms."""
    print("| case | form | peak, MiB | ratio to without |\n|---|---|---:|---:|")
    for case in CASES:
        toy = case.startswith("toy")
        peaks: dict[str, float] = {}
        for form in FORMS:
            # The peaks of identical processes differ by about 1 %, so the recorded value is the median of three.
            rounds = range(3 if toy else 1)
            found = [peak_apart(__file__, "peak", "--case", case, "--form", form) for _ in rounds]
            peaks[form] = float(np.median(found))
            print(f"| {case} | {form} | {peaks[form] * 2**10:.0f} | {peaks[form] / peaks['without']:.3f} |")
        if toy:
            record(supervised_over_unsupervised_memory=peaks["ours"] / peaks["without"])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", nargs="?", default="time", choices=("time", "losses", "memory", "peak"))
    parser.add_argument("--case", choices=tuple(CASES), help="for `peak`")
    parser.add_argument("--form", choices=FORMS, help="for `peak`")
    arguments = parser.parse_args()
    if arguments.what == "peak":
        make, count = CASES[arguments.case]
        step = make(count)
        for _ in range(3):
            step(arguments.form)
        print(peak())
    elif arguments.what == "memory":
        compare_memory()
    elif arguments.what == "losses":
        compare_losses()
    else:
        compare_time()


if __name__ == "__main__":
    main()
