"""How trousers and skirts are worn: the exact map, as :mod:`siftvton.toy.world.wear` has it for tops."""

import numpy as np

from siftvton.toy.world.body import Torso
from siftvton.toy.world.garments import CENTRE
from siftvton.toy.world.lower import LEG_SHARE, Lower, leg_half_width, leg_point, skirt_half_width
from siftvton.toy.world.persons import Person
from siftvton.toy.world.tube import Tube
from siftvton.toy.world.wear import Folds, WornPart, round_the_body

SEAM = 1.5  # px by which one leg of trousers covers the other at the hips, so that no gap shows


def worn_skirt(person: Person, torso: Torso, skirt: Lower, folds: Folds, points: np.ndarray) -> WornPart:
    """A worn skirt at world points (..., 2); the torso's outline contains the legs."""
    along, across = torso.coordinates(points)
    scale = torso.unit / skirt.unit
    y = skirt.top + (along - torso.waist) / scale
    width = _worn_skirt_width(torso, skirt, along)
    u = across / width
    edge = np.minimum(np.abs(u), 1)
    turned = round_the_body(u) + person.yaw * (1 - edge**2)
    moved, slope = folds(points)
    # The cloth does not move at the waist, from which it hangs, and not at its sides, which are its outline.
    moved *= (np.clip((along - torso.waist) / (0.5 * torso.unit), 0, 1) * (1 - edge**4) / scale)[..., None]
    garment_points = np.stack((CENTRE + turned * skirt_half_width(skirt, y), y), -1).astype(np.float32) + moved
    light = _light(person, person.light_side * np.clip(u, -1, 1), edge**4, slope)
    inside = np.clip((1 - np.abs(u)) * width + 0.5, 0, 1)
    return WornPart(garment_points, inside.astype(np.float32), light)


def _worn_skirt_width(torso: Torso, skirt: Lower, along: np.ndarray) -> np.ndarray:
    """Half the width of the worn skirt: most of the cloth's, but never inside the body and the legs."""
    grid = np.linspace(torso.waist - 4, torso.waist + 1.02 * skirt.length_share * torso.unit, 80)
    scale = torso.unit / skirt.unit
    cloth = 0.92 * scale * skirt_half_width(skirt, skirt.top + (grid - torso.waist) / scale)
    return np.interp(along, grid, np.maximum(cloth, torso.half_width(grid) + 1.5))


def worn_leg(
    person: Person, leg: Tube, side: int, rise: float, trousers: Lower, folds: Folds, points: np.ndarray,
    along: np.ndarray, across: np.ndarray,
) -> WornPart:  # fmt: skip
    """A worn leg of trousers, with its half of the hips, at world points (..., 2).

    Args:
        rise: distance along the leg from the waist to the crotch, px.
        along, across: the points' coordinates on the leg, px.
    """
    end = trousers.length_share / LEG_SHARE * leg.length
    s = np.interp(along, (0, rise, end), (0, trousers.rise, trousers.length))
    scale = (end - rise) / (trousers.length - trousers.rise)
    s = np.where(along < 0, along / scale, np.where(along > end, trousers.length + (along - end) / scale, s))
    bare = np.interp(along, leg.lengths, leg.radii)
    loose = np.clip(0.9 * scale * leg_half_width(trousers, s) - bare, 1.5, 0.7 * bare + 4)
    width = bare + 1.5 + (loose - 1.5) * np.clip((along - rise) / (0.4 * rise), 0, 1)
    t = across / width
    edge = np.minimum(np.abs(t), 1)
    moved, slope = folds(points)
    calm = (1 - edge**4) * np.clip(along / 20, 0, 1) * np.clip((end - along) / 20, 0, 1)
    _, normal, _ = leg.at(along)
    tangent = np.stack((side * normal[..., 1], -side * normal[..., 0]), -1)
    shift = moved * calm[..., None]
    s_moved = s + (shift * tangent).sum(-1) / scale
    t_moved = np.clip(t, -1.2, 1.2) + (shift * normal).sum(-1) / width
    light = _light(person, -side * person.light_side * np.clip(t, -1, 1), edge**3, slope)
    overlap = np.where((across > 0) & (along < rise), SEAM, 0.5)
    inside = np.clip((1 - np.abs(t)) * width + overlap, 0, 1)
    inside *= np.clip(s_moved + 0.5, 0, 1) * np.clip(trousers.length - s_moved + 0.5, 0, 1)
    return WornPart(leg_point(trousers, side, s_moved, t_moved).astype(np.float32), inside.astype(np.float32), light)


def _light(person: Person, towards: np.ndarray, edge: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Factor on the cloth's colour: brighter towards the light, darker at the edges, with the folds' shadows."""
    light = 1 + person.light * (0.12 * towards - 0.22 * edge) + 0.16 * person.wrinkles * slope
    return light.astype(np.float32)
