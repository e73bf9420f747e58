"""The flat garment as a shop shows it: on white, with its mask and its parts.

The cloth itself (``Cloth``) extends beyond the garment's edges, so that the worn garment can be sampled up to them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.frame import SIDES, WORLD_SIZE, to_pixels
from siftvton.toy.world.garments import (
    CENTRE,
    Garment,
    half_width,
    neckline,
    sleeve_outline,
    sleeve_point,
    torso_outline,
)
from siftvton.toy.world.lower import Lower
from siftvton.toy.world.prints import CANVAS_SCALE, checks, fill, paint_floral, paint_logo, paint_text, stripes, stroke

TORSO, LEFT_SLEEVE, RIGHT_SLEEVE = 5, 21, 22  # GP-VTON's labels of a garment's parts


@dataclass(frozen=True)
class Cloth:
    """The cloth of a garment, at the rendered size.

    Attributes:
        torso, sleeves: (height, width, 3) uint8 colours, also beyond the outline.
        torso_cover: (height, width) float32 in 0..1, the share of a pixel that the torso part covers.
        sleeve_covers: the same for the right and the left sleeve; empty for a garment without sleeves.
    """

    torso: np.ndarray
    sleeves: np.ndarray
    torso_cover: np.ndarray
    sleeve_covers: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class FlatGarment:
    """The picture of a flat garment.

    Attributes:
        picture: (height, width, 3) uint8 RGB on white.
        mask: (height, width) bool, true on the garment.
        parsing: (height, width) uint8: 5 torso, 21 left sleeve, 22 right sleeve (the wearer's), 0 elsewhere.
        cloth: the cloth, from which the worn garment is painted.
    """

    picture: np.ndarray
    mask: np.ndarray
    parsing: np.ndarray
    cloth: Cloth


def render_garment(garment: Garment, height: int = 512, width: int = 384) -> FlatGarment:
    """Render the flat garment in a size (pixels); the same garment always has the same pixels."""
    cloth = _cloth(garment, height, width)
    shade = flat_shade(garment, height, width)
    back = cover_of(_back_of_neck(garment), height, width)
    inside = np.array(garment.base, np.float32) * 0.62
    picture = np.full((height, width, 3), 255.0, np.float32)
    covers = (back, *cloth.sleeve_covers, cloth.torso_cover)
    shadow = cv2.GaussianBlur(np.maximum.reduce(covers), (0, 0), 4 * height / WORLD_SIZE[0])
    picture *= 1 - 0.12 * shadow[..., None]
    picture += back[..., None] * (inside - picture)
    for cover in cloth.sleeve_covers:
        picture += cover[..., None] * (cloth.sleeves * shade - picture)
    picture += cloth.torso_cover[..., None] * (cloth.torso * shade - picture)
    parsing = np.zeros((height, width), np.uint8)
    for cover, label in zip(cloth.sleeve_covers, (RIGHT_SLEEVE, LEFT_SLEEVE), strict=False):
        parsing[cover > 0.5] = label
    parsing[cloth.torso_cover > 0.5] = TORSO
    mask = (parsing > 0) | (back > 0.5)
    return FlatGarment(np.clip(np.round(picture), 0, 255).astype(np.uint8), mask, parsing, cloth)


def canvas_points(points: np.ndarray) -> np.ndarray:
    return to_pixels(points, WORLD_SIZE[0] * CANVAS_SCALE, WORLD_SIZE[1] * CANVAS_SCALE)


def shrunk(canvas: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)


def cover_of(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = np.zeros((WORLD_SIZE[0] * CANVAS_SCALE, WORLD_SIZE[1] * CANVAS_SCALE), np.uint8)
    fill(canvas, canvas_points(outline), (255,))
    return shrunk(canvas, height, width).astype(np.float32) / 255


def _back_of_neck(garment: Garment) -> np.ndarray:
    """(N, 2) outline of the inside of the garment's back, which is visible through the neckline."""
    front = neckline(garment)
    back = front[::-1].copy()
    back[:, 1] = front[0, 1] + 0.06 * garment.shoulder * np.sqrt(1 - np.linspace(-1, 1, len(front)) ** 2)
    return np.concatenate((front, back))


def _cloth(garment: Garment, height: int, width: int) -> Cloth:
    torso, sleeves = _printed(garment)
    _sew(garment, torso, sleeves)
    torso, sleeves = shrunk(torso, height, width), shrunk(sleeves, height, width)
    if garment.heather:
        mottle = mottled(garment, height, width)
        torso, sleeves = cv2.add(torso, mottle, dtype=cv2.CV_8U), cv2.add(sleeves, mottle, dtype=cv2.CV_8U)
    sides = SIDES if garment.sleeve != "none" else ()
    covers = tuple(cover_of(sleeve_outline(garment, side), height, width) for side in sides)
    return Cloth(torso, sleeves, cover_of(torso_outline(garment), height, width), covers)


def mottled(garment: Garment | Lower, height: int, width: int) -> np.ndarray:
    """(height, width, 3) int16 grey levels to add: the grain of the cloth, which moves with it."""
    draw = numpy_generator(garment.seed, "heather")
    grain = draw.standard_normal((WORLD_SIZE[0], WORLD_SIZE[1]), dtype=np.float32) * garment.heather
    sized = shrunk(grain, height, width)
    return np.repeat(np.round(sized).astype(np.int16)[..., None], 3, axis=2)


def _printed(garment: Garment) -> tuple[np.ndarray, np.ndarray]:
    """Colour and print of the torso's and of the sleeves' cloth, each on a canvas of its own."""
    draw = numpy_generator(garment.seed, "print")
    shape = (WORLD_SIZE[0] * CANVAS_SCALE, WORLD_SIZE[1] * CANVAS_SCALE)
    unit = garment.shoulder * CANVAS_SCALE
    torso = np.empty((*shape, 3), np.uint8)
    sleeves = np.empty((*shape, 3), np.uint8)
    torso[:], sleeves[:] = garment.base, garment.sleeve_colour
    chest = canvas_points(np.array((CENTRE, garment.top + (garment.neck_depth_share + 0.62) * garment.shoulder)))
    if garment.print == "text":
        paint_text(torso, draw, garment.accents, chest, unit)
    elif garment.print == "logo":
        paint_logo(torso, draw, garment.accents, chest, unit)
    elif garment.print == "floral":
        paint_floral(torso, draw, garment.accents, unit)
        sleeves = torso.copy()
    elif garment.print in ("stripes", "checks"):
        weave = stripes if garment.print == "stripes" else checks
        pattern = weave(shape, draw, garment.base, garment.accents, unit)
        torso = pattern(0.0)
        half = shape[1] // 2  # the pattern of a sleeve follows the direction of the sleeve
        sleeves[:, :half] = pattern(garment.sleeve_angle - 90)[:, :half]
        sleeves[:, half:] = pattern(90 - garment.sleeve_angle)[:, half:]
    return torso, sleeves


def darker(colour: tuple[int, int, int], factor: float) -> tuple[int, ...]:
    return tuple(int(level * factor) for level in colour)


def _sew(garment: Garment, torso: np.ndarray, sleeves: np.ndarray) -> None:
    """Draw neckband, seams and hems on the cloth, so that they also show on the worn garment."""
    seam = darker(garment.base, 0.8) if sum(garment.base) > 150 else (78, 78, 80)
    band = max(2, round(0.09 * garment.shoulder * CANVAS_SCALE))
    edge = canvas_points(neckline(garment))
    if garment.neckline != "turtle":
        stroke(torso, edge, seam, band + 3)
        stroke(torso, edge, garment.trim, band)
    x = np.linspace(-1, 1, 25)
    for lift in (5, 8):
        y = garment.hem_y - lift + garment.hem_curve * (1 - x**2)
        hem = np.stack((CENTRE + x * half_width(garment, y), y), -1)
        stroke(torso, canvas_points(hem), seam, 1)
    if garment.sleeve == "none":
        return
    for side in SIDES:
        t = np.linspace(-1, 1, 9)
        stroke(sleeves, canvas_points(sleeve_point(garment, side, np.full_like(t, 0.0), t)), seam, 3)
        for lift in (5, 8):
            cuff = sleeve_point(garment, side, np.full_like(t, garment.sleeve_length - lift), t)
            stroke(sleeves, canvas_points(cuff), seam, 1)


def flat_shade(garment: Garment | Lower, height: int, width: int) -> np.ndarray:
    """(height, width, 1) factor on the colours: soft creases of the flat cloth."""
    draw = numpy_generator(garment.seed, "creases")
    coarse = draw.standard_normal((12, 9), dtype=np.float32) + np.linspace(0.5, -0.5, 9, dtype=np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (1 - garment.creases * (0.03 + 0.03 * smooth))[..., None]
