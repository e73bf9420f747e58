"""One call of an attention layer: its queries and keys, with the person's and the garment's parts of them.

Letters: B images, H heads, N tokens of the layer, N_q and N_k those of the person and of the garment, R rows,
C channels, d head width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

from siftvton.supervision.layouts import AttentionLayer, Part

Rotation = tuple[Tensor, Tensor]  # cosines and sines of the rotary position embedding, (N, d) each


@dataclass(frozen=True)
class Layer:
    """One call of an observed layer.

    Attributes:
        attention: the layer.
        person, garment: their parts of the layer's tokens.
        states: (B, N, C), the input of the layer's query projection.
        projected_query: (B, N, H·d), the output of this projection, not normalised; None: the layer did not call it.
        projected_key: (B, N, H·d), not normalised.
        added_key: (B, N, H·d), the keys of the text if they have a projection of their own and are in the softmax.
        rotation: of the layer's tokens, text with a projection of its own included; None: the layer has no rotation.
        with_all_keys: whether the softmax of the loss is over all keys; otherwise it is over the garment's.
    """

    attention: AttentionLayer
    person: Part
    garment: Part
    states: Tensor
    projected_query: Tensor | None
    projected_key: Tensor
    added_key: Tensor | None
    rotation: Rotation | None
    with_all_keys: bool

    @property
    def hidden_states(self) -> Tensor:
        """(B, N_q, C), the person's cells in the layer's input."""
        return self.person.take(self.states, 1)

    def queries(self, cells: Tensor | None = None) -> Tensor:
        """The queries (B, H, R, d) of ``cells`` (B, R) of the person; None: of all cells."""
        source = self.states if self.projected_query is None else self.projected_query
        if cells is None:
            source = self.person.take(source, 1)
        else:
            source = source.gather(1, self.person.index(cells).unsqueeze(-1).expand(-1, -1, source.shape[-1]))
        projected = project(self.attention.to_q, source) if self.projected_query is None else source  # (B, R, H·d)
        return self.rotated_query(heads(self.attention, projected, self.attention.norm_q), cells)

    def rotated_query(self, query: Tensor, cells: Tensor | None) -> Tensor:
        """Queries (B, H, R, d) of ``cells`` (B, R), or of all cells, with their rotation if the layer has one."""
        if self.rotation is None:
            return query
        cosines, sines = self.own_rotation
        if cells is None:
            return rotated(query, (self.person.take(cosines, 0), self.person.take(sines, 0)))
        tokens = self.person.index(cells)
        return rotated(query, (cosines[tokens][:, None], sines[tokens][:, None]))  #  (B, 1, R, d) each

    @cached_property
    def key(self) -> Tensor:
        """(B, H, N_k, d), the garment's keys as the layer uses them."""
        key = heads(self.attention, self.garment.take(self.projected_key, 1), self.attention.norm_k)
        if self.rotation is None:
            return key
        cosines, sines = self.own_rotation
        return rotated(key, (self.garment.take(cosines, 0), self.garment.take(sines, 0)))

    @property
    def own_rotation(self) -> Rotation:
        """The rotation without that of the text that has a projection of its own; it comes first (FLUX)."""
        assert self.rotation is not None
        tokens = self.states.shape[1]
        return self.rotation[0][-tokens:], self.rotation[1][-tokens:]

    def softmax_keys(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The keys (B, H, …, d) of the loss's softmax, and the function from garment cells to their places in it."""
        if not self.with_all_keys:
            return self.key, lambda cells: cells
        key = heads(self.attention, self.projected_key, self.attention.norm_k)
        first = 0
        if self.added_key is not None:
            key = torch.cat([heads(self.attention, self.added_key, self.attention.norm_added_k), key], dim=2)
            first = self.added_key.shape[1]
        if self.rotation is not None:
            key = rotated(key, self.rotation)
        return key, lambda cells: first + self.garment.index(cells)


def project(layer: nn.Module, states: Tensor) -> Tensor:
    """Call a projection without its hooks, by which another recorder would take the result for the layer's own."""
    return layer.forward(states)


def heads(attention: AttentionLayer, projected: Tensor, norm: nn.Module | None) -> Tensor:
    """Split the heads, (B, N, H·d) -> (B, H, N, d), and normalise if the layer does so."""
    split = projected.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)


def rotated(states: Tensor, rotation: Rotation) -> Tensor:
    """Apply the rotary position embedding as FLUX does: each pair of neighbouring channels is turned by an angle.

    Args:
        states: (B, H, N, d).
        rotation: cosines and sines that broadcast to it; both channels of a pair have the same angle.
    """
    cosines, sines = rotation
    even, odd = states.unflatten(-1, (-1, 2)).unbind(-1)  #               (B, H, N, d/2) each
    quarter_turn = torch.stack([-odd, even], dim=-1).flatten(-2)  #       (B, H, N, d)
    return (states * cosines + quarter_turn * sines).to(states.dtype)


def scale(attention: AttentionLayer) -> float:
    """The factor of Q·K."""
    return float(attention.head_dim**-0.5 if isinstance(attention, FluxAttention) else attention.scale)
