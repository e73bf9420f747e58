"""A guided sampling step at full size: the published dataflow compared with ours.

python benchmarks/guided_step.py               time, CPU time, FLOPs and largest difference, in interleaved rounds
python benchmarks/guided_step.py savings       the same, adding one saving after the other
python benchmarks/guided_step.py memory        peak memory of both, each in a new process

A step is the garment encoder, the conditional and the unconditional pass; 512×384, batch 1, float32, random weights.
It needs about 8 GB, and two to three minutes each for time and memory on two cores. The tables are printed, and the
ratios go to `outputs/bench.json`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import plain
import torch
from arguments import parser_of
from processes import peak, peak_apart
from results import record, spread
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from siftvton.memory import KEPT, keep_freed_memory
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.single_token import token_constant
from siftvton.model.unet import TryOnUNet

ROUNDS = 7
LATENT = (64, 48)
BY_DEFAULT = 64 * 2**20  # bytes of free memory that glibc keeps after blocks of 32 MiB have been freed


@dataclass(frozen=True)
class Form:
    """The savings that a step uses."""

    nothing_unused: bool = False
    shortcut: bool = False
    fused: bool = False
    one_batch: bool = False
    context_kept: bool = False
    few_cells: bool = False
    memory_kept: bool = False


SAVINGS = {
    "+ unused stages left out": "nothing_unused",
    "+ single-token shortcut": "shortcut",
    "+ fused attention": "fused",
    "+ both passes in one batch": "one_batch",
    "+ context projections kept": "context_kept",
    "+ convolutions of few cells": "few_cells",
    "+ freed memory kept": "memory_kept",
}
FORMS = {"plain": Form()}  # each form includes the savings of the ones before
for saving, field in SAVINGS.items():
    FORMS[saving] = replace(FORMS[next(reversed(FORMS))], **{field: True})
PLAIN, *_, OURS = FORMS


def _random(module: torch.nn.Module, deviation: float = 0.02) -> torch.nn.Module:
    for name, parameter in module.named_parameters():
        if "norm" not in name:
            parameter.data.normal_(std=deviation)
    return module.eval().requires_grad_(False)


class Step:
    """The parts of a guided step and their inputs."""

    def __init__(self, unused: bool) -> None:
        torch.manual_seed(0)
        self.unet, self.encoder = _random(TryOnUNet()), _random(GarmentEncoder())
        self.unused = _random(plain.UnusedStages(self.encoder)) if unused else None
        self.sample, self.garment = torch.randn(1, 13, *LATENT), torch.randn(1, 4, *LATENT)
        self.timestep = torch.tensor([481])
        self.context, self.unconditional = torch.randn(2, 1, 1, 768)

    @contextmanager
    def running(self, form: Form) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
        """The step in one of its forms, as a function to call inside the block."""
        unused = None if form.nothing_unused else self.unused

        def step() -> tuple[Tensor, Tensor]:
            given = (self.sample, self.garment, self.timestep, self.context)
            features = plain.garment_features(self.encoder, unused, *given)
            contexts = (self.context, self.unconditional)
            return plain.guided_predictions(
                self.unet, self.sample, self.timestep, *contexts, features, one_batch=form.one_batch
            )

        modules = [module for module in (self.unet, self.encoder, self.unused) if module is not None]
        kept = token_constant(self.unet, self.encoder) if form.context_kept else nullcontext()
        convolutions = nullcontext() if form.few_cells else plain.convolutions()
        with plain.processors(*modules, fused=form.fused, shortcut=form.shortcut), convolutions, kept:
            keep_freed_memory(KEPT if form.memory_kept else BY_DEFAULT)
            if form.context_kept:
                step()  # fills the cache, as the first step of a picture does
            yield step


@torch.no_grad()
def time_forms(forms: dict[str, Form]) -> None:
    """Run all forms in interleaved rounds; print a table of times, FLOPs and differences to the plain form."""
    step = Step(unused=True)
    wall: dict[str, list[float]] = {name: [] for name in forms}
    cpu: dict[str, list[float]] = {name: [] for name in forms}
    flops: dict[str, int] = {}
    predictions: dict[str, tuple[Tensor, Tensor]] = {}
    for name, form in forms.items():  # also a warm-up
        with step.running(form) as run:
            predictions[name] = run()
            # The counter does not know the CPU's fused attention, but it knows the operations of the unfused one.
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                run()
        flops[name] = counter.get_total_flops()
    for _ in tqdm(range(ROUNDS), unit="round"):
        for name, form in forms.items():
            with step.running(form) as run:
                start, start_cpu = time.perf_counter(), time.process_time()
                run()
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    pairs = {name: zip(both, predictions[PLAIN], strict=True) for name, both in predictions.items()}
    differences = {name: max(float((a - b).abs().max() / b.std()) for a, b in pair) for name, pair in pairs.items()}
    _print_table(wall, cpu, flops, differences)
    record(guided_step_ours_over_plain_time=float(np.median(np.array(wall[OURS]) / np.array(wall[PLAIN]))))


def _print_table(
    wall: dict[str, list[float]], cpu: dict[str, list[float]], flops: dict[str, int], differences: dict[str, float]
) -> None:
    print(f"\n{ROUNDS} rounds, {torch.get_num_threads()} threads; ratio to plain: median [quartiles] over the rounds")
    print("\n| form | s | ratio | CPU ratio | GFLOP | largest difference / deviation |\n|---|---:|---:|---:|---:|---:|")
    for name in wall:
        ratio = np.array(wall[name]) / np.array(wall[PLAIN])
        cpu_ratio = np.median(np.array(cpu[name]) / np.array(cpu[PLAIN]))
        print(
            f"| {name} | {np.median(wall[name]):.2f} | {spread(ratio)} | "
            f"{cpu_ratio:.3f} | {flops[name] / 1e9:.0f} | {differences[name]:.1e} |"
        )


@torch.no_grad()
def peak_of(form: Form) -> None:
    """Run one step and print the peak memory of this process, in GiB."""
    with Step(unused=not form.nothing_unused).running(form) as run:
        run()
    print(peak())


def compare_memory() -> None:
    """Print the peak memory of the plain form and of ours, and their ratio."""
    peaks = []
    for name in (PLAIN, OURS):
        peaks.append(peak_apart(__file__, "peak", "--form", name))
        print(f"{name}: {peaks[-1]:.2f} GiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")
    record(guided_step_ours_over_plain_memory=peaks[1] / peaks[0])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", nargs="?", default="time", choices=("time", "savings", "memory", "peak"))
    parser.add_argument("--form", choices=tuple(FORMS), help="for `peak`")
    arguments = parser.parse_args()
    if arguments.what == "peak":
        peak_of(FORMS[arguments.form])
    elif arguments.what == "memory":
        compare_memory()
    else:
        time_forms(FORMS if arguments.what == "savings" else {name: FORMS[name] for name in (PLAIN, OURS)})


if __name__ == "__main__":
    main()
