"""Compiled blocks train as eager ones do.

The backend ``aot_eager`` is used: it traces, splits and differentiates exactly what the default backend compiles, in
seconds. Only the generated code differs, which takes minutes to build on a CPU.
"""

from collections.abc import Iterator

import pytest
import torch
from runs import metrics, run, validations, weights
from torch._dynamo.utils import counters

from siftvton.data.dataset import collate
from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.model.inputs import noised
from siftvton.model.network import TryOnNetwork
from siftvton.training import compiling
from siftvton.training.compiling import compile_blocks, supervised_layers
from siftvton.training.config import SupervisionConfig
from siftvton.training.parts import training_set
from siftvton.training.step import step_losses


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Starts without compiled code and with PyTorch's own limit, and leaves both so."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=8):
        yield
    torch._dynamo.reset()


def network_of(pipeline) -> TryOnNetwork:
    network = pipeline.network().train()
    return network.requires_grad_(True)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_compiled_blocks_have_the_eager_losses_and_gradients(configuration, pipeline, checkpointing: bool):
    config = configuration(supervision={"weight": 0.05, "atv_weight": 0.01})
    dataset, network = training_set(config), network_of(pipeline)
    batches = [collate([dataset[0, 0], dataset[0, 1]]), collate([dataset[1, 2], dataset[1, 3]])]
    if checkpointing:
        network.enable_gradient_checkpointing()

    def losses_and_gradients(batch) -> list[torch.Tensor]:
        network.zero_grad()
        inputs = noised(pipeline.vae, build.scheduler(), batch, 0, 0.0)
        with step_losses(network, network, build.scheduler(), batch, inputs, config.supervision, 5.0) as losses:
            losses.total.mean().backward()
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        return [losses.total.detach(), *(each.detach() for each in losses.attention.values()), *gradients]

    expected = [losses_and_gradients(batch) for batch in batches]
    assert all(values[1].gt(0).all() for values in expected)
    compile_blocks(network, supervised_layers(network, config.supervision))
    for batch, values in zip(batches, expected, strict=True):
        found = losses_and_gradients(batch)
        largest = max(value.norm() for value in values[3:])
        for ours, theirs in zip(found[:3], values[:3], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert len(found) == len(values)
        assert all((ours - theirs).norm() < 1e-5 * largest for ours, theirs in zip(found[3:], values[3:], strict=True))
        graphs = counters["stats"].setdefault("graphs of the first batch", counters["stats"]["unique_graphs"])
    assert counters["stats"]["unique_graphs"] == graphs  # a new batch with other matches compiles nothing
    assert not counters["graph_break"]


def test_every_block_without_a_supervised_layer_is_compiled(sizes: ModelConfig):
    network = TryOnNetwork(**build.network_parts(sizes))
    layers = supervised_layers(network, SupervisionConfig(weight=1.0, layers="middle"))
    compiled = compile_blocks(network, layers)
    eager = {f"unet.garment_attention.{layer.split('.')[1]}" for layer in layers}
    hooked = {f"unet.garment_attention.{place}" for place in range(len(network.unet.garment_attention))}
    assert hooked - set(compiled) == eager
    inside = tuple(f"{name}." for name in (*compiled, *eager))
    blocks = [name for name, module in network.named_modules() if isinstance(module, network.blocks)]
    assert all(f"{name}.".startswith(inside) for name in blocks)
    assert network.state_dict().keys() == TryOnNetwork(**build.network_parts(sizes)).state_dict().keys()


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"weight": 0.0}, 0), ({"layers": "all"}, 6), ({"weight": 0.0, "atv_weight": 1.0}, 1)],
)
def test_only_trained_losses_keep_layers_from_being_compiled(sizes: ModelConfig, settings, count: int):
    network = TryOnNetwork(**build.network_parts(sizes))
    assert len(supervised_layers(network, SupervisionConfig(**settings))) == count


def test_a_compiled_run_equals_an_eager_one_and_continues_it(configuration):
    settings = {"ema_decay": 0.5, "validate_every": 2, "max_gradient_norm": 1.0}
    eager = run(configuration("eager", updates=4, **settings))
    run(configuration("compiled", updates=2, compile=True, **settings))
    graphs = counters["stats"]["unique_graphs"]
    compiled = run(configuration("compiled", updates=4, **settings))
    assert graphs
    assert counters["stats"]["unique_graphs"] == graphs  # the second part ran eagerly
    for log in (metrics, validations):
        for ours, theirs in zip(log(compiled), log(eager), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3)
    assert weights(compiled).keys() == weights(eager).keys()
