"""Whole trainings on a GPU: half precision, restarts, LoRA, optimisers, frozen parts, compiled blocks, processes."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gpu_steps import all_finite
from runs import metrics, run, validations, weights

from siftvton.sampling.loading import load
from siftvton.sampling.lora import merge_update
from siftvton.settings import save_configuration
from siftvton.training import compiling, learner
from siftvton.training.config import Train
from siftvton.training.frozen import Frozen, place_frozen

pytestmark = pytest.mark.gpu

Configure = Callable[..., Train]


@pytest.fixture
def configure(configuration: Configure, device: torch.device) -> Configure:
    """``configuration`` for the device."""
    return lambda output, **settings: configuration(output, **{"cpu": device.type == "cpu", **settings})


@pytest.fixture
def base(configuration: Configure) -> str:
    """A trained model to start from, made on the CPU."""
    return str(run(configuration("base", updates=1)) / "model")


def from_base(config: Train, base: str) -> Train:
    return replace(config, model=replace(config.model, pretrained=base))


def same_losses(found: Path, expected: Path, tolerance: float) -> None:
    assert len(metrics(found)) == len(metrics(expected))
    for ours, theirs in zip(metrics(found), metrics(expected), strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("mixed_precision", ["bf16", "fp16"])
def test_half_precision_with_checkpointing_trains(
    configure: Configure, configuration: Configure, device: torch.device, mixed_precision: str
):
    """The gradient scaler of fp16 skips the first updates, until their gradients are finite."""
    if mixed_precision == "fp16" and device.type == "cpu":
        pytest.skip("accelerate allows fp16 on a GPU alone")
    settings = {"mixed_precision": mixed_precision, "gradient_checkpointing": True, "validate_every": 8}
    output = run(configure("half", updates=8, **settings))
    if device.type == "cuda":
        assert not torch.backends.cuda.cudnn_sdp_enabled()  # its gradients were NaN
    entries = metrics(output)
    norms = [entry.pop("gradient_norm") for entry in entries]
    assert all(map(all_finite, [*entries, *validations(output)]))
    assert all(map(math.isfinite, norms if mixed_precision == "bf16" else norms[-1:]))
    exact = metrics(run(configuration("exact", updates=1)))[0]
    assert entries[0]["loss"] == pytest.approx(exact["loss"], rel=0.05)
    assert all(value.isfinite().all() for value in weights(output).values())


def test_float32_has_the_losses_of_a_cpu(configure: Configure, configuration: Configure):
    """A GPU multiplies matrices in TF32, which has 10 bits of mantissa."""
    same_losses(run(configure("here")), run(configuration("cpu")), 0.02)


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_a_stopped_run_continues_with_equal_losses(configure: Configure, mixed_precision: str):
    settings = {"mixed_precision": mixed_precision, "ema_decay": 0.5, "max_gradient_norm": 1.0}
    straight = run(configure("straight", updates=4, **settings))
    run(configure("stopped", updates=2, **settings))
    same_losses(run(configure("stopped", updates=4, **settings)), straight, 1e-3)


def test_a_run_of_a_gpu_continues_on_a_cpu(configure: Configure, configuration: Configure):
    straight = run(configuration("straight", updates=4))
    run(configure("stopped", updates=2))
    same_losses(run(configuration("stopped", updates=4)), straight, 0.02)


def test_frozen_parts_are_in_half_precision_and_are_written_as_they_were(
    configure: Configure, device: torch.device, base: str, monkeypatch: pytest.MonkeyPatch
):
    placed: list[Frozen] = []

    def recorded(*given) -> Frozen:
        placed.append(place_frozen(*given))
        return placed[-1]

    monkeypatch.setattr(learner, "place_frozen", recorded)
    settings = {"trainable": "finetune", "mixed_precision": "bf16", "updates": 2}
    output = run(from_base(configure("halved", **settings), base))
    assert bool(placed[0].exact) == (device.type == "cuda")
    assert all(parameter.dtype == torch.bfloat16 for parameter in placed[0].exact)
    before, after = weights(Path(base).parent), weights(output)
    frozen = ("unet.encoder.down_blocks", "unet.mid_block", "image_")
    names = [name for name in before if name.startswith(frozen)]
    assert len(names) > 20
    assert all(torch.equal(before[name], after[name]) for name in names)


def test_frozen_parts_in_half_precision_do_not_change_the_losses(
    configure: Configure, base: str, monkeypatch: pytest.MonkeyPatch
):
    settings = {"trainable": "finetune", "mixed_precision": "bf16", "updates": 2}
    halved = run(from_base(configure("halved", **settings), base))
    monkeypatch.setattr(learner, "place_frozen", lambda vae, *_: Frozen({}, vae))
    same_losses(halved, run(from_base(configure("whole", **settings), base)), 1e-3)


def test_cached_latents_leave_the_autoencoder_in_main_memory_but_for_validation(configure: Configure, tmp_path: Path):
    def encoded(output: str, folder: Path | None) -> Path:
        config = configure(output, validate_every=2, updates=2)
        path = None if folder is None else str(folder)
        return run(replace(config, data=replace(config.data, augment=False, cache_latents=path)))

    cached, plain = encoded("cached", tmp_path / "latents"), encoded("plain", None)
    same_losses(cached, plain, 0.02)
    assert validations(cached)[0] == pytest.approx(validations(plain)[0], rel=0.02)


def test_lora_trains_and_its_updates_can_be_merged(configure: Configure, base: str):
    pytest.importorskip("peft")
    settings = {"trainable": "lora", "mixed_precision": "bf16", "gradient_checkpointing": True, "updates": 3}
    output = run(from_base(configure("lora", **settings), base))
    assert all(map(all_finite, metrics(output)))
    pipeline, before = load(base), load(base)
    merge_update(pipeline, str(output / "model_lora"), 1.0)
    values = zip(pipeline.unet.parameters(), before.unet.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in values)


@pytest.mark.parametrize("optimizer", ["adamw8bit", "adafactor"])
def test_other_optimizers_train_and_continue(configure: Configure, optimizer: str):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    settings = {"optimizer": optimizer, "mixed_precision": "bf16"}
    straight = run(configure("straight", updates=4, **settings))
    assert all(map(all_finite, metrics(straight)))
    run(configure("stopped", updates=2, **settings))
    same_losses(run(configure("stopped", updates=4, **settings)), straight, 1e-2)


def test_compiled_blocks_train_as_eager_ones_do(
    configure: Configure, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    if device.type == "cpu":
        monkeypatch.setattr(compiling, "BACKEND", "aot_eager")  # the default backend takes minutes on a CPU
    torch._dynamo.reset()
    eager = run(configure("eager", updates=2))
    compiled = run(configure("compiled", updates=2, compile=True))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    assert graphs > 0
    same_losses(compiled, eager, 0.02)


def test_two_processes_equal_one(configure: Configure, device: torch.device, base: str, tmp_path: Path):
    """By NCCL on GPUs, by gloo on CPUs."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("two processes by NCCL: not run, because this machine has one GPU")
    settings = {"batch_size": 1, "trainable": "finetune", "validate_every": 2, "updates": 2}
    one = run(from_base(configure("one", accumulation=4, **settings), base))
    config = from_base(configure("two", accumulation=2, **{**settings, "cpu": False}), base)
    save_configuration(config, tmp_path / "two.yaml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    done = subprocess.run(
        [*launch, script, "--config", tmp_path / "two.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    same_losses(Path(config.output), one, 0.02 if device.type == "cuda" else 1e-3)
