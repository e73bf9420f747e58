"""Supervision of a stock diffusers model, without the try-on network."""

from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from examples import random_matches
from oracles import dense_cross_entropy, dense_reference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from siftvton.supervision import Cross, ReferenceAttention, regularise, supervise, supervise_places

FRAME = (64, 48)
LAYER = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"


@pytest.fixture
def model() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=8,
    )


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "sample": torch.randn(2, 4, 16, 12),
        "timestep": torch.tensor([10, 20]),
        "encoder_hidden_states": torch.randn(2, 8 * 6, 8),
    }


def reference(*counts: int) -> ReferenceAttention:
    return ReferenceAttention.from_correspondences([random_matches(n, FRAME, seed=n) for n in counts])


def test_supervision_does_not_change_the_output_in_any_bit(model, inputs):
    plain = model(**inputs).sample
    with supervise(model, reference(20, 5)):
        supervised = model(**inputs).sample
    assert torch.equal(plain, supervised)


def test_the_loss_of_a_layer_is_eq_2_of_its_queries_and_keys(model, inputs):
    seen = {}
    attention = model.get_submodule(LAYER)
    for name in ("to_q", "to_k"):
        attention.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: seen.setdefault(name, []).append(out)
        )
    batch = [random_matches(20, FRAME, seed=1), random_matches(5, FRAME, seed=2)]
    with supervise(model, ReferenceAttention.from_correspondences(batch), [LAYER]) as recorder:
        model(**inputs)
        loss = recorder.loss()
    query, key = (
        max(seen[name], key=lambda x: x.shape[1]).unflatten(-1, (2, -1)).transpose(1, 2) for name in ("to_q", "to_k")
    )
    for n, matches in enumerate(batch):
        p = torch.from_numpy(dense_reference(matches, (16, 12), (8, 6)))
        expected = dense_cross_entropy(query[n], key[n], attention.scale, p)
        assert loss[n].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_averages_over_layers(model, inputs):
    with supervise(model, reference(20, 5)) as recorder:
        model(**inputs)
        layers = recorder.losses
        assert len(layers) == 7  # 2 encoder, 1 middle, 4 decoder cross-attentions
        torch.testing.assert_close(recorder.loss(), torch.stack(list(layers.values())).mean(dim=0))


def gradients(model, inputs, **settings) -> list[torch.Tensor]:
    model.zero_grad()
    with supervise(model, reference(20, 0)) as recorder:
        output = model(**inputs).sample
        (output.square().mean() + recorder.loss().mean()).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_gradient_checkpointing_changes_no_gradient(model, inputs):
    plain = gradients(model.train(), inputs)
    model.enable_gradient_checkpointing()
    for found, expected in zip(gradients(model, inputs), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.fixture
def compiler() -> Iterator[None]:
    """Clears Dynamo's compiled code before and after the test."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Layers(nn.Module):
    """Two cross-attention layers among layers that are compiled."""

    def __init__(self, checkpointing: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.checkpointing = checkpointing
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.attention = nn.ModuleList(Attention(8, cross_attention_dim=8, heads=2, dim_head=4) for _ in range(2))

    def forward(self, hidden_states: Tensor, garment: Tensor) -> Tensor:
        for layer, attention in zip((self.first, self.second), self.attention, strict=True):
            hidden_states = layer(hidden_states).sin()
            if self.checkpointing:
                hidden_states = checkpoint(attention, hidden_states, garment, use_reentrant=False)
            else:
                hidden_states = attention(hidden_states, garment)
        return hidden_states


def losses_and_gradients(called: Callable, layers: Layers, *counts: int) -> list[Tensor]:
    """Output, losses and gradients of one ``with`` block that contains the backward pass."""
    torch.manual_seed(1)
    given = torch.randn(2, 16 * 12, 8), torch.randn(2, 8 * 6, 8)
    layers.zero_grad()
    with supervise(layers, reference(*counts)) as recorder:
        output = called(*given)
        loss = recorder.loss()
        (output.square().mean() + loss.mean()).backward()
    return [output.detach(), loss.detach(), *(p.grad.clone() for p in layers.parameters() if p.grad is not None)]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("order", ["compiled_before", "run_before", "compiled_inside", "compiled_in_place"])
def test_a_compiled_model_has_the_eager_loss_and_gradients(compiler: None, order: str, checkpointing: bool):
    """Two blocks, one after the other: the compiled code must keep nothing of the first block."""
    layers = Layers(checkpointing)
    expected = [losses_and_gradients(layers, layers, *counts) for counts in ((20, 5), (7, 30))]
    plain = layers(torch.ones(2, 16 * 12, 8), torch.ones(2, 8 * 6, 8))
    called: Callable = layers
    if order == "compiled_in_place":
        layers.compile(backend="eager")
    elif order != "compiled_inside":
        called = torch.compile(layers, backend="eager")
    if order == "run_before":
        called(torch.ones(2, 16 * 12, 8), torch.ones(2, 8 * 6, 8))
    for counts, values in zip(((20, 5), (7, 30)), expected, strict=True):
        if order == "compiled_inside":
            called = compiled_when_called(layers)
        for found, value in zip(losses_and_gradients(called, layers, *counts), values, strict=True):
            torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(called(torch.ones(2, 16 * 12, 8), torch.ones(2, 8 * 6, 8)), plain)


def compiled_when_called(layers: Layers) -> Callable:
    return lambda *given: torch.compile(layers, backend="eager")(*given)


def test_supervision_reaches_queries_and_keys(model, inputs):
    with supervise(model, reference(20, 5), [LAYER]) as recorder:
        model(**inputs)
        recorder.loss().mean().backward()
    attention = model.get_submodule(LAYER)
    assert attention.to_q.weight.grad.abs().max() > 0
    assert attention.to_k.weight.grad.abs().max() > 0
    assert attention.to_v.weight.grad is None


def test_an_image_without_a_match_has_no_loss(model, inputs):
    with supervise(model, reference(0, 5)) as recorder:
        model(**inputs)
        assert recorder.loss()[0] == 0
        assert recorder.loss()[1] > 0


@pytest.mark.parametrize("kind", [supervise, supervise_places])
def test_a_batch_without_any_match_has_no_loss_and_no_gradient(model, inputs, kind: Callable):
    excluded = reference(20, 5).where(torch.tensor([False, False]))
    for without_matches in (reference(0, 0), excluded):
        with kind(model, without_matches, [LAYER]) as recorder:
            model(**inputs)
            assert recorder.loss().tolist() == [0, 0]
            recorder.loss().mean().backward()
        assert not model.get_submodule(LAYER).to_k.weight.grad.any()


def test_no_hook_is_left_after_the_block(model, inputs):
    processors = dict(model.attn_processors)
    with supervise(model, reference(20, 5)) as recorder:
        model(**inputs)
    assert model.attn_processors == processors
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())
    assert not recorder.losses


def test_no_hook_is_left_after_an_error(model, inputs):
    with pytest.raises(ZeroDivisionError), supervise(model, reference(20, 5)):
        raise ZeroDivisionError("an error of the caller")
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())


def test_normalised_queries_and_keys_are_those_of_the_layer():
    torch.manual_seed(0)
    attention = Attention(
        8, cross_attention_dim=8, heads=2, dim_head=4, qk_norm="layer_norm", cross_attention_norm="layer_norm"
    )
    model = torch.nn.ModuleDict({"attn": attention})
    hidden, keys = torch.randn(1, 192, 8), torch.randn(1, 48, 8)
    matches = random_matches(10, FRAME)
    with supervise(model, ReferenceAttention.from_correspondences([matches])) as recorder:
        attention(hidden, encoder_hidden_states=keys)
        loss = recorder.loss()
    heads = {"heads": 2}
    query = attention.norm_q(attention.to_q(hidden).unflatten(-1, (heads["heads"], 4)).transpose(1, 2))[0]
    key = attention.norm_k(attention.to_k(attention.norm_cross(keys)).unflatten(-1, (2, 4)).transpose(1, 2))[0]
    p = torch.from_numpy(dense_reference(matches, (16, 12), (8, 6)))
    assert loss.item() == pytest.approx(dense_cross_entropy(query, key, attention.scale, p).item(), rel=1e-5)


def test_mistakes_are_named(model, inputs):
    for layers in (["nobody"], {"nobody": Cross()}):
        with pytest.raises(ValueError, match="nobody"), supervise(model, reference(1, 1), layers):
            model(**inputs)
    with supervise(model, reference(1, 1, 1)), pytest.raises(ValueError, match="runs on 2 images"):
        model(**inputs)
    with supervise(model, reference(1, 1)) as recorder, pytest.raises(RuntimeError, match="no supervised layer"):
        recorder.loss()
    inputs["encoder_attention_mask"] = torch.ones(2, 48)
    with supervise(model, reference(1, 1)), pytest.raises(ValueError, match="without attention_mask"):
        model(**inputs)


def test_a_model_without_attention_is_named():
    message = "^the model has no attention layer of diffusers' classes"
    with pytest.raises(ValueError, match=message), supervise(nn.Linear(2, 2), reference(1)):
        pass


def test_self_attention_is_refused(model, inputs):
    layers = [LAYER.replace("attn2", "attn1")]
    with supervise(model, reference(1, 1), layers), pytest.raises(ValueError, match="with encoder_hidden_states"):
        model(**inputs)


def test_fused_projections_are_refused(model, inputs):
    """They are copies, so the layer's own would miss both the training and the gradient."""
    with torch.no_grad():
        model.fuse_qkv_projections()
    with supervise(model, reference(1, 1)), pytest.raises(ValueError, match="unfuse_qkv_projections"):
        model(**inputs)
    model.unfuse_qkv_projections()
    with supervise(model, reference(1, 1)) as recorder:
        model(**inputs)
        assert recorder.loss().isfinite().all()


def test_rotary_position_embeddings_outside_flux_are_refused():
    attention = Attention(8, cross_attention_dim=8, heads=2, dim_head=4)
    attention.set_processor(lambda attn, hidden_states, image_rotary_emb=None, **_: hidden_states)
    model, rotation = nn.ModuleDict({"attn": attention}), (torch.ones(192, 4), torch.zeros(192, 4))
    with supervise(model, reference(1)), pytest.raises(ValueError, match="rotary position embeddings"):
        attention(torch.randn(1, 192, 8), torch.randn(1, 48, 8), image_rotary_emb=rotation)


@pytest.mark.parametrize("projection", ["to_q", "to_k"])
def test_queries_and_keys_are_projected_once(model, inputs, projection: str):
    calls = []
    model.get_submodule(f"{LAYER}.{projection}").register_forward_hook(lambda *_: calls.append(1))
    with supervise(model, reference(20, 5)) as recorder:
        model(**inputs).sample.sum().backward()
        assert recorder.loss().requires_grad
    assert len(calls) == 1


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_the_loss_never_makes_a_tensor_of_all_queries_and_keys():
    attention = Attention(16, cross_attention_dim=16, heads=2, dim_head=8)
    model = torch.nn.ModuleDict({"attn": attention})
    frame, tokens = (512, 384), 64 * 48
    batch = ReferenceAttention.from_correspondences([random_matches(20, frame)])
    attention.set_processor(lambda attn, hidden_states, **_: hidden_states)  # skips the model's own attention
    with LargestTensor() as largest, supervise(model, batch) as recorder:
        attention(torch.randn(1, tokens, 16), encoder_hidden_states=torch.randn(1, tokens, 16))
        recorder.loss().sum().backward()
    assert 10 * 2 * tokens < largest.elements < tokens * tokens / 50


def test_a_processor_that_does_not_use_the_projections_changes_no_loss(model, inputs):
    attention = model.get_submodule(LAYER)
    hidden, garment = torch.randn(2, 16 * 12, attention.query_dim), inputs["encoder_hidden_states"]
    losses = []
    for _ in range(2):
        with (
            supervise(model, reference(20, 5), [LAYER]) as sift,
            regularise(model, torch.ones(2, 1, 16, 12), FRAME, [LAYER]) as variation,
        ):
            attention(hidden, encoder_hidden_states=garment)
            losses.append(torch.stack([sift.loss(), variation.loss()]))
        attention.set_processor(lambda attn, hidden_states, **_: hidden_states)
    torch.testing.assert_close(losses[1], losses[0])


def test_variation_is_recorded_for_the_worn_cells(model, inputs):
    mask = torch.zeros(2, 1, 16, 12)
    mask[0, :, 4:12, 3:9] = 1
    with regularise(model, mask, FRAME, [LAYER]) as recorder:
        model(**inputs)
        loss = recorder.loss()
    assert loss[0] > 0
    assert loss[1] == 0


def test_both_losses_can_be_recorded_in_one_layer(model, inputs):
    mask = torch.ones(2, 1, 16, 12)
    with supervise(model, reference(9, 9), [LAYER]) as sift, regularise(model, mask, FRAME, [LAYER]) as variation:
        model(**inputs)
        assert sift.loss().shape == variation.loss().shape == (2,)
        assert not torch.equal(sift.loss(), variation.loss())
