"""The checks of supervision that every family of models passes, and their dense oracle in float64.

A family is a subclass of :class:`LayoutChecks` that gives a tiny model, one call of it, and the plain form of its
layers: queries and keys of all tokens, and the numbers of the person's and the garment's tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from examples import random_matches
from oracles import dense_cross_entropy, dense_place_error, dense_reference
from torch import Tensor, nn

from siftvton.supervision import (
    Layout,
    ReferenceAttention,
    find_layouts,
    observe,
    regularise,
    supervise,
    supervise_flow,
    supervise_places,
)
from siftvton.supervision.attention import attention_rows
from siftvton.supervision.reference import grid_of

FRAME = (64, 48)
MATCHES = [random_matches(30, FRAME, seed=1), random_matches(9, FRAME, seed=2)]
REFERENCE = ReferenceAttention.from_correspondences(MATCHES)


@dataclass
class Plain:
    """Queries and keys (B, H, N, d) of all tokens of a layer, and which of them show what."""

    query: Tensor
    key: Tensor
    person: Sequence[int]
    garment: Sequence[int]
    scale: float

    def losses(self, softmax: str) -> Tensor:
        """Eqs. 1-2 of each image, from dense matrices."""
        grids = grid_of(len(self.person), FRAME), grid_of(len(self.garment), FRAME)
        losses = []
        for query, key, matches in zip(self.query, self.key, MATCHES, strict=True):
            p = torch.from_numpy(dense_reference(matches, *grids))
            if softmax == "all":
                wide = torch.zeros(len(self.person), key.shape[1], dtype=p.dtype)
                wide[:, self.garment] = p
                losses.append(dense_cross_entropy(query[:, self.person], key, self.scale, wide))
            else:
                losses.append(dense_cross_entropy(query[:, self.person], key[:, self.garment], self.scale, p))
        return torch.stack(losses)

    def attention(self) -> Tensor:
        """(B, N_q, N_k) over the garment alone, averaged over heads."""
        query, key = self.query[:, :, self.person], self.key[:, :, self.garment]
        return (self.scale * query @ key.transpose(-1, -2)).softmax(dim=-1).mean(dim=1)

    def place_errors(self) -> Tensor:
        """The place loss of each image, (B,)."""
        query_grid, key_grid = (grid_of(len(part), FRAME) for part in (self.person, self.garment))
        cells = torch.arange(len(self.garment))
        places = torch.stack([cells // key_grid[1], cells % key_grid[1]], dim=-1).double()
        expected = self.attention().double() @ places  #  (B, N_q, 2)
        both = zip(expected, MATCHES, strict=True)
        return torch.stack([dense_place_error(each, matches, query_grid, key_grid) for each, matches in both])


def split(projected: Tensor, heads: int) -> Tensor:
    """(B, N, H·d) -> (B, H, N, d)."""
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)


def halves(tokens: int) -> tuple[range, range]:
    return range(tokens // 2), range(tokens // 2, tokens)


def shaken(model: nn.Module) -> nn.Module:
    """Make all parameters random, those of normalisations included, so that none can be forgotten."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.train()


class PlainProcessor:
    """The layer's own processor, which also records the losses of the plain form."""

    def __init__(self, processor: Any, plain: Callable[..., Plain], softmax: str) -> None:
        self.processor, self.plain, self.softmax = processor, plain, softmax

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        **_: Any,
    ) -> Any:
        rotation = () if image_rotary_emb is None else (image_rotary_emb,)
        output = self.processor(attn, hidden_states, encoder_hidden_states, attention_mask, *rotation)
        self.seen = self.plain(self.processor, attn, hidden_states, encoder_hidden_states)
        self.losses = self.seen.losses(self.softmax)
        return output


@pytest.fixture
def compiler() -> Iterator[None]:
    """Clears Dynamo's compiled code before and after the test."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class LayoutChecks:
    """Each family sets ``layers``, or None for those that are found, and the four functions."""

    layers: Sequence[str] | None = None
    expected_layers: int

    def model(self) -> nn.Module:
        raise NotImplementedError

    def call(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        """Run the model on two images."""
        raise NotImplementedError

    def plain(self, processor: Any, attention: Any, hidden_states: Tensor, text: Tensor | None) -> Plain:
        """The plain form of a layer."""
        raise NotImplementedError

    def checkpointed(self, model: nn.Module) -> None:
        model.enable_gradient_checkpointing()

    def compiled(self, model: nn.Module) -> Callable:
        """The model with its observed layers in compiled code."""
        return torch.compile(model, backend="eager")

    def layouts(self, model: nn.Module, softmax: str = "garment") -> dict[str, Layout]:
        found = find_layouts(model, self.layers)
        return {name: replace(layout, softmax=softmax) for name, layout in found.items()}

    def loss_and_gradients(
        self, model: nn.Module, called: Callable | None = None, softmax: str = "garment", dtype=torch.float32
    ) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        with supervise(model, REFERENCE, self.layouts(model, softmax)) as recorder:
            output = self.call(model if called is None else called, dtype)
            loss = recorder.loss()
            (loss.mean() + 0 * output.float().sum()).backward()
        return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    @pytest.mark.parametrize("softmax", ["garment", "all"])
    def test_loss_and_gradient_are_those_of_the_dense_form_in_float64(self, softmax: str):
        model = self.model().double()
        loss, found = self.loss_and_gradients(model, softmax=softmax, dtype=torch.float64)
        layers = [model.get_submodule(name) for name in self.layouts(model)]
        assert len(layers) == self.expected_layers
        for layer in layers:
            layer.set_processor(PlainProcessor(layer.processor, self.plain, softmax))
        model.zero_grad()
        output = self.call(model, torch.float64)
        expected_loss = torch.stack([layer.processor.losses for layer in layers]).mean(dim=0)
        (expected_loss.mean() + 0 * output.sum()).backward()
        expected = [p.grad for p in model.parameters() if p.grad is not None]
        torch.testing.assert_close(loss, expected_loss.detach(), rtol=1e-6, atol=0)
        largest = max(gradient.abs().max().item() for gradient in expected)
        assert largest > 1e-3
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * largest)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
    def test_supervision_does_not_change_the_output_in_any_bit(self, dtype: torch.dtype):
        model = self.model().to(dtype)
        plain = self.call(model, dtype)
        for softmax in ("garment", "all"):
            with supervise(model, REFERENCE, self.layouts(model, softmax)):
                assert torch.equal(self.call(model, dtype), plain)
        assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())

    def test_gradient_checkpointing_changes_no_gradient(self):
        model = self.model()
        _, expected = self.loss_and_gradients(model)
        self.checkpointed(model)
        _, found = self.loss_and_gradients(model)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

    def test_in_bfloat16_the_loss_is_near_that_in_float32(self):
        model = self.model()
        expected, _ = self.loss_and_gradients(model)
        loss, gradients = self.loss_and_gradients(model.to(torch.bfloat16), dtype=torch.bfloat16)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)
        assert all(gradient.isfinite().all() for gradient in gradients)

    @pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
    def test_a_compiled_model_has_the_eager_loss_and_gradients(self, compiler: None, checkpointing: bool):
        model = self.model()
        if checkpointing:
            self.checkpointed(model)
        expected, theirs = self.loss_and_gradients(model)
        found, ours = self.loss_and_gradients(model, self.compiled(model))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def test_an_objective_is_given_the_persons_states_and_the_garments_keys(self):
        """It measures the attention over the garment, of which the loss is the cross-entropy."""
        model = self.model()

        def rows(layer: Any, hidden_states: Tensor, key: Tensor) -> Tensor:
            every = torch.arange(hidden_states.shape[1])
            return torch.stack([attention_rows(layer, *given, every) for given in zip(hidden_states, key, strict=True)])

        layouts = self.layouts(model)
        with torch.no_grad(), observe(model, rows, layouts) as seen:
            self.call(model)
            found = dict(seen.losses)
        for name in layouts:
            layer = model.get_submodule(name)
            layer.set_processor(PlainProcessor(layer.processor, self.plain, "garment"))
        with torch.no_grad():
            self.call(model)
        for name, weights in found.items():
            expected = model.get_submodule(name).processor.seen.attention()
            torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)

    def test_queries_and_keys_are_projected_once(self):
        model = self.model()
        layouts = self.layouts(model, "all")
        calls: dict[str, int] = {}
        for name in layouts:
            for part, projection in model.get_submodule(name).named_children():
                if part in ("to_q", "to_k", "add_k_proj"):
                    place = f"{name}.{part}"
                    projection.register_forward_hook(
                        lambda *_, place=place: calls.__setitem__(place, calls.get(place, 0) + 1)
                    )
        with supervise(model, REFERENCE, layouts):
            self.call(model)
        assert len(calls) >= 2 * len(layouts)
        assert set(calls.values()) == {1}

    def test_the_total_variation_is_recorded_as_well(self):
        model = self.model()
        with regularise(model, torch.ones(2, 1, 16, 12), FRAME, self.layouts(model, "all")) as recorder:
            self.call(model)
            assert (recorder.loss() > 0).all()

    def test_the_losses_on_places_are_those_of_the_garments_part(self):
        model = self.model().double()
        layouts = self.layouts(model, "all")
        with torch.no_grad(), supervise_places(model, REFERENCE, layouts) as recorder:
            self.call(model, torch.float64)
            found = dict(recorder.losses)
        torch.manual_seed(2)
        pictures, mask = torch.rand(2, 2, 3, *FRAME), torch.ones(2, 1, *FRAME)
        with supervise_flow(model, *pictures, mask, layouts) as recorder:
            self.call(model, torch.float64)
            assert (recorder.loss() > 0).all()
        for name in layouts:
            layer = model.get_submodule(name)
            layer.set_processor(PlainProcessor(layer.processor, self.plain, "garment"))
        with torch.no_grad():
            self.call(model, torch.float64)
        for name, errors in found.items():
            expected = model.get_submodule(name).processor.seen.place_errors()
            torch.testing.assert_close(errors, expected, rtol=1e-5, atol=1e-9)
