"""Token layouts: which tokens of an attention layer show the person, and which show the garment.

Letters: N_q and N_k, the tokens of the person and of the garment that a layout picks.

Eq. 1 compares p with a distribution over garment cells. If a layer also has other keys (the person's own cells, text),
there are two forms of the softmax, and ``softmax`` chooses one:
    "garment": over the garment's keys alone. The loss says where on the garment a query looks. This is the default.
    "all": over all keys of the layer. The loss also says how much a query looks at the garment: all of its attention.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

from siftvton.correspondence import Frame
from siftvton.supervision.reference import grid_of

AttentionLayer: TypeAlias = Attention | FluxAttention
Side = Literal["below", "above", "right", "left"]
Softmax = Literal["garment", "all"]


@dataclass(frozen=True)
class Part:
    """The cells of one picture in a sequence of tokens.

    Attributes:
        begin: the first token of the area of ``rows`` × ``width`` tokens that contains the picture.
        left, columns: the picture has the columns ``left`` to ``left + columns`` of this area.
    """

    begin: int
    rows: int
    width: int
    left: int
    columns: int

    @classmethod
    def run(cls, begin: int, count: int) -> "Part":
        """Tokens that follow each other."""
        return cls(begin, 1, count, 0, count)

    def __len__(self) -> int:
        return self.rows * self.columns

    def take(self, tokens: Tensor, dim: int) -> Tensor:
        """The picture's cells, (…, N, …) -> (…, len(self), …)."""
        if len(self) == tokens.shape[dim]:
            return tokens
        area = tokens.narrow(dim, self.begin, self.rows * self.width)
        if self.columns == self.width:
            return area
        return (
            area.unflatten(dim, (self.rows, self.width)).narrow(dim + 1, self.left, self.columns).flatten(dim, dim + 1)
        )

    def index(self, cells: Tensor) -> Tensor:
        """The tokens of cells."""
        if self.rows == 1:
            return cells + self.begin + self.left if self.begin + self.left else cells
        return self.begin + self.left + cells // self.columns * self.width + cells % self.columns


class Layout(ABC):
    """Where the person's and the garment's tokens are in a layer."""

    softmax: Softmax

    @abstractmethod
    def parts(self, queries: int, keys: int, text: int) -> tuple[Part, Part]:
        """The person's part of the queries, and the garment's part of the keys.

        Args:
            queries, keys: numbers of tokens from which the layer projects ``to_q`` and ``to_k``.
            text: how many of them are text, at the beginning.

        Raises:
            ValueError: the numbers do not fit the layout.
        """


@dataclass(frozen=True)
class Cross(Layout):
    """Cross-attention: all queries show the person, all keys the garment (StableVITON)."""

    softmax: Softmax = "garment"

    def parts(self, queries: int, keys: int, text: int) -> tuple[Part, Part]:
        return Part.run(0, queries), Part.run(0, keys)


@dataclass(frozen=True)
class Extended(Layout):
    """Self-attention whose keys continue with the garment's: hidden states of a reference U-Net (IDM-VTON)."""

    softmax: Softmax = "garment"

    def parts(self, queries: int, keys: int, text: int) -> tuple[Part, Part]:
        if keys <= queries:
            raise ValueError(
                "a supervised layer must be called with encoder_hidden_states and without attention_mask, unless its "
                f"own keys continue with the garment's; here {queries} queries and {keys} keys are of one sequence. "
                "If the sequence shows both pictures, give the layout: layers={name: Concatenated()}"
            )
        return Part.run(0, queries), Part.run(queries, keys - queries)


@dataclass(frozen=True)
class Concatenated(Layout):
    """Self-attention over one picture that shows the person and the garment, both of the same size.

    Attributes:
        garment: where the garment is, seen from the person. CatVTON: ``below``, so the grid has 2H×W cells.
        frame: height and width of one of the two, in any unit; ``right`` and ``left`` (H×2W cells) require it.
    """

    garment: Side = "below"
    frame: Frame | None = None
    softmax: Softmax = "garment"

    def __post_init__(self) -> None:
        if self.garment in ("right", "left") and self.frame is None:
            raise ValueError(
                f'Concatenated("{self.garment}") requires frame=(height, width) of one of the two pictures'
            )

    def parts(self, queries: int, keys: int, text: int) -> tuple[Part, Part]:
        half = _half(queries, keys)
        if self.garment in ("below", "above"):
            first, second = Part.run(0, half), Part.run(half, half)
        else:
            assert self.frame is not None
            rows, columns = grid_of(half, self.frame)
            first, second = (Part(0, rows, 2 * columns, left, columns) for left in (0, columns))
        return (first, second) if self.garment in ("below", "right") else (second, first)


@dataclass(frozen=True)
class Joint(Layout):
    """Attention over text, the noisy picture's tokens, then the reference picture's tokens (FLUX Kontext).

    Attributes:
        reference: number of tokens of the reference picture, which shows the garment; None: as many as the person's.
    """

    reference: int | None = None
    softmax: Softmax = "garment"

    def parts(self, queries: int, keys: int, text: int) -> tuple[Part, Part]:
        pictures = queries - text
        count = _half(pictures, keys - text) if self.reference is None else self.reference
        if count >= pictures:
            raise ValueError(f"{pictures} picture tokens cannot contain {count} tokens of a reference picture")
        return Part.run(text, pictures - count), Part.run(queries - count, count)


def _half(queries: int, keys: int) -> int:
    if queries != keys or queries % 2:
        raise ValueError(
            f"{queries} queries and {keys} keys do not show two pictures of the same size; check the layer's layout"
        )
    return queries // 2


def find_layouts(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, Layout]:
    """The layout of each attention layer, by the class and the configuration of the layer.

    - ``FluxAttention``: :class:`Joint`.
    - An ``Attention`` with ``cross_attention_dim``: :class:`Cross`.
    - Any other ``Attention`` of a model without cross-attention: :class:`Concatenated`, the garment below. Such models
      are a U-Net without its text layers (CatVTON) and SD3.
    - Self-attention of a model with cross-attention: :class:`Extended`.

    Args:
        layers: names of layers; None: every cross-attention, or every attention of a model without cross-attention.

    Raises:
        ValueError: a name is not one of the model's attention layers, or there is none.
    """
    attentions = {name: module for name, module in model.named_modules() if isinstance(module, AttentionLayer)}
    crossed = [name for name, module in attentions.items() if _is_cross_attention(module)]
    names = (crossed or list(attentions)) if layers is None else list(layers)
    wrong = [name for name in names if name not in attentions]
    if not attentions:
        raise ValueError(
            "the model has no attention layer of diffusers' classes Attention and FluxAttention; use one that has"
        )
    if wrong or not names:
        raise ValueError(f"not attention layers of this model: {wrong}; use some of {list(attentions)}")
    return {name: _layout(attentions[name], bool(crossed)) for name in names}


def _layout(attention: AttentionLayer, with_cross_attention: bool) -> Layout:
    if isinstance(attention, FluxAttention):
        return Joint()
    if _is_cross_attention(attention):
        return Cross()
    return Extended() if with_cross_attention else Concatenated()


def _is_cross_attention(attention: AttentionLayer) -> bool:
    return isinstance(attention, Attention) and attention.is_cross_attention
