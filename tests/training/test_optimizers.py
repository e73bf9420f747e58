"""The optimisers: what their state takes, and that a run with each of them continues exactly."""

import sys
from itertools import pairwise

import pytest
import torch
from runs import metrics, run, same_weights, weights
from torch import nn

from siftvton.errors import UsageError
from siftvton.training.checkpoints import Learned
from siftvton.training.config import OptimisationConfig
from siftvton.training.optimizers import optimizer_of

CPU = torch.device("cpu")


def _library(name: str) -> None:
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "adafactor"])
def test_a_stopped_run_continues_bit_for_bit(configuration, name: str):
    _library(name)
    settings = {"optimizer": name, "max_gradient_norm": 0.5, "ema_decay": 0.5}
    straight = run(configuration("straight", **settings, updates=4))
    run(configuration("stopped", **settings, updates=2))
    resumed = run(configuration("stopped", **settings, updates=4))
    assert metrics(resumed) == metrics(straight)
    assert same_weights(resumed, straight)


def test_each_optimizer_takes_other_steps(configuration):
    pytest.importorskip("bitsandbytes")
    made = [
        weights(run(configuration(name, optimizer=name, updates=2))) for name in ("adamw", "adamw8bit", "adafactor")
    ]
    for first, second in pairwise(made):
        assert any(not torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(("name", "least", "most"), [("adamw", 8, 8.01), ("adamw8bit", 2, 2.1), ("adafactor", 0, 0.1)])
def test_the_state_takes_as_many_bytes_a_value_as_the_documents_say(name: str, least: float, most: float):
    _library(name)
    weight = nn.Parameter(torch.randn(512, 512))
    optimizer = optimizer_of([weight], OptimisationConfig(optimizer=name), CPU)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor))
    tables = 2 * 256 * 4 if name == "adamw8bit" else 0  # the values of the 8-bit codes; all parameters share them
    assert least <= (state - tables) / weight.numel() <= most


def test_the_learning_rate_is_adafactors_step(configuration):
    """Adafactor's own schedule would ignore train.learning_rate."""
    first, second = nn.Parameter(torch.ones(8, 8)), nn.Parameter(torch.ones(8, 8))
    for weight, rate in ((first, 1e-3), (second, 2e-3)):
        settings = OptimisationConfig(optimizer="adafactor", learning_rate=rate, weight_decay=0)
        weight.grad = torch.ones_like(weight)
        optimizer_of([weight], settings, CPU).step()
    torch.testing.assert_close(2 * (1 - first.detach()), 1 - second.detach())


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.delitem(sys.modules, "bitsandbytes.optim", raising=False)
    with pytest.raises(UsageError, match=r"adamw8bit requires bitsandbytes, which is not installed; run: pip install"):
        optimizer_of([nn.Parameter(torch.ones(1))], OptimisationConfig(optimizer="adamw8bit"), CPU)


def test_a_checkpoint_with_a_broken_optimizer_state_is_noticed(configuration):
    """The check reads all moments, whatever the optimiser calls them."""
    weight = nn.Linear(4, 4)
    optimizer = optimizer_of(weight.parameters(), OptimisationConfig(optimizer="adafactor"), CPU)
    weight(torch.ones(4)).sum().backward()
    optimizer.step()
    assert {"exp_avg_sq_row 0", "exp_avg_sq_col 0", "exp_avg_sq 1"} <= Learned(weight, optimizer).tensors().keys()


def test_adam_settings_reach_the_optimizer():
    weight = nn.Parameter(torch.ones(3))
    settings = OptimisationConfig(adam_beta1=0.5, adam_beta2=0.25, adam_epsilon=0.125, learning_rate=1, weight_decay=0)
    optimizer = optimizer_of([weight], settings, CPU)
    for gradient in (2.0, 4.0):
        weight.grad = torch.full((3,), gradient)
        optimizer.step()
    # Kingma & Ba 2015, Algorithm 1, by hand: each mean is divided by 1 − βᵗ.
    first = 2 / (2 + 0.125)
    mean, square = (0.5 * 1 + 0.5 * 4) / 0.75, (0.25 * 3 + 0.75 * 16) / 0.9375
    torch.testing.assert_close(weight.detach(), torch.full((3,), 1 - first - mean / (square**0.5 + 0.125)))


def test_adam_settings_reach_the_eight_bit_optimizer():
    pytest.importorskip("bitsandbytes")
    settings = OptimisationConfig(optimizer="adamw8bit", adam_beta1=0.5, adam_beta2=0.25, adam_epsilon=0.125)
    group = optimizer_of([nn.Parameter(torch.ones(3))], settings, CPU).param_groups[0]
    assert (tuple(group["betas"]), group["eps"]) == ((0.5, 0.25), 0.125)
