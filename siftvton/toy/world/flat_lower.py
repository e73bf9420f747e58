"""Flat trousers and skirts as a shop shows them: on white, with mask and parts."""

import cv2
import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.flat import (
    Cloth,
    FlatGarment,
    canvas_points,
    cover_of,
    darker,
    flat_shade,
    mottled,
    shrunk,
)
from siftvton.toy.world.frame import SIDES, WORLD_SIZE
from siftvton.toy.world.garments import CENTRE
from siftvton.toy.world.lower import (
    BAND_SHARE,
    Lower,
    leg_outline,
    leg_point,
    skirt_half_width,
    skirt_hem,
    skirt_outline,
)
from siftvton.toy.world.prints import CANVAS_SCALE, checks, paint_floral, paint_logo, paint_text, stripes, stroke

LEFT_LEG, RIGHT_LEG, SKIRT = 9, 10, 13  # GP-VTON's labels of a garment's parts
PLEAT_DEPTH = 0.28  # how much darker the cloth is in the depth of a pleat


def render_lower(lower: Lower, height: int = 512, width: int = 384) -> FlatGarment:
    """Render flat trousers or a flat skirt in a size (pixels); the same garment always has the same pixels.

    The cloth is one piece: ``cloth.torso`` with its cover.
    """
    cloth = shrunk(_printed(lower), height, width)
    if lower.heather:
        cloth = cv2.add(cloth, mottled(lower, height, width), dtype=cv2.CV_8U)
    cover, parsing = _parts(lower, height, width)
    picture = np.full((height, width, 3), 255.0, np.float32)
    shadow = cv2.GaussianBlur(cover, (0, 0), 4 * height / WORLD_SIZE[0])
    picture *= 1 - 0.12 * shadow[..., None]
    picture += cover[..., None] * (cloth * flat_shade(lower, height, width) - picture)
    shown = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return FlatGarment(shown, parsing > 0, parsing, Cloth(cloth, cloth, cover, ()))


def _parts(lower: Lower, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of a pixel that the garment covers, and the labels of its parts; both (height, width)."""
    parsing = np.zeros((height, width), np.uint8)
    if lower.kind == "skirt":
        cover = cover_of(skirt_outline(lower), height, width)
        parsing[cover > 0.5] = SKIRT
        return cover, parsing
    right, left = (cover_of(leg_outline(lower, side), height, width) for side in SIDES)
    cover = np.minimum(right + left, 1)
    parsing[cover > 0.5] = LEFT_LEG
    parsing[(cover > 0.5) & (right >= left)] = RIGHT_LEG
    return cover, parsing


def _printed(lower: Lower) -> np.ndarray:
    """Colour, print, pleats and seams of the cloth, on a canvas."""
    draw = numpy_generator(lower.seed, "print")
    shape = (WORLD_SIZE[0] * CANVAS_SCALE, WORLD_SIZE[1] * CANVAS_SCALE)
    unit = lower.unit * CANVAS_SCALE
    canvas = np.empty((*shape, 3), np.uint8)
    canvas[:] = lower.base
    if lower.print in ("text", "logo"):
        paint = paint_text if lower.print == "text" else paint_logo
        place, size = _print_place(lower, float(draw.choice(SIDES)))
        paint(canvas, draw, lower.accents, canvas_points(place), size * unit)
    elif lower.print == "floral":
        paint_floral(canvas, draw, lower.accents, unit)
    elif lower.print in ("stripes", "checks"):
        weave = stripes if lower.print == "stripes" else checks
        canvas = weave(shape, draw, lower.base, lower.accents, unit)(0.0)
    if lower.pleats:
        canvas = _pleated(lower, canvas)
    _sew(lower, canvas)
    return canvas


def _print_place(lower: Lower, side: float) -> tuple[np.ndarray, float]:
    """The middle of text or logo and its size in units: on one thigh of trousers, in the middle of a skirt."""
    if lower.kind == "trousers":
        s = np.array(lower.rise + 0.32 * min(lower.length - lower.rise, 2 * lower.unit))
        return leg_point(lower, int(side), s, np.zeros(())), 0.55
    return np.array((CENTRE, 0.45 * lower.top + 0.55 * lower.hem_y)), 0.9


def _pleated(skirt: Lower, canvas: np.ndarray) -> np.ndarray:
    """Darken the depths of the pleats, which open from the waist to the hem."""
    height, width = canvas.shape[:2]
    y = (np.arange(height, dtype=np.float32) + 0.5) / CANVAS_SCALE - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / CANVAS_SCALE - 0.5
    share = (x - CENTRE) / skirt_half_width(skirt, y)[:, None]
    depth = np.clip((y - skirt.top - BAND_SHARE * skirt.unit) / (0.5 * skirt.unit), 0, 1)[:, None]
    wave = (0.5 - 0.5 * np.cos(np.pi * skirt.pleats * (share + 1))) ** 3
    return np.clip(canvas * (1 - PLEAT_DEPTH * depth * wave)[..., None], 0, 255).astype(np.uint8)


def _sew(lower: Lower, canvas: np.ndarray) -> None:
    """Draw waistband, fly, pockets and hems on the cloth, so that they also show on the worn garment."""
    seam = darker(lower.base, 0.75) if sum(lower.base) > 150 else (84, 84, 86)
    unit, band = lower.unit, lower.top + BAND_SHARE * lower.unit
    wide = 1.3 * lower.hip_share * unit
    for y in (lower.top, band):
        stroke(canvas, canvas_points(np.array(((CENTRE - wide, y), (CENTRE + wide, y)))), seam, 3)
    if lower.kind == "skirt":
        for lift in (4, 7):
            stroke(canvas, canvas_points(skirt_hem(lower) - (0, lift)), seam, 1)
        return
    fly = np.array(((CENTRE, lower.top), (CENTRE, lower.top + lower.rise)))
    stroke(canvas, canvas_points(fly), seam, 3)
    for side in SIDES:
        hip = lower.waist_share * unit
        pocket = np.array(((0.55 * hip, band), (0.98 * hip, band + 0.42 * unit))) * (side, 1) + (CENTRE, 0)
        stroke(canvas, canvas_points(pocket), seam, 2)
        t = np.linspace(-1, 1, 9)
        for lift in (5, 8):
            cuff = leg_point(lower, side, np.full_like(t, lower.length - lift), t)
            stroke(canvas, canvas_points(cuff), seam, 1)
