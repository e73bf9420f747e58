"""The parameters of trousers and skirts, random draws of them, and their flat outlines.

Lengths are world pixels of the garment's own picture, as in :mod:`siftvton.toy.world.garments`. Coordinates on a part:

- a skirt: y, and x from the middle;
- a leg of trousers: s is the distance below the waist in px; t runs from -1 (the outer edge) to 1 (the inner edge).
  Above the crotch, the inner edges of both legs are the middle of the garment.
"""

from dataclasses import dataclass, replace

import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.garments import CENTRE, PRINTS, WIDEST, cloth_colour, contrasting
from siftvton.toy.world.persons import SPLITS, Colour

KINDS = ("trousers", "skirt")
LEG_SHARE = 4.35  # from the waist to the ankle, in half shoulder widths
LOWEST = 478.0  # y at which the longest garment ends
BAND_SHARE = 0.16  # height of the waistband


@dataclass(frozen=True)
class Lower:
    """The parameters of trousers or of a skirt.

    Attributes:
        seed: seed for the content of the print and the fine detail of the cloth.
        print: one of PRINTS.
        kind: one of KINDS.
        base: colour of the cloth.
        accents: colours of the print.
        top: y of the waist.
        unit: px of the flat garment for half the shoulders' width of its wearer; the unit of every ``*_share``.
        waist_share, hip_share: half widths of the garment.
        rise_share: how far crotch or hips are below the waist.
        length_share: length from the waist to the hem.
        hem_share: half the width of a skirt's hem, or of one leg's end.
        spread_share: how far the end of a leg is moved outwards.
        pleats: number of pleats of a skirt, 0 for none.
        creases: how dark the folds of the flat garment are, 0 for none.
        heather: standard deviation of the cloth's grain, grey levels.
    """

    seed: int
    print: str
    kind: str
    base: Colour
    accents: tuple[Colour, Colour, Colour]
    top: float
    unit: float
    waist_share: float
    hip_share: float
    rise_share: float
    length_share: float
    hem_share: float
    spread_share: float
    pleats: int
    creases: float
    heather: float

    @property
    def length(self) -> float:
        return self.length_share * self.unit

    @property
    def rise(self) -> float:
        return self.rise_share * self.unit

    @property
    def hem_y(self) -> float:
        return self.top + self.length


def sample_lower(seed: int, split: str, index: int) -> Lower:
    """Draw trousers or a skirt, number ``index`` of a split; two splits have none in common."""
    assert split in SPLITS, split
    draw = numpy_generator(seed, split, index, "lower")
    kind = str(draw.choice(KINDS, p=(0.55, 0.45)))
    trousers = kind == "trousers"
    base = cloth_colour(draw)
    share = draw.choice((draw.uniform(0.42, 0.55), draw.uniform(0.8, 0.9), 0.97), p=(0.25, 0.2, 0.55))
    length = LEG_SHARE * float(share) if trousers else draw.uniform(1.5, 3.2)
    top = draw.uniform(30, 60)
    hip = draw.uniform(0.84, 0.94)
    lower = Lower(
        seed=int(draw.integers(1 << 31)),
        print=str(draw.choice(PRINTS, p=(0.2, 0.17, 0.17, 0.14, 0.14, 0.18))),
        kind=kind,
        base=base,
        accents=(contrasting(draw, base), contrasting(draw, base), contrasting(draw, base)),
        top=top,
        unit=min(draw.uniform(84, 98), (LOWEST - top) / length),
        waist_share=draw.uniform(0.66, 0.76),
        hip_share=hip,
        rise_share=draw.uniform(0.86, 1.0) if trousers else draw.uniform(0.7, 0.85),
        length_share=length,
        hem_share=draw.uniform(0.2, 0.34) if trousers else hip + draw.uniform(0.0, 0.25) * length,
        spread_share=draw.uniform(0.05, 0.2) if trousers else 0.0,
        pleats=0 if trousers or draw.random() < 0.4 else int(draw.integers(5, 12)),
        creases=draw.uniform(0.3, 1.0),
        heather=draw.uniform(0.0, 5.0),
    )
    widest = lower.hip_share + lower.spread_share if trousers else max(lower.hip_share, lower.hem_share)
    return replace(lower, unit=min(lower.unit, WIDEST / widest))


def skirt_half_width(skirt: Lower, y: np.ndarray) -> np.ndarray:
    """Half the skirt's width at the heights ``y``, px."""
    heights = (skirt.top, skirt.top + skirt.rise, skirt.hem_y)
    return np.interp(y, heights, np.array((skirt.waist_share, skirt.hip_share, skirt.hem_share)) * skirt.unit)


def leg_point(trousers: Lower, side: int, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Convert coordinates on a leg of trousers to (..., 2) pixels of the flat picture.

    Args:
        side: -1 for the right leg (at the picture's left), 1 for the left one.
    """
    x = leg_middle(trousers, s) - t * leg_half_width(trousers, s)
    return np.stack((CENTRE + side * x, trousers.top + s), -1)


def leg_half_width(trousers: Lower, s: np.ndarray) -> np.ndarray:
    """Half the width of one leg at the distances ``s`` below the waist, px."""
    shares = (trousers.waist_share / 2, trousers.hip_share / 2, trousers.hem_share)
    return np.interp(s, (0, trousers.rise, trousers.length), np.array(shares) * trousers.unit)


def leg_middle(trousers: Lower, s: np.ndarray) -> np.ndarray:
    """How far the middle of a leg is from the middle of the trousers, px."""
    shares = (trousers.waist_share / 2, trousers.hip_share / 2, trousers.hip_share / 2 + trousers.spread_share)
    return np.interp(s, (0, trousers.rise, trousers.length), np.array(shares) * trousers.unit)


def skirt_outline(skirt: Lower) -> np.ndarray:
    """(N, 2) outline of the skirt; its hem is a little lower in the middle."""
    y = np.linspace(skirt.top, skirt.hem_y, 24)
    side = np.stack((skirt_half_width(skirt, y), y), -1)
    middle = np.array((CENTRE, 0.0))
    return np.concatenate((side + middle, skirt_hem(skirt), (side * (-1, 1) + middle)[::-1]))


def skirt_hem(skirt: Lower) -> np.ndarray:
    """(N, 2) the hem, from the picture's right to its left."""
    x = np.linspace(1, -1, 25)
    wide = skirt.hem_share * skirt.unit
    return np.stack((CENTRE + x * wide, skirt.hem_y + 0.06 * wide * (1 - x**2)), -1)


def leg_outline(trousers: Lower, side: int) -> np.ndarray:
    """(N, 2) outline of a leg with its half of the hips."""
    s = np.linspace(0, trousers.length, 40)
    outer, inner = (leg_point(trousers, side, s, np.full_like(s, t)) for t in (-1.0, 1.0))
    return np.concatenate((outer, inner[::-1]))
