"""Compute losses on a model's attention without changing the model's output.

After the forward pass of a diffusers ``Attention`` or ``FluxAttention`` layer, the recorder takes the queries and keys
that the layer has projected, and records one loss per image under the layer's name. A layout says which of them show
the person and which show the garment.
The layer keeps its attention processor. In a compiled model, the observed layers run uncompiled, whether the model was
compiled inside the ``with`` block or before it. A model compiled with ``fullgraph=True`` cannot be observed.

Letters: B images, H heads, N tokens of the layer, N_q and N_k those of the person and of the garment, R rows,
C channels, d head width.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

from siftvton.correspondence import Frame
from siftvton.supervision.flow import place_error, warping_error
from siftvton.supervision.layers import Layer, Rotation, heads, project, scale
from siftvton.supervision.layouts import AttentionLayer, Cross, Layout, find_layouts
from siftvton.supervision.losses import attention_cross_entropy, attention_total_variation
from siftvton.supervision.reference import Grid, GridPair, PlacedReference, ReferenceAttention, grid_of

Layers = Sequence[str] | Mapping[str, Layout]
Objective = Callable[[Layer, Tensor, Tensor], Tensor]


class Recorder:
    """The losses of the last forward pass.

    Attributes:
        losses: layer name -> (B,), or another observed value. A second forward pass, such as the one of gradient
            checkpointing, overwrites the values of the first.
    """

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}

    def loss(self, layers: Layers | None = None) -> Tensor:
        """The loss of each image, (B,): the mean over the named layers, or over all layers (Eq. 2).

        Raises:
            RuntimeError: no supervised layer has run.
        """
        if not self.losses:
            raise RuntimeError("no supervised layer has run yet; call the model inside the `with` block first")
        return torch.stack([self.losses[layer] for layer in layers or self.losses]).mean(dim=0)


def supervise(
    model: nn.Module, reference: ReferenceAttention, layers: Layers | None = None
) -> AbstractContextManager[Recorder]:
    """Record the loss of Eqs. 1-2 in a model's cross-attention layers.

    Inside ``with supervise(model, reference) as recorder:``, run the model and add λ · ``recorder.loss()`` to its loss.
    With gradient checkpointing, also run the backward pass inside the block, because it runs the layers again.

    Args:
        model: holds diffusers attention layers; the person's and the garment's tokens are grids with the shape of the
            frame.
        reference: the matches of the batch.
        layers: names of attention layers in ``model``, or names with their layouts; None: the layers and layouts of
            :func:`find_layouts`, which also gives the layouts to names.

    Raises:
        ValueError: a name is not one of the model's attention layers.
    """
    return _observe(model, partial(_match_loss, reference), layers)


def regularise(
    model: nn.Module, mask: Tensor, frame: Frame, layers: Layers | None = None
) -> AbstractContextManager[Recorder]:
    """Record StableVITON's attention total variation; use it like :func:`supervise`.

    Its softmax is over the garment's keys alone, whatever the layout says, because only they have a position.

    Args:
        mask: (B, 1, h, w) at the size of the latent; 1 where the garment is worn.
        frame: height and width of the pictures, pixels; the grids have the same shape.
        layers: as in :func:`supervise`.

    Raises:
        ValueError: a name is not one of the model's attention layers.
    """
    return _observe(model, partial(_variation, mask, frame), layers)


def supervise_places(
    model: nn.Module, reference: ReferenceAttention, layers: Layers | None = None
) -> AbstractContextManager[Recorder]:
    """Record the distance between the places that the attention expects and those of the matches.

    Use it like :func:`supervise`, which also says what the arguments are. The softmax is over the garment's keys
    alone, whatever the layout says, because only they have a position. The loss is in heights of the garment picture.

    Raises:
        ValueError: a name is not one of the model's attention layers.
    """
    return _observe(model, partial(_place_loss, reference), layers)


def supervise_flow(
    model: nn.Module, person: Tensor, garment: Tensor, mask: Tensor, layers: Layers | None = None
) -> AbstractContextManager[Recorder]:
    """Record Leffa's flow loss, which requires no matches; use it like :func:`supervise`.

    Its softmax is over the garment's keys alone, whatever the layout says, because only they have a position.

    Args:
        person, garment: (B, 3, height, width) pictures; the grids have their shape.
        mask: (B, 1, height, width); 1 where the garment is worn.
        layers: as in :func:`supervise`.

    Raises:
        ValueError: a name is not one of the model's attention layers.
    """
    return _observe(model, partial(_flow_loss, (person, garment), mask), layers)


def observe(model: nn.Module, objective: Objective, layers: Layers | None = None) -> AbstractContextManager[Recorder]:
    """Record the value of ``objective`` for the inputs of each layer; use it like :func:`supervise`.

    Args:
        objective: (layer, hidden states of the person (B, N_q, C), keys of the garment (B, H, N_k, d)) -> (B, …).
        layers: as in :func:`supervise`.

    Raises:
        ValueError: a name is not one of the model's attention layers.
    """
    return _observe(model, lambda layer: objective(layer, layer.hidden_states, layer.key), layers)


@contextmanager
def _observe(model: nn.Module, objective: Callable[[Layer], Tensor], layers: Layers | None) -> Iterator[Recorder]:
    recorder = Recorder()
    layouts = find_layouts(model, layers)
    if isinstance(layers, Mapping):
        layouts = dict(layers)
    modules = {name: model.get_submodule(name) for name in layouts}

    def record(name: str, layer: Layer) -> None:
        recorder.losses[name] = objective(layer)

    with ExitStack() as watched:
        text_tokens = watched.enter_context(_text_tokens(model, modules.values()))
        for name, layout in layouts.items():
            watched.enter_context(_watched(modules[name], layout, text_tokens, partial(record, name)))
        try:
            yield recorder
        finally:
            recorder.losses.clear()


@contextmanager
def _watched(
    attention: AttentionLayer, layout: Layout, text_tokens: Callable[[], int], record: Callable[[Layer], None]
) -> Iterator[None]:
    """Call ``record`` in each forward pass of the layer."""
    forward = attention.forward
    projections = [getattr(attention, name, None) for name in ("to_q", "to_k", "add_k_proj")]
    projected: dict[nn.Module, Tensor] = {}  # the outputs of the layer's projections in the current call

    def forward_and_record(*args: Any, **kwargs: Any) -> Tensor:
        projected.clear()
        output = forward(*args, **kwargs)
        record(_layer(attention, layout, text_tokens, projected, *args, **kwargs))
        projected.clear()
        return output

    def keep(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        projected[layer] = output

    handles = [layer.register_forward_hook(keep) for layer in projections if layer is not None]
    try:
        with _replaced(attention, forward_and_record):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _replaced(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Replace ``forward`` on the instance, because a compiled model ignores hooks that are added after compilation.

    It does check at every call where ``forward`` comes from, and leaves the replacement uncompiled.
    """
    replaced = vars(module).get("forward")
    vars(module)["forward"] = torch.compiler.disable(forward)
    try:
        yield
    finally:
        if replaced is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = replaced


@contextmanager
def _text_tokens(model: nn.Module, layers: Iterable[AttentionLayer]) -> Iterator[Callable[[], int]]:
    """Give a function that returns how many text tokens the current call of a FLUX transformer has.

    Its single-stream layers receive text and pictures as one sequence, in which nothing marks where the text ends. The
    transformer's text embedder tells the number.
    """
    if not any(map(_has_text_in_its_sequence, layers)):
        yield lambda: 0
        return
    transformers = [module for module in model.modules() if isinstance(module, FluxTransformer2DModel)]
    if len(transformers) != 1:
        raise ValueError(
            "a single-stream layer of FLUX is observed as a part of one FluxTransformer2DModel, but the model has "
            f"{len(transformers)}; call the function with the whole transformer"
        )
    embedder = transformers[0].context_embedder
    forward = embedder.forward
    count: list[int] = []

    def forward_and_count(text: Tensor) -> Tensor:
        count[:] = [text.shape[1]]
        return forward(text)

    with _replaced(embedder, forward_and_count):
        yield lambda: count[0]


def _has_text_in_its_sequence(attention: AttentionLayer) -> bool:
    return isinstance(attention, FluxAttention) and attention.added_kv_proj_dim is None


def _layer(
    attention: AttentionLayer,
    layout: Layout,
    text_tokens: Callable[[], int],
    projected: Mapping[nn.Module, Tensor],
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
    image_rotary_emb: Rotation | None = None,
    **_: Any,
) -> Layer:
    """What the objective is given of a call with these arguments."""
    key_states = encoder_hidden_states if isinstance(layout, Cross) else hidden_states
    if attention_mask is not None or key_states is None:
        raise ValueError("a supervised layer must be called with encoder_hidden_states and without attention_mask")
    if image_rotary_emb is not None and not isinstance(attention, FluxAttention):
        raise ValueError(f"rotary position embeddings of {type(attention.processor).__name__} are not supported")
    key = projected.get(attention.to_k)
    if key is None:  # the processor does not use the projection
        if getattr(attention, "fused_projections", False):
            raise ValueError("fused projections cannot be supervised; call unfuse_qkv_projections() of the model first")
        key = _projected_key(attention, key_states)
    text = text_tokens() if _has_text_in_its_sequence(attention) else 0
    person, garment = layout.parts(hidden_states.shape[1], key.shape[1], text)
    with_all_keys = layout.softmax == "all"
    added, add_key = None, getattr(attention, "add_k_proj", None)  # the text's keys and their projection
    if with_all_keys and add_key is not None and encoder_hidden_states is not None:
        added = projected.get(add_key)
        added = project(add_key, encoder_hidden_states) if added is None else added
    query = projected.get(attention.to_q)
    return Layer(
        attention, person, garment, hidden_states, query, key, added, image_rotary_emb, with_all_keys=with_all_keys
    )


def attention_rows(layer: Layer | AttentionLayer, hidden_states: Tensor, key: Tensor, rows: Tensor) -> Tensor:
    """The attention weights q of some queries of one image over the garment's keys, averaged over heads.

    Autocast is off inside, because it would run the projection and the product in half precision.

    Args:
        layer, hidden_states, key: as an objective of :func:`observe` is given them, but (N_q, C) and (H, N_k, d) of
            one image. The layer can also be a cross-attention itself.
        rows: (R,) query cells.

    Returns:
        (R, N_k) float32.
    """
    attention = layer.attention if isinstance(layer, Layer) else layer
    with torch.autocast(key.device.type, enabled=False):
        hidden_rows = hidden_states[None, rows].to(attention.to_q.weight.dtype)
        query = heads(attention, project(attention.to_q, hidden_rows), attention.norm_q)  # (1, H, R, d)
        if isinstance(layer, Layer):
            query = layer.rotated_query(query, rows[None])
        score = scale(attention) * query[0].float() @ key.float().transpose(-1, -2)  #       (H, R, N_k)
        return score.softmax(dim=-1).mean(dim=0)


def _match_loss(reference: ReferenceAttention, layer: Layer) -> Tensor:
    placed, _ = _placed(reference, layer)
    queries = layer.queries(placed.sparse.row_cells)  #                                (B, H, R, d)
    key, place_of = layer.softmax_keys()
    sparse = replace(placed.sparse, key=place_of(placed.sparse.key))
    return attention_cross_entropy(queries, key, scale(layer.attention), sparse, placed.rows)


def _place_loss(reference: ReferenceAttention, layer: Layer) -> Tensor:
    placed, key_grid = _placed(reference, layer)
    queries = layer.queries(placed.sparse.row_cells)  #                                (B, H, R, d)
    return place_error(queries, layer.key, scale(layer.attention), placed, key_grid)


def _placed(reference: ReferenceAttention, layer: Layer) -> tuple[PlacedReference, Grid]:
    """The reference on the layer's grids, and the grid of the garment."""
    images = layer.states.shape[0]
    if images != reference.batch_size:
        raise ValueError(
            f"the layer runs on {images} images, but the reference has {reference.batch_size}; "
            "use the same batch for both"
        )
    query_grid, key_grid = _grids(layer, reference.frame)
    (placed,) = reference.on(layer.states.device, (query_grid, key_grid))
    return placed, key_grid


def _grids(layer: Layer, frame: Frame) -> GridPair:
    return grid_of(len(layer.person), frame), grid_of(len(layer.garment), frame)


def _flow_loss(pictures: tuple[Tensor, Tensor], mask: Tensor, layer: Layer) -> Tensor:
    height, width = mask.shape[-2:]
    grids = _grids(layer, (height, width))
    return warping_error(layer.queries(), layer.key, scale(layer.attention), pictures, mask, *grids)


def _variation(mask: Tensor, frame: Frame, layer: Layer) -> Tensor:
    query_grid, key_grid = _grids(layer, frame)
    inside = nn.functional.interpolate(mask.float(), size=query_grid, mode="nearest").flatten(1) > 0.5  # (B, N_q)
    return attention_total_variation(layer.queries(), layer.key, scale(layer.attention), inside, query_grid, key_grid)


def keys(attention: Attention, encoder_hidden_states: Tensor) -> Tensor:
    """The keys of a layer: (B, N_k, C') -> (B, H, N_k, d)."""
    return heads(attention, _projected_key(attention, encoder_hidden_states), attention.norm_k)


def _projected_key(attention: AttentionLayer, states: Tensor) -> Tensor:
    if getattr(attention, "norm_cross", None):
        states = attention.norm_encoder_hidden_states(states)
    return project(attention.to_k, states)
