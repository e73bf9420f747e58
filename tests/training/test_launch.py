"""The environment variables of accelerate do not override the configuration."""

import pytest
import torch
from accelerate import Accelerator
from runs import metrics, run

from siftvton.data.config import PictureData
from siftvton.devices import PATIENCE, SHARDING
from siftvton.errors import UsageError
from siftvton.training.autoencoder import train_autoencoder
from siftvton.training.config import TrainAutoencoder
from siftvton.training.launch import accelerator_of
from siftvton.training.loop import train


def test_the_configuration_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "GRADIENT_ACCUMULATION_STEPS": "3",
        "MIXED_PRECISION": "bf16",
        "DYNAMO_BACKEND": "inductor",
        "USE_FSDP": "false",
    }.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator = accelerator_of("no", accumulation=2)
    assert accelerator.gradient_accumulation_steps == 2
    assert accelerator.mixed_precision == "no"
    model = accelerator.prepare(torch.nn.Linear(2, 2))
    assert not isinstance(model, torch._dynamo.OptimizedModule)
    assert accelerator.init_handler.timeout == PATIENCE


def test_gradients_of_several_processes_are_views_of_their_buckets_and_constants_are_not_sent():
    handler = accelerator_of("no").ddp_handler
    assert handler.gradient_as_bucket_view
    assert not handler.broadcast_buffers


def test_accumulation_in_the_environment_does_not_change_the_number_of_updates(
    configuration, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    output = run(configuration(updates=2))
    assert [entry["update"] for entry in metrics(output)] == [1, 2]
    assert (output / "model").is_dir()


@pytest.mark.parametrize("variable", SHARDING)
def test_a_sharded_network_is_refused_before_anything_is_loaded(
    configuration, monkeypatch: pytest.MonkeyPatch, variable
):
    monkeypatch.setenv(variable, "true")
    config = configuration()
    config.data.root = "nowhere"
    with pytest.raises(UsageError, match=f"{variable}=true: .* is not supported"):
        train(config)
    with pytest.raises(UsageError, match=f"{variable}=true: .* is not supported"):
        train_autoencoder(TrainAutoencoder(data=PictureData(root="nowhere")))


def test_a_device_that_contradicts_the_configuration_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    with pytest.raises(UsageError, match="ACCELERATE_TORCH_DEVICE selects meta"):
        accelerator_of("no", cpu=True)


def test_training_in_eight_bits_requested_by_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_FP8_BACKEND", "TE")
    with pytest.raises(UsageError, match="ACCELERATE_FP8_BACKEND=TE: training in 8 bits is not supported"):
        accelerator_of("no", cpu=True)


def test_an_incomplete_launcher_environment_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"accelerate cannot be set up \(.*MASTER_ADDR.*or the environment variables"):
        accelerator_of("no", cpu=True)


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch):
    plain = Accelerator.__init__

    def without(self, *given, **named):
        plain(self, *given, **named)
        self.log_with = []

    monkeypatch.setattr(Accelerator, "__init__", without)
    with pytest.raises(UsageError, match=r"train\.tracker=wandb is not installed; run: pip install wandb"):
        accelerator_of("no", tracker="wandb", output="nowhere")
