"""How a garment is worn: the exact map from pixels of the photo to pixels of the flat garment.

A pixel of the photo has coordinates on the torso or the arm; the point of the flat part with the same coordinates is
its place on the garment. Folds move the cloth by a smooth field that is zero at the seams. The outline of the worn
garment is the flat outline, seen through the map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.body import ARMHOLE_SHARE, LONGEST_SHARE, Torso
from siftvton.toy.world.garments import CENTRE, Garment, half_width, sleeve_point
from siftvton.toy.world.lower import Lower
from siftvton.toy.world.persons import Person
from siftvton.toy.world.tube import Tube

FOLDS = 34  # number of folds on a person


@dataclass(frozen=True)
class WornPart:
    """One part of a worn garment, at some pixels of the photo.

    Attributes:
        garment_points: (..., 2) float32, the place on the flat garment that each pixel shows, world pixels.
        inside: (...) float32, 0..1, whether the pixel is within the part's width on the body.
        shade: (...) float32, factor on the cloth's colour.
    """

    garment_points: np.ndarray
    inside: np.ndarray
    shade: np.ndarray


Folds = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def folds_of(
    person: Person, garment: Garment | Lower, heights: tuple[float, float] = (-0.1, 2.9), scale: float = 1.0
) -> Folds:
    """Draw the folds of this garment on this person.

    Args:
        person, garment: who wears what.
        heights: the distances below the neck between which the folds are, in half shoulder widths.
        scale: factor on the width of a fold.

    Returns:
        A function of world points (..., 2). It returns how far the cloth is moved there, (..., 2) px, and the slope
        of the folds towards the light, (...), about -1..1.
    """
    draw = numpy_generator(person.seed, garment.seed, "folds")
    unit = person.shoulder
    centres = np.array(person.neck) + draw.uniform((-1.3, heights[0]), (1.3, heights[1]), (FOLDS, 2)) * unit
    lengths = scale * draw.uniform(12, 40, FOLDS)
    angles = np.radians(draw.normal(90, 45, FOLDS))  # direction across a ridge; most ridges run across the body
    heights = draw.uniform(0.4, 1.0, FOLDS) * draw.choice((-1, 1), FOLDS)
    reaches = draw.uniform(0.25, 0.6, FOLDS) * unit

    def folds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = np.zeros(points.shape, np.float32)
        slope = np.zeros(points.shape[:-1], np.float32)
        for centre, length, angle, height, reach in zip(centres, lengths, angles, heights, reaches, strict=True):
            x, y = points[..., 0] - np.float32(centre[0]), points[..., 1] - np.float32(centre[1])
            right, down = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            across, along = right * x + down * y, right * y - down * x
            # The cross-section of a ridge is a bell h, and the cloth moves in proportion to its slope h'. On a wider
            # ridge h' changes more slowly, so the cloth may move further without folding over itself.
            across /= np.float32(0.45 * length)
            bell = np.float32(height) * np.exp(-0.5 * (across**2 + (along / np.float32(reach)) ** 2))
            rise = bell * across
            step = np.float32(person.folds * length / (30 * scale))
            moved[..., 0] += step * right * rise
            moved[..., 1] += step * down * rise
            slope += rise * np.float32(right + 2 * down) / 1.4
        return moved, slope

    return folds


def worn_torso(person: Person, torso: Torso, garment: Garment, folds: Folds, points: np.ndarray) -> WornPart:
    """The worn torso part at world points (..., 2)."""
    along, across = torso.coordinates(points)
    width = _worn_half_width(torso, garment, along)
    u = across / width
    edge = np.minimum(np.abs(u), 1)
    yaw = person.yaw * np.clip(along / torso.armhole, 0, 1)  # the neck is not turned
    turned = round_the_body(u) + yaw * (1 - edge**2)
    y = np.interp(along, *_heights(torso, garment))
    # The slope of the shoulders on the body differs from that on the flat garment; this fades out at the armpits.
    scale = torso.unit / garment.shoulder
    fade = np.clip((torso.armhole - along) / (torso.armhole - torso.drop), 0, 1)
    slope_share = np.clip((edge - garment.neck_share) / (1 - garment.neck_share), 0, 1)
    y += slope_share * fade * (garment.drop_share * garment.shoulder - torso.drop / scale)
    x = CENTRE + turned * half_width(garment, y)
    moved, slope = folds(points)
    # The cloth does not move at the shoulders, from which it hangs, and not at its sides, which are its outline.
    moved *= (np.clip(along / (0.5 * torso.unit), 0, 1) * (1 - edge**4) / scale)[..., None]
    light = (
        person.light * (0.14 * person.light_side * np.clip(u, -1, 1) - 0.2 * edge**4) + 0.16 * person.wrinkles * slope
    )
    garment_points = np.stack((x, y), -1).astype(np.float32) + moved
    inside = np.clip((1 - np.abs(u)) * width + 0.5, 0, 1)
    if person.tucked and not garment.is_dress:
        inside *= along < torso.waist + 4
    return WornPart(garment_points, inside.astype(np.float32), (1 + light).astype(np.float32))


def round_the_body(u: np.ndarray) -> np.ndarray:
    """Convert a share of the visible width to a share of the flat width; cloth at the sides is seen at a slant."""
    slant = np.arcsin(0.97 * np.clip(np.abs(u), 0, 1)) / np.arcsin(0.97)
    return np.sign(u) * (0.65 * np.abs(u) + 0.35 * np.where(np.abs(u) < 1, slant, np.abs(u)))


def _heights(torso: Torso, garment: Garment) -> tuple[np.ndarray, np.ndarray]:
    """Distances along the body's axis, and the heights on the flat garment that correspond to them."""
    scale = torso.unit / garment.shoulder
    armhole = ARMHOLE_SHARE * torso.unit
    longest = garment.length_share if garment.is_dress else LONGEST_SHARE - max(garment.hem_curve, 0) / garment.shoulder
    hem = min(garment.length_share, longest) * torso.unit
    stretch = (garment.hem_y - garment.armpit_y) / (hem - armhole)
    along = np.array((-100, 0, armhole, hem, hem + 100))
    y = (garment.top - 100 / scale, garment.top, garment.armpit_y, garment.hem_y, garment.hem_y + 100 * stretch)
    return along, np.array(y)


def _worn_half_width(torso: Torso, garment: Garment, along: np.ndarray) -> np.ndarray:
    """Half the width of the worn torso: that of the cloth, but never inside the body and never far outside it."""
    grid = (np.linspace(-0.5, 6.5, 141) if garment.is_dress else np.linspace(-0.5, 3.6, 83)) * torso.unit
    body = torso.half_width(grid)
    cloth = (
        garment.ease * torso.unit / garment.shoulder * half_width(garment, np.interp(grid, *_heights(torso, garment)))
    )
    below_armpit = np.clip((grid - torso.drop) / (torso.armhole - torso.drop), 0, 1)
    loosest = loosest_half_width(torso, grid)
    if garment.is_dress:
        loosest = loosest + np.clip(grid - torso.waist, 0, None)
    worn = np.clip(cloth, body + 1.5, loosest)
    return np.interp(along, grid, (1 - below_armpit) * torso.unit + below_armpit * worn)


def loosest_half_width(torso: Torso, along: np.ndarray) -> np.ndarray:
    """Half the width of the widest worn torso, px."""
    return torso.half_width(along) * 1.16 + 3


def worn_sleeve(
    person: Person, arm: Tube, side: int, garment: Garment, folds: Folds, points: np.ndarray,
    along: np.ndarray, across: np.ndarray,
) -> WornPart:  # fmt: skip
    """A worn sleeve at world points (..., 2); ``along`` and ``across`` are their coordinates on the arm, px."""
    scale = garment.sleeve_reach * arm.length / garment.sleeve_length
    s = along / scale
    bare = np.interp(along, arm.lengths, arm.radii)
    flat = np.interp(s, *_flat_sleeve_widths(garment, side))
    cloth = 0.4 * (1 + garment.ease) * scale * flat
    loosest = loosest_sleeve(arm, along)
    width = np.clip(cloth, np.minimum(bare + 1.5, loosest), loosest)
    t = across / width
    edge = np.minimum(np.abs(t), 1)
    moved, slope = folds(points)
    calm = (1 - edge**4) * np.clip(s / 20, 0, 1) * np.clip((garment.sleeve_length - s) / 20, 0, 1)
    tangent, normal = _directions(arm, along)
    shift = moved * calm[..., None]
    s_moved = np.abs(s) + (shift * tangent).sum(-1) / scale  # before the seam (s < 0), the cloth is mirrored
    t_moved = np.clip(t, -1.2, 1.2) + (shift * normal).sum(-1) / width
    garment_points = sleeve_point(garment, side, s_moved, t_moved)
    light = (
        person.light * (-0.1 * side * person.light_side * np.clip(t, -1, 1) - 0.26 * edge**3)
        + 0.16 * person.wrinkles * slope
    )
    inside = np.clip((1 - np.abs(t)) * width + 0.5, 0, 1) * seam_cover(along, t)
    inside *= np.clip(garment.sleeve_length - s_moved + 0.5, 0, 1)
    return WornPart(garment_points.astype(np.float32), inside.astype(np.float32), (1 + light).astype(np.float32))


def seam_cover(along: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(...) 0..1, how far the arm or sleeve covers the torso near the seam.

    It overlaps the torso a little, and more on the shoulder, where the arm's curve turns away from the seam. Without
    the overlap, the wall would show between them.
    """
    return np.clip(along + 3.5 + 8 * np.clip(-t, 0, 1), 0, 1)


def loosest_sleeve(arm: Tube, along: np.ndarray) -> np.ndarray:
    """Half the width of the widest sleeve, px; at the armhole, every sleeve is tight."""
    bare = np.interp(along, arm.lengths, arm.radii)
    return bare + 1 + np.clip(along / (0.25 * arm.length), 0, 1) * (0.35 * bare + 4)


def _flat_sleeve_widths(garment: Garment, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances along the flat sleeve, and its half widths there, px."""
    s = np.linspace(0, garment.sleeve_length, 24)
    edges = [sleeve_point(garment, side, s, np.full_like(s, t)) for t in (-1.0, 1.0)]
    return s, np.linalg.norm(edges[1] - edges[0], axis=-1) / 2


def _directions(arm: Tube, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., 2) unit vectors along and across the arm at distances along it."""
    inside = np.clip(along, 0, arm.length)
    columns = [np.interp(inside, arm.lengths, c).astype(np.float32) for c in (*arm.tangents.T, *arm.normals.T)]
    return np.stack(columns[:2], -1), np.stack(columns[2:], -1)
