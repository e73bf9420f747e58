"""The bytes of training and sampling: the count is right at toy size, and at full size it is below the goals."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from cases import META, SIZES, Case, Training
from counting import LiveBytes
from memory import count_sampling, count_training, measure_training, state_bytes

FULL, TOY, CPU = SIZES["full"], SIZES["toy"], torch.device("cpu")


def test_bytes_count_while_their_tensor_exists():
    given = torch.ones(1024)
    with LiveBytes([given]) as live:
        first = given + 1
        view, same = first.view(2, 512), given[:512]
        assert live.now == 4096
        del first
        assert live.now == 4096, "the view keeps the memory"
        del view, same
        assert live.now == 0
        assert live.peak == 4096


@pytest.mark.parametrize("images", [1, 4])
def test_the_count_without_a_device_is_the_measured_one(images: int):
    """With checkpointing, so that few of the activations are those that a CPU's autocast keeps in another format."""
    case = Case(checkpointing=True)
    (found,) = measure_training(case, TOY, CPU, [images])
    counted = count_training(case, TOY, images)["total"]
    assert counted == pytest.approx(found["peak"], rel=0.05)


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "adafactor"])
def test_the_optimizers_state_is_as_large_as_counted(name: str):
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    training = Training(Case(optimizer=name), TOY, CPU)
    optimizer = training.optimizer()
    training.update(optimizer, training.batch(1))
    moved = [weight for weight in training.trained if weight in optimizer.state]
    shared = {"step", "RMS", "qmap1", "qmap2"}  # two numbers, and tables that all parameters share
    state = [value for weight in moved for key, value in optimizer.state[weight].items() if key not in shared]
    bytes_held = sum(value.nbytes for value in state if isinstance(value, torch.Tensor))
    assert bytes_held == pytest.approx(state_bytes(name, moved), rel=1e-3)


def test_fine_tuning_at_full_size_fits_40_gb():
    whole, checkpointed = (count_training(Case(checkpointing=each), FULL, 8) for each in (False, True))
    assert whole["total"] < 33
    assert checkpointed["total"] < 21
    trained = sum(weight.numel() for weight in Training(Case(), FULL, META).trained)
    assert whole["gradients"] == pytest.approx(4 * trained / 1e9)
    assert whole["state"] == pytest.approx(8 * trained / 1e9)


def test_lora_at_full_size_fits_16_gb():
    pytest.importorskip("peft")
    assert count_training(Case(trainable="lora"), FULL, 8)["total"] < 16


def test_sampling_at_full_size_fits_8_gb():
    assert count_sampling(FULL, 1, torch.bfloat16)["total"] < 4.5
    assert count_sampling(FULL, 1, torch.float32)["total"] < 9


def test_a_batch_that_does_not_fit_ends_only_its_case(monkeypatch: pytest.MonkeyPatch):
    update = Training.update

    def small_device(self: Training, optimizer: torch.optim.Optimizer, batch) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        update(self, optimizer, batch)

    monkeypatch.setattr(Training, "update", small_device)
    rows = list(measure_training(Case(), TOY, CPU, (1, 2, 3, 4)))
    assert [row["batch"] for row in rows] == [1, 2, 3]
    assert "peak" in rows[1]
    assert rows[2]["error"] == "out of memory"
