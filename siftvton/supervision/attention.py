"""Compute losses on a model's cross-attention without changing the model's output.

After the forward pass of a diffusers ``Attention`` layer, the recorder takes the queries and keys that the layer has
projected, and records one loss per image under the layer's name.
The layer keeps its attention processor. In a compiled model, the observed layers run uncompiled, whether the model was
compiled inside the ``with`` block or before it. A model compiled with ``fullgraph=True`` cannot be observed.

Letters: B images, H heads, N_q and N_k query and key tokens, R rows, C channels, d head width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from siftvton.correspondence import Frame
from siftvton.supervision.losses import attention_cross_entropy, attention_total_variation
from siftvton.supervision.reference import ReferenceAttention, grid_of

Objective = Callable[[Attention, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Call:
    """What a loss can use of one call of a layer.

    Attributes:
        attention: the layer.
        hidden_states: (B, N_q, C), its input.
        query: (B, N_q, H·d), the output of its query projection, not normalised; None: the layer did not call it.
        key: (B, H, N_k, d), normalised if the layer does so.
    """

    attention: Attention
    hidden_states: Tensor
    query: Tensor | None
    key: Tensor

    def queries(self, cells: Tensor | None = None) -> Tensor:
        """The queries (B, H, R, d) of ``cells`` (B, R); None: of all cells."""
        source = self.hidden_states if self.query is None else self.query
        if cells is not None:
            source = source.gather(1, cells.unsqueeze(-1).expand(-1, -1, source.shape[-1]))  # (B, R, C)
        projected = _project(self.attention.to_q, source) if self.query is None else source
        return _heads(self.attention, projected, self.attention.norm_q)


class Recorder:
    """The losses of the last forward pass.

    Attributes:
        losses: layer name -> (B,), or another observed value. A second forward pass, such as the one of gradient
            checkpointing, overwrites the values of the first.
    """

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}

    def loss(self, layers: Sequence[str] | None = None) -> Tensor:
        """The loss of each image, (B,): the mean over the named layers, or over all layers (Eq. 2).

        Raises:
            RuntimeError: no supervised layer has run.
        """
        if not self.losses:
            raise RuntimeError("no supervised layer has run yet; call the model inside the `with` block first")
        return torch.stack([self.losses[layer] for layer in layers or self.losses]).mean(dim=0)


def supervise(
    model: nn.Module, reference: ReferenceAttention, layers: Sequence[str] | None = None
) -> AbstractContextManager[Recorder]:
    """Record the loss of Eqs. 1-2 in a model's cross-attention layers.

    Inside ``with supervise(model, reference) as recorder:``, run the model and add λ · ``recorder.loss()`` to its loss.
    With gradient checkpointing, also run the backward pass inside the block, because it runs the layers again.

    Args:
        model: holds diffusers ``Attention`` layers; their queries and keys are grids with the shape of the frame.
        reference: the matches of the batch.
        layers: names of ``Attention`` modules in ``model``; None: every cross-attention.

    Raises:
        ValueError: a name is not one of the model's ``Attention`` layers.
    """
    return _observe(model, partial(_match_loss, reference), layers)


def regularise(
    model: nn.Module, mask: Tensor, frame: Frame, layers: Sequence[str] | None = None
) -> AbstractContextManager[Recorder]:
    """Record StableVITON's attention total variation; use it like :func:`supervise`.

    Args:
        mask: (B, 1, h, w) at the size of the latent; 1 where the garment is worn.
        frame: height and width of the pictures, pixels; the grids have the same shape.
        layers: names of ``Attention`` modules in ``model``; None: every cross-attention.

    Raises:
        ValueError: a name is not one of the model's ``Attention`` layers.
    """
    return _observe(model, partial(_variation, mask, frame), layers)


def observe(
    model: nn.Module, objective: Objective, layers: Sequence[str] | None = None
) -> AbstractContextManager[Recorder]:
    """Record the value of ``objective`` for the inputs of each layer; use it like :func:`supervise`.

    Args:
        objective: (layer, its hidden states (B, N_q, C), its keys (B, H, N_k, d)) -> (B, …).
        layers: names of ``Attention`` modules in ``model``; None: every cross-attention.

    Raises:
        ValueError: a name is not one of the model's ``Attention`` layers.
    """
    return _observe(model, lambda call: objective(call.attention, call.hidden_states, call.key), layers)


@contextmanager
def _observe(model: nn.Module, objective: Callable[[Call], Tensor], layers: Sequence[str] | None) -> Iterator[Recorder]:
    recorder = Recorder()
    modules = dict(model.named_modules())
    if layers is None:
        layers = [n for n, module in modules.items() if isinstance(module, Attention) and module.is_cross_attention]
    wrong = [name for name in layers if not isinstance(modules.get(name), Attention)]
    if wrong or not layers:
        attentions = [name for name, module in modules.items() if isinstance(module, Attention)]
        raise ValueError(f"not attention layers of this model: {wrong}; use some of {attentions}")
    with ExitStack() as watched:
        for name in layers:
            watched.enter_context(_watched(modules[name], partial(recorder.losses.__setitem__, name), objective))
        try:
            yield recorder
        finally:
            recorder.losses.clear()


@contextmanager
def _watched(
    attention: Attention, record: Callable[[Tensor], None], objective: Callable[[Call], Tensor]
) -> Iterator[None]:
    """Record the value of ``objective`` in each forward pass of the layer.

    This replaces ``forward`` on the instance, because a compiled model ignores hooks that are added after compilation.
    It does check at every call where ``forward`` comes from, and leaves the replacement uncompiled.
    """
    forward, replaced = attention.forward, vars(attention).get("forward")
    projected: dict[nn.Module, Tensor] = {}  # the outputs of the layer's projections in the current call

    @torch.compiler.disable
    def forward_and_record(*args: Any, **kwargs: Any) -> Tensor:
        projected.clear()
        output = forward(*args, **kwargs)
        hidden_states, encoder_hidden_states = _inputs(*args, **kwargs)
        query, key = (projected.get(layer) for layer in (attention.to_q, attention.to_k))
        # A processor with a fused projection of its own leaves nothing.
        key = keys(attention, encoder_hidden_states) if key is None else _heads(attention, key, attention.norm_k)
        record(objective(Call(attention, hidden_states, query, key)))
        projected.clear()
        return output

    def keep(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        projected[layer] = output

    handles = [layer.register_forward_hook(keep) for layer in (attention.to_q, attention.to_k)]
    vars(attention)["forward"] = forward_and_record
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if replaced is None:
            del vars(attention)["forward"]
        else:
            vars(attention)["forward"] = replaced


def _inputs(
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    if encoder_hidden_states is None or attention_mask is not None:
        raise ValueError("a supervised layer must be called with encoder_hidden_states and without attention_mask")
    return hidden_states, encoder_hidden_states


def attention_rows(attention: Attention, hidden_states: Tensor, key: Tensor, rows: Tensor) -> Tensor:
    """The attention weights q of some queries of one image, averaged over heads.

    Autocast is off inside, because it would run the projection and the product in half precision.

    Args:
        hidden_states: (N_q, C). key: (H, N_k, d). rows: (R,) query cells.

    Returns:
        (R, N_k) float32.
    """
    with torch.autocast(key.device.type, enabled=False):
        hidden_rows = hidden_states[None, rows].to(attention.to_q.weight.dtype)
        query = _heads(attention, _project(attention.to_q, hidden_rows), attention.norm_q)[0]  # (H, R, d)
        score = attention.scale * query.float() @ key.float().transpose(-1, -2)  #    (H, R, N_k)
        return score.softmax(dim=-1).mean(dim=0)


def _match_loss(reference: ReferenceAttention, call: Call) -> Tensor:
    images, cells = call.hidden_states.shape[:2]
    if images != reference.batch_size:
        raise ValueError(
            f"the layer runs on {images} images, but the reference has {reference.batch_size}; "
            "use the same batch for both"
        )
    grids = grid_of(cells, reference.frame), grid_of(call.key.shape[2], reference.frame)
    (placed,) = reference.on(call.key.device, grids)
    queries = call.queries(placed.sparse.row_cells)  #                                (B, H, R, d)
    return attention_cross_entropy(queries, call.key, call.attention.scale, placed.sparse, placed.rows)


def _variation(mask: Tensor, frame: Frame, call: Call) -> Tensor:
    query_grid, key_grid = grid_of(call.hidden_states.shape[1], frame), grid_of(call.key.shape[2], frame)
    inside = nn.functional.interpolate(mask.float(), size=query_grid, mode="nearest").flatten(1) > 0.5  # (B, N_q)
    return attention_total_variation(call.queries(), call.key, call.attention.scale, inside, query_grid, key_grid)


def keys(attention: Attention, encoder_hidden_states: Tensor) -> Tensor:
    """The keys of a layer: (B, N_k, C') -> (B, H, N_k, d)."""
    if attention.norm_cross:
        encoder_hidden_states = attention.norm_encoder_hidden_states(encoder_hidden_states)
    return _heads(attention, _project(attention.to_k, encoder_hidden_states), attention.norm_k)


def _project(layer: nn.Module, states: Tensor) -> Tensor:
    """Call a projection without its hooks, by which another recorder would take the result for the layer's own."""
    return layer.forward(states)


def _heads(attention: Attention, projected: Tensor, norm: nn.Module | None) -> Tensor:
    """Split the heads, (B, N, H·d) -> (B, H, N, d), and normalise if the layer does so."""
    split = projected.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)
