"""A full-size training update on a CPU: the published dataflow compared with ours in several settings.

python benchmarks/training_step.py                          all settings, 7 rounds, about 90 minutes on two cores
python benchmarks/training_step.py --settings ours bf16     the published dataflow and these settings alone
python benchmarks/training_step.py --size toy --rounds 3    the same code at toy size, in two to three minutes

An update is everything between two batches: four encodings of the autoencoder, CLIP, the networks, the loss of 45
matches, the backward pass and the optimiser; 512×384, batch 1, random weights, float32 unless a setting says bf16.
Every measurement runs in a new process, which makes one update to warm up and measures the second one. In each round,
every setting runs once; in the first round, the operations of a third update are counted. Full size requires about
22 GB, and nothing else may run on the machine. The results so far are in `training_step.md` and `training_step.json` in
the output folder after every round.

The published dataflow is that of `plain.py` with PyTorch's fused attention in place of xformers: its networks are
checkpointed, AdamW runs as a loop over the parameters, and the queries and keys over the context token are trained too.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import plain
import torch
from arguments import count, parser_of
from cases import META, SIZES, Size, batch_of
from processes import peak
from results import spread
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from tqdm import tqdm

from siftvton.files import write_json, write_text
from siftvton.memory import keep_freed_memory
from siftvton.model import build
from siftvton.model.inputs import noised, posteriors
from siftvton.model.network import TryOnNetwork
from siftvton.tables import markdown_table
from siftvton.training.config import OptimisationConfig, SupervisionConfig
from siftvton.training.encoded import LatentDraws
from siftvton.training.frozen import lay_out_autoencoder
from siftvton.training.lora import adapt, layer_names
from siftvton.training.optimizers import optimizer_of
from siftvton.training.state import select_trainable
from siftvton.training.step import ATTENTION_LOSSES, AttentionLoss, LossInputs, step_losses

CPU = torch.device("cpu")
SEED = 0
SUPERVISION = SupervisionConfig(max_timestep=999)  # supervises the update at any timestep
PHASES = ("encoding", "forward", "backward", "optimiser")
ATTENTION_FLOPS = {  # PyTorch's counter does not know the attention of a CPU
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_args, **_keys: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda gradient, query, key, value, *_args, **_keys: sdpa_backward_flop_count(gradient, query, key, value)
    ),
}


@dataclass(frozen=True)
class Setting:
    """A way to train.

    Attributes:
        published: use the published dataflow.
        cached: whether latents are cached, so that the autoencoder does not run.
        huge_pages: let PyTorch ask the system for pages of 2 MiB.
    """

    published: bool = False
    checkpointing: bool = False
    cached: bool = False
    bf16: bool = False
    optimizer: str = "adamw"
    trainable: str = "finetune"
    huge_pages: bool = False


SETTINGS = {
    "published": Setting(published=True, checkpointing=True),
    "ours": Setting(),
    "huge_pages": Setting(huge_pages=True),
    "checkpointed": Setting(checkpointing=True),
    "cached": Setting(cached=True),
    "bf16": Setting(bf16=True),
    "bf16_cached": Setting(bf16=True, cached=True),
    "adafactor_checkpointed_cached": Setting(checkpointing=True, cached=True, optimizer="adafactor"),
    "lora_cached": Setting(cached=True, trainable="lora"),
}
PUBLISHED = next(iter(SETTINGS))


def random_parts(size: Size) -> dict[str, Any]:
    """The parts of the pipeline with random weights; much faster than the layers' own initialisation."""
    with META:
        parts = size.parts()
    for part in parts.values():
        fill_randomly(part)
    return parts


def fill_randomly(module: nn.Module) -> nn.Module:
    """Move a module from the meta device to the CPU; draw its weights, but keep its norms as they start."""
    module.to_empty(device=CPU)
    for parameter in module.parameters():
        parameter.data.normal_(std=0.02)
    for layer in module.modules():
        if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):
            layer.reset_parameters()
    for buffer in module.buffers():  # CLIP's positions are the only ones
        buffer.copy_(torch.arange(buffer.shape[-1]))
    return module


def dense_match_loss(given: LossInputs) -> AttentionLoss:
    """The paper's loss with dense matrices."""
    recorder = plain.dense_supervision(given.network.hooked, given.batch.matches, given.layers)
    return AttentionLoss(given.config.weight, recorder)


class Update:
    """The parts of a training in a setting, and its updates."""

    def __init__(self, setting: Setting, size: Size) -> None:
        torch.manual_seed(SEED)
        self.setting = setting
        parts = random_parts(size)
        self.vae = parts.pop("vae").requires_grad_(False)
        self.network = TryOnNetwork(**parts)
        lay_out_autoencoder(self.vae, CPU, "bf16" if setting.bf16 else "no")
        if setting.checkpointing:
            self.network.enable_gradient_checkpointing()
        self.trained = self._trained()
        if setting.published:
            self._publish()
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(self.trained)
        else:
            self.optimizer = optimizer_of(self.trained, OptimisationConfig(optimizer=setting.optimizer), CPU)
        self.scheduler = build.scheduler()
        torch.manual_seed(SEED)  # the published dataflow has drawn more weights
        self.batch = batch_of(1, size.pictures, CPU, None)
        if setting.cached:
            draws = LatentDraws(SEED, 0.0, self.scheduler.config.num_train_timesteps, self.vae.config.scaling_factor)
            with torch.no_grad(), self._autocast():
                encoded = posteriors(self.vae, self.batch)
            latents = torch.stack([draws(*each) for each in zip(self.batch.key, encoded, strict=True)])
            self.batch = replace(self.batch, latents=latents)

    def _trained(self) -> list[nn.Parameter]:
        if self.setting.trainable == "lora":
            self.network.requires_grad_(False)
            adapt(self.network, layer_names(self.network, "attention"), rank=16, alpha=16, seed=SEED)
            return [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return select_trainable(self.network, self.setting.trainable)

    def _publish(self) -> None:
        """Turn the network into that of the published dataflow."""
        encoder = self.network.garment_encoder
        plain.attend_fused(self.network)
        with META:
            unused = plain.UnusedStages(encoder)
        fill_randomly(unused)
        plain.attend_fused(unused)
        unused.after(encoder)
        names = self.network.named_parameters()
        self.trained = [parameter for name, parameter in names if name.startswith(self.network.finetuned)]
        for parameter in self.trained:
            parameter.requires_grad_(True)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.setting.bf16)

    @contextmanager
    def _dataflow(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.setting.published:
                stack.enter_context(plain.convolutions())
                stack.enter_context(patch.dict(ATTENTION_LOSSES, sift=dense_match_loss))
            yield

    def run(self) -> dict[str, Any]:
        """Run an update as the training loop does; returns its loss and the seconds of its phases."""

        def network(*inputs: Tensor) -> Tensor:
            with self._autocast():
                return self.network(*inputs).float()

        times = [time.perf_counter()]
        with self._dataflow():
            with self._autocast():
                inputs = noised(self.vae, self.scheduler, self.batch, SEED, 0.0)
            times.append(time.perf_counter())
            given = self.network, self.scheduler, self.batch, inputs, SUPERVISION, 5.0
            with step_losses(network, *given) as losses:
                times.append(time.perf_counter())
                losses.total.mean().backward()
            times.append(time.perf_counter())
            if not self.setting.published:
                nn.utils.clip_grad_norm_(self.trained, math.inf)  # the loop logs the norm
            self.optimizer.step()
            self.optimizer.zero_grad()
        times.append(time.perf_counter())
        phases = dict(zip(PHASES, np.diff(times).tolist(), strict=True))
        return {"loss": losses.total.item(), "sift": losses.attention["sift"].item(), **phases}


def operations(update: Update) -> int:
    """The floating-point operations of an update: those of its products of matrices and its convolutions."""
    with FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOPS) as counter:
        update.run()
    return counter.get_total_flops()


def measure(setting: Setting, size: Size, counted: bool) -> dict[str, float]:
    """Measure the second update in this process; the losses are those of the first one.

    If ``counted``, the operations of a third one are counted.
    """
    if not setting.published:
        keep_freed_memory()
    update = Update(setting, size)
    first = update.run()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start, start_cpu = time.perf_counter(), time.process_time()
    second = update.run()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults, most = after.ru_minflt - before.ru_minflt, peak()
    flops = {"flops": operations(update)} if counted else {}
    return {**second, "loss": first["loss"], "sift": first["sift"], "wall": wall, "cpu": cpu, "faults": faults,
            "peak": most, **flops}  # fmt: skip


def measure_apart(name: str, size: str, counted: bool) -> dict[str, float]:
    """Measure in a new process."""
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": str(int(SETTINGS[name].huge_pages))}
    command = [sys.executable, __file__, "--one", name, "--size", size, *(["--counted"] if counted else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table of medians with quartiles; ratios are to the published dataflow in the same round."""
    columns = {
        name: {key: np.array([row.get(key, math.nan) for row in rows]) for key in rows[0]}
        for name, rows in found.items()
    }
    base = columns[PUBLISHED]
    header = ("setting", "seconds", "ratio", "CPU seconds", "CPU ratio", "TFLOP", *PHASES, "page faults", "peak, GiB",
              "peak ratio", "loss", "Eq. 2")  # fmt: skip
    rows = [
        (
            name,
            spread(each["wall"], 2),
            spread(each["wall"] / base["wall"]),
            f"{np.median(each['cpu']):.2f}",
            f"{np.median(each['cpu'] / base['cpu']):.3f}",
            f"{each['flops'][0] / 1e12:.2f}",
            *(f"{np.median(each[phase]):.2f}" for phase in PHASES),
            f"{np.median(each['faults']):,.0f}",
            f"{np.median(each['peak']):.2f}",
            f"{np.median(each['peak'] / base['peak']):.3f}",
            f"{each['loss'][0]:.6f}",
            f"{each['sift'][0]:.5f}",
        )
        for name, each in columns.items()
    ]
    return "\n".join(markdown_table(header, rows))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS)[1:], default=tuple(SETTINGS)[1:])
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--one", choices=tuple(SETTINGS), help="measure this setting in this process, and print JSON")
    parser.add_argument("--counted", action="store_true", help="with --one: count the operations, too")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(SETTINGS[arguments.one], SIZES[arguments.size], arguments.counted)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (PUBLISHED, *arguments.settings)}
    with tqdm(total=arguments.rounds * len(found), unit="update") as bar:
        for number in range(arguments.rounds):
            for name, rows in found.items():
                bar.set_postfix(setting=name)
                rows.append(measure_apart(name, arguments.size, counted=number == 0))
                bar.update()
            given = {"size": arguments.size, "threads": torch.get_num_threads(), "settings": found}
            write_json(arguments.output / "training_step.json", given)
            write_text(arguments.output / "training_step.md", f"{table(found)}\n")
    print(table(found))


if __name__ == "__main__":
    main()
