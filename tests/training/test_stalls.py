"""A supervised step never makes the CPU wait for a GPU; shown without a GPU."""

from contextlib import nullcontext

import pytest
import torch
from examples import batch_pictures, random_matches
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from siftvton.data.dataset import TryOnBatch
from siftvton.data.pairs import Pair
from siftvton.model.inputs import noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import SupervisionConfig
from siftvton.training.step import step_losses

aten = torch.ops.aten
# Operations whose result, or its shape, the CPU must know before it can go on.
WAITING = {
    aten._local_scalar_dense,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten.repeat_interleave,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
}
BY_MASK = {aten.index, aten.index_put, aten.index_put_}  # these wait if an index is a mask


class Stalls(TorchDispatchMode):
    """Records the operations that would wait for a GPU, and counts tensors that leave or enter the device "meta".

    ``entered_waiting`` of those that enter make the CPU wait for the copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.left = self.entered = self.entered_waiting = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        masks = [each for each in given[1:] if each.dtype in (torch.bool, torch.uint8)]
        if function.overloadpacket in WAITING or (function.overloadpacket in BY_MASK and masks):
            self.waiting.append(str(function))
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in (aten._to_copy, aten.copy_):
            source = given[-1].device.type
            self.left += source == "meta" != result.device.type
            enters = source == "cpu" and result.device.type == "meta"
            self.entered += enters
            self.entered_waiting += enters and not (kwargs or {}).get("non_blocking")
        return result


@pytest.fixture(params=[False, True], ids=["plain", "checkpointing"])
def network(pipeline: TryOnPipeline, request: pytest.FixtureRequest) -> TryOnNetwork:
    network = pipeline.network().train()
    if request.param:
        network.enable_gradient_checkpointing()
    return network


def step(pipeline: TryOnPipeline, network: TryOnNetwork, device: str) -> Stalls:
    """One step with every attention loss on all layers."""
    size = (32, 48)
    batch = TryOnBatch(
        **batch_pictures(2),
        worn_mask=torch.ones(2, 1, *size),
        matches=[random_matches(9, size), random_matches(5, size)],
        pair=[Pair("a.jpg", "a.jpg"), Pair("b.jpg", "b.jpg")],
        key=[(0, 0), (0, 1)],
    ).to(device)
    supervision = SupervisionConfig(
        weight=0.1, max_timestep=999, layers="all", atv_weight=0.001, place_weight=0.1, flow_weight=0.001, match_sigma=4
    )
    inputs = noised(pipeline.vae.to(device), pipeline.scheduler, batch, seed=0, dropout=0.0)
    network.to(device)
    with (
        Stalls() as stalls,
        step_losses(network, network, pipeline.scheduler, batch, inputs, supervision, 5.0) as losses,
    ):
        losses.total.mean().backward()
    assert all(loss.requires_grad for loss in losses.attention.values())
    assert network.unet.get_submodule(network.unet.hooked_layers("all")[0]).to_k.weight.grad is not None
    return stalls


def test_no_operation_of_a_step_waits_for_its_result(pipeline: TryOnPipeline, network: TryOnNetwork):
    assert step(pipeline, network, "cpu").waiting == []


def test_two_transfers_bring_the_references_of_all_layers(
    pipeline: TryOnPipeline, network: TryOnNetwork, monkeypatch: pytest.MonkeyPatch
):
    """Tensors on the device "meta" have no values, so that an operation that requires values fails.

    The two transfers are the cells and the weights.
    """
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # refuses the device
    stalls = step(pipeline, network, "meta")
    assert stalls.waiting == []
    assert stalls.left == 0
    assert stalls.entered == 2


def test_the_draws_of_a_batch_are_sent_without_waiting(pipeline: TryOnPipeline):
    batch = TryOnBatch(
        **batch_pictures(1),
        worn_mask=None,
        matches=[random_matches(9, (32, 48))],
        pair=[Pair("a.jpg", "a.jpg")],
        key=[(0, 0)],
    ).to("meta")
    vae, arguments = pipeline.vae.to("meta"), {"seed": 0, "dropout": 0.0, "noise_offset": 0.1}
    noised(vae, pipeline.scheduler, batch, **arguments)  # the first call also brings the noise schedule
    with Stalls() as stalls:
        noised(vae, pipeline.scheduler, batch, **arguments)
    assert stalls.entered == 8  # timestep, dropout, four latents' draws, noise and its shift
    assert stalls.entered_waiting == 0


class Literals(TorchFunctionMode):
    """Records the calls that make a tensor from Python numbers; on a GPU, the copy makes the CPU wait."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[object] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.tensor, torch.as_tensor, Tensor.new_tensor):
            self.made.append(args)
        return function(*args, **(kwargs or {}))


def test_no_tensor_is_made_from_python_numbers(pipeline: TryOnPipeline, network: TryOnNetwork):
    inputs = torch.rand(2, 13, 8, 12), torch.tensor([1, 2]), torch.rand(2, 4, 8, 12), torch.rand(2, 3, 224, 224)
    conditioned = torch.ones(2, dtype=torch.bool)
    network(*inputs, conditioned)  # what is kept for later calls is made once
    with Literals() as literals:
        torch.tensor(1)
        assert len(literals.made) == 1
        network(*inputs, conditioned).sum().backward()
    assert len(literals.made) == 1
