"""A network that is divided among processes by FSDP2 trains as an undivided one does.

accelerate divides only among GPUs and uses plain data parallelism on CPU processes, without a word. The program
therefore tells accelerate that it runs FSDP, which then divides the network over gloo.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import metrics, run, validations, weights
from safetensors.torch import load_file

from siftvton.errors import UsageError
from siftvton.settings import save_configuration
from siftvton.training import sharding
from siftvton.training.config import Train
from siftvton.training.loop import train

PROGRAM = """
import os, sys
from accelerate import Accelerator, DistributedType, PartialState
from torch.distributed.tensor import DTensor, Shard
from siftvton import cli
from siftvton.training import launch, sharding
from siftvton.training.config import Train
from siftvton.training.loop import train

class OnCPU(Accelerator):
    def __init__(self, fsdp_plugin, **settings):
        super().__init__(fsdp_plugin=fsdp_plugin, **settings)
        self.state.fsdp_plugin = fsdp_plugin
        self.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

launch.Accelerator = OnCPU
divide = sharding.divide

def checked(accelerator, network, optimizer):
    total = sum(parameter.numel() for parameter in network.parameters())
    network, optimizer = divide(accelerator, network, optimizer)
    held = [*network.parameters(), *(p for group in optimizer.param_groups for p in group["params"])]
    assert all(isinstance(p, DTensor) and p.placements == (Shard(0),) for p in held)
    share = sum(parameter.to_local().numel() for parameter in network.parameters())
    assert share < 0.6 * total, (share, total)
    os.write(1, b"all weights are DTensors\\n")
    return network, optimizer

sharding.divide = checked
train(cli.load(Train, sys.argv[1], []))
"""
ALONE = {"batch_size": 1, "accumulation": 4}  # images in an update of one process, and of each of two
TOGETHER = {"batch_size": 1, "accumulation": 2, "cpu": False}
SETTINGS = {"max_gradient_norm": 0.5, "ema_decay": 0.5, "learning_rate": 1e-3}
ENVIRONMENT = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def run_divided(config: Train, folder: Path) -> Path:
    """Train divided between two processes; ``folder`` is for the program."""
    (folder / "program.py").write_text(PROGRAM)
    save_configuration(config, folder / "divided.yaml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, folder / "program.py", folder / "divided.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": "1", **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all weights are DTensors") == 2
    return Path(config.output)


def test_a_divided_run_equals_one_process_which_can_continue_it(configuration, tmp_path: Path):
    settings = {**SETTINGS, "validate_every": 2, "gradient_checkpointing": True}
    straight = run(configuration("straight", **ALONE, **settings))
    run_divided(configuration("divided", updates=2, **TOGETHER, **settings), tmp_path)
    divided = run(configuration("divided", updates=4, **ALONE, **settings))
    assert all(entry["gradient_norm"] > SETTINGS["max_gradient_norm"] for entry in metrics(straight))  # was clipped
    assert all(entry["sift"] > 0 for entry in metrics(straight))
    for log in (metrics, validations):
        for found, expected in zip(log(divided), log(straight), strict=True):
            assert found == pytest.approx(expected, rel=1e-3)
    averages = [load_file(path / "checkpoints/update-0000004/average.safetensors") for path in (divided, straight)]
    for found, expected in (map(weights, (divided, straight)), averages):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


def test_a_divided_run_continues_that_of_one_process(configuration, tmp_path: Path):
    straight = run(configuration("straight", updates=3, **ALONE, **SETTINGS))
    run(configuration("divided", updates=1, **ALONE, **SETTINGS))
    divided = run_divided(configuration("divided", updates=3, **TOGETHER, **SETTINGS), tmp_path)
    for found, expected in zip(metrics(divided), metrics(straight), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)


def test_half_precision_gives_the_same_losses_less_exactly(configuration, tmp_path: Path):
    settings = {"updates": 2, "mixed_precision": "bf16"}
    alone = run(configuration("alone", **ALONE, **settings))
    divided = run_divided(configuration("divided", **TOGETHER, **settings), tmp_path)
    for found, expected in zip(metrics(divided), metrics(alone), strict=True):
        assert found == pytest.approx(expected, rel=0.02)
    assert {value.dtype for value in weights(divided).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("variables", "settings", "message"),
    [
        ({}, {}, "FSDP version 1 is not supported; set FSDP_VERSION=2"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, {}, "FSDP_OFFLOAD_PARAMS=true: .* not supported"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, {}, "use train.gradient_checkpointing=true"),
        ({}, {"mixed_precision": "fp16"}, "train.mixed_precision=fp16 is not supported"),
        ({}, {"compile": True}, "train.compile=true is not supported"),
        ({}, {}, "only among processes with a GPU each"),
    ],
)
def test_what_fsdp_does_not_support_is_refused(
    configuration, monkeypatch: pytest.MonkeyPatch, variables: dict, settings: dict, message: str
):
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")  # accelerate writes to it
    for name, value in {**ENVIRONMENT, **variables}.items():
        monkeypatch.setenv(name, value)
    if "version 1" in message:
        monkeypatch.delenv("FSDP_VERSION")
    config = configuration(**settings)
    config.data.root = "nowhere"
    with pytest.raises(UsageError, match=message):
        train(config)


def test_an_optimiser_that_cannot_work_on_shares_is_refused():
    network = torch.nn.Linear(1, 1)
    with pytest.raises(UsageError, match="the optimiser SGD is not supported; use AdamW"):
        sharding.divide(None, network, torch.optim.SGD(network.parameters()))
