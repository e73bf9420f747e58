"""The parameters of a garment, random draws of garments, and the outline of the flat garment.

Lengths are world pixels of the garment's own picture (512 × 384). A garment is a torso part and two sleeves. Each
part has coordinates along and across the body; the worn garment finds its cloth by them:

- torso: y, and x from the middle;
- sleeve: s is the distance from the armhole along the sleeve in px; t runs from -1 (the upper, outer edge) to 1 (the
  edge at the body).
"""

from dataclasses import dataclass, replace

import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.persons import SPLITS, Colour

CENTRE = 191.5  # x of the garment's middle in its own picture
WIDEST = 184.0  # how far from the middle a garment may extend
PRINTS = ("plain", "text", "logo", "stripes", "checks", "floral")
SLEEVES = ("none", "short", "elbow", "long")
NECKLINES = ("crew", "scoop", "v", "boat", "turtle")
TURN_SHARE = 0.6  # distance from the armhole at which a sleeve has its own direction, in half shoulder widths
ARM_SHARE = 2.75  # length of an arm in half shoulder widths; a sleeve_reach of 1 ends at the wrist


@dataclass(frozen=True)
class Garment:
    """The parameters of a top or a dress.

    Attributes:
        seed: seed for the content of the print and the fine detail of the cloth.
        print: one of PRINTS.
        sleeve: one of SLEEVES.
        neckline: one of NECKLINES.
        base, sleeve_colour, trim: colours of the torso, the sleeves and the neckband.
        accents: colours of the print.
        top: y of the shoulder's inner end.
        shoulder: half the shoulders' width, px; the unit of every ``*_share``.
        drop_share: how much lower the shoulder's outer end is than its inner end.
        armhole_share: how far the armpit is below ``top``.
        chest_share, waist_share, hem_share: half widths.
        length_share: length of the torso from ``top`` to the hem.
        hem_curve: how much lower the middle of the hem is than its ends, px.
        neck_share, neck_depth_share: half width and depth of the neckline.
        sleeve_reach: where the sleeve ends, as a share of the arm's length.
        sleeve_angle: angle of the flat sleeve, degrees from straight down.
        cuff_share: half width of the sleeve's end.
        ease: share of the flat width that is visible when worn; the rest goes around the body.
        creases: how dark the folds of the flat garment are, 0 for none.
        heather: standard deviation of the cloth's grain, grey levels.
        dress_waist_share: how far the waist of a dress is below ``top``; None: the garment is a top.
    """

    seed: int
    print: str
    sleeve: str
    neckline: str
    base: Colour
    sleeve_colour: Colour
    trim: Colour
    accents: tuple[Colour, Colour, Colour]
    top: float
    shoulder: float
    drop_share: float
    armhole_share: float
    chest_share: float
    waist_share: float
    hem_share: float
    length_share: float
    hem_curve: float
    neck_share: float
    neck_depth_share: float
    sleeve_reach: float
    sleeve_angle: float
    cuff_share: float
    ease: float
    creases: float
    heather: float
    dress_waist_share: float | None = None

    @property
    def is_dress(self) -> bool:
        return self.dress_waist_share is not None

    @property
    def shoulder_y(self) -> float:
        return self.top + self.drop_share * self.shoulder

    @property
    def armpit_y(self) -> float:
        return self.top + self.armhole_share * self.shoulder

    @property
    def hem_y(self) -> float:
        return self.top + self.length_share * self.shoulder

    @property
    def sleeve_length(self) -> float:
        return self.sleeve_reach * ARM_SHARE * self.shoulder


def sample_garment(seed: int, split: str, index: int) -> Garment:
    """Draw garment ``index`` of a split; the draw depends on the split, so two splits have no garment in common."""
    assert split in SPLITS, split
    draw = numpy_generator(seed, split, index, "garment")
    kind = str(draw.choice(PRINTS, p=(0.2, 0.22, 0.2, 0.12, 0.11, 0.15)))
    sleeve = str(draw.choice(SLEEVES, p=(0.12, 0.45, 0.13, 0.3)))
    neckline = str(draw.choice(NECKLINES, p=(0.42, 0.16, 0.2, 0.12, 0.1)))
    base = cloth_colour(draw)
    plain_cloth = kind in ("plain", "text", "logo")
    shoulder = draw.uniform(86, 102) if sleeve in ("long", "elbow") else draw.uniform(90, 106)
    reach = {"none": 0.0, "short": draw.uniform(0.26, 0.38), "elbow": draw.uniform(0.46, 0.6),
             "long": draw.uniform(0.9, 0.97)}[sleeve]  # fmt: skip
    garment = Garment(
        seed=int(draw.integers(1 << 31)),
        print=kind,
        sleeve=sleeve,
        neckline=neckline,
        base=base,
        sleeve_colour=contrasting(draw, base) if plain_cloth and draw.random() < 0.15 else base,
        trim=contrasting(draw, base) if draw.random() < 0.25 else base,
        accents=(contrasting(draw, base), contrasting(draw, base), contrasting(draw, base)),
        top=draw.uniform(62, 84),
        shoulder=shoulder,
        drop_share=draw.uniform(0.12, 0.24),
        armhole_share=draw.uniform(0.88, 1.08),
        chest_share=draw.uniform(0.98, 1.06),
        waist_share=draw.uniform(0.9, 1.06),
        hem_share=draw.uniform(0.95, 1.12),
        length_share=draw.uniform(2.55, 3.5),
        hem_curve=draw.uniform(-4, 14),
        neck_share={"boat": 0.52, "turtle": 0.34, "scoop": 0.46}.get(neckline, 0.38) + draw.uniform(-0.03, 0.03),
        neck_depth_share={"crew": 0.2, "scoop": 0.46, "v": 0.62, "boat": 0.12, "turtle": 0.06}[neckline]
        + draw.uniform(-0.04, 0.06),
        sleeve_reach=reach,
        sleeve_angle=draw.uniform(9, 17) if sleeve == "long" else draw.uniform(20, 38),
        cuff_share=draw.uniform(0.15, 0.2) if sleeve == "long" else draw.uniform(0.25, 0.33),
        ease=draw.uniform(0.78, 0.94),
        creases=draw.uniform(0.3, 1.0),
        heather=draw.uniform(0.0, 5.0),
    )
    return replace(garment, shoulder=shoulder * min(1, WIDEST / _reach(garment)))


def _reach(garment: Garment) -> np.float64:
    """How far the flat garment extends from its middle, px."""
    outlines = torso_outline(garment), sleeve_outline(garment, 1)
    return max(np.abs(outline[:, 0] - CENTRE).max() for outline in outlines)


def sample_dress(seed: int, split: str, index: int) -> Garment:
    """Draw dress ``index`` of a split: a top of a split's draw that is narrow at the waist and ends in a skirt."""
    top = sample_garment(seed, split, index)
    draw = numpy_generator(seed, split, index, "dress")
    length, hem = draw.uniform(3.9, 5.7), draw.uniform(1.0, 1.5)
    dress = replace(
        top,
        top=draw.uniform(26, 44),
        shoulder=min(draw.uniform(78, 92), 440 / length),
        armhole_share=min(top.armhole_share, 1.0),
        dress_waist_share=draw.uniform(1.75, 2.05),
        waist_share=draw.uniform(0.68, 0.8),
        hem_share=hem,
        length_share=length,
    )
    return replace(dress, shoulder=dress.shoulder * min(1, WIDEST / _reach(dress)))


def cloth_colour(draw: np.random.Generator) -> Colour:
    """Draw white, black, grey or navy about as often as in shops, else any colour."""
    which = draw.random()
    if which < 0.22:
        levels = draw.integers(226, 250) + draw.integers(-6, 4, 3)
    elif which < 0.36:
        levels = draw.integers(24, 52) + draw.integers(-5, 6, 3)
    elif which < 0.48:
        levels = draw.integers(95, 200) + draw.integers(-6, 7, 3)
    elif which < 0.58:
        levels = np.array((34, 44, 82)) + draw.integers(-10, 14, 3)
    else:
        hue = draw.uniform(0, 2 * np.pi)
        waves = np.cos(hue - np.array((0, 2, 4)) * np.pi / 3)
        levels = draw.uniform(90, 190) + draw.uniform(25, 75) * waves
    red, green, blue = np.clip(np.round(levels), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def contrasting(draw: np.random.Generator, base: Colour) -> Colour:
    """Draw a colour that is visible on ``base``."""
    while True:
        colour = draw.integers(10, 250, 3)
        if np.abs(colour - np.array(base)).mean() > 60:
            return int(colour[0]), int(colour[1]), int(colour[2])


def half_width(garment: Garment, y: np.ndarray) -> np.ndarray:
    """Half the torso's width at the heights ``y``, px."""
    middle = 0.5 * (garment.armpit_y + garment.hem_y)
    if garment.dress_waist_share is not None:
        middle = garment.top + garment.dress_waist_share * garment.shoulder
    heights = (garment.shoulder_y, garment.armpit_y, middle, garment.hem_y)
    shares = (1.0, garment.chest_share, garment.waist_share, garment.hem_share)
    return np.interp(y, heights, np.array(shares) * garment.shoulder)


def sleeve_point(garment: Garment, side: int, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Convert sleeve coordinates to (..., 2) pixels of the flat picture.

    The sleeve starts along the armhole's seam, and soon turns to its own direction and width.

    Args:
        side: -1 for the right sleeve (at the picture's left), 1 for the left one.
    """
    unit = garment.shoulder
    seam_top = np.array((unit, garment.shoulder_y))
    seam_bottom = np.array((garment.chest_share * unit, garment.armpit_y))
    seam = (seam_bottom - seam_top) / 2
    angle = np.radians(garment.sleeve_angle)
    along, across = np.array((np.sin(angle), np.cos(angle))), np.array((-np.cos(angle), np.sin(angle)))
    turned = np.clip(s / (TURN_SHARE * unit), 0, 1)[..., None]
    width = np.interp(s, *_sleeve_widths(garment))[..., None]
    half = (1 - turned) * seam + turned * width * across
    # the edge at the body runs straight from the armpit; where the sleeve narrows, only its outer edge moves
    middle = seam_bottom + s[..., None] * along - half
    point = middle + t[..., None] * half
    return np.stack((CENTRE + side * point[..., 0], point[..., 1]), -1)


def _sleeve_widths(garment: Garment) -> tuple[np.ndarray, np.ndarray]:
    """Distances along the sleeve, and the sleeve's half widths there, px."""
    wide, narrow = 0.35, garment.cuff_share
    ends, shares = np.array((0, garment.sleeve_length)), np.array((wide, narrow))
    if garment.sleeve == "long":  # it narrows mostly above the elbow
        ends, shares = (
            np.insert(ends, 1, 0.4 * garment.sleeve_length),
            np.array((wide, 0.4 * wide + 0.6 * narrow, narrow)),
        )
    return ends, shares * garment.shoulder


def sleeve_outline(garment: Garment, side: int) -> np.ndarray:
    """(N, 2) outline of the sleeve, from the armhole along the upper edge and back along the other one."""
    s = np.linspace(0, garment.sleeve_length, 32)
    upper, lower = (sleeve_point(garment, side, s, np.full_like(s, t)) for t in (-1, 1))
    return np.concatenate((upper, lower[::-1]))


def neckline(garment: Garment) -> np.ndarray:
    """(N, 2) the front edge of the neck, from the picture's left to its right."""
    x = np.linspace(-1, 1, 33)
    depth = 1 - np.abs(x) if garment.neckline == "v" else np.sqrt(1 - x**2)
    rise = np.zeros_like(x)
    if garment.neckline == "turtle":  # a tube that stands around the neck
        depth, rise = 0.3 * np.sqrt(1 - x**2), np.full_like(x, 0.26)
    y = garment.top + (garment.neck_depth_share * depth - rise) * garment.shoulder
    return np.stack((CENTRE + x * garment.neck_share * garment.shoulder, y), -1)


def torso_outline(garment: Garment) -> np.ndarray:
    """(N, 2) outline of the torso: the neckline, then clockwise."""
    armhole = _armhole(garment)
    down = np.linspace(garment.armpit_y, garment.hem_y, 24)[1:]
    side = np.concatenate((armhole, np.stack((half_width(garment, down), down), -1)))
    across = np.linspace(1, -1, 25)[1:-1]
    hem = np.stack((across * side[-1, 0], side[-1, 1] + garment.hem_curve * (1 - across**2)), -1)
    middle = np.array((CENTRE, 0.0))
    neck = np.array(((garment.neck_share * garment.shoulder, garment.top),))  # where a turtleneck leaves the shoulder
    side = np.concatenate((neck, side))
    return np.concatenate((neckline(garment), side + middle, hem + middle, (side * (-1, 1) + middle)[::-1]))


def _armhole(garment: Garment) -> np.ndarray:
    """(N, 2) the armhole's edge from the end of the shoulder to the armpit; x is measured from the middle."""
    unit = garment.shoulder
    bottom = np.array((garment.chest_share * unit, garment.armpit_y))
    if garment.sleeve != "none":
        return np.stack((np.array((unit, garment.shoulder_y)), bottom))
    strap = max(0.72, garment.neck_share + 0.14)
    top = np.array((strap * unit, garment.top + strap * garment.drop_share * unit))
    bend = np.array((min(strap + 0.02, 0.78) * unit, 0.3 * top[1] + 0.7 * bottom[1]))
    t = np.linspace(0, 1, 16)[:, None]
    return (1 - t) ** 2 * top + 2 * t * (1 - t) * bend + t**2 * bottom
