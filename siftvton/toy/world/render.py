"""Render one person wearing one garment: the photo, and every other picture that training and evaluation need."""

from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.correspondence.regions import PART_COLOURS
from siftvton.draws import numpy_generator
from siftvton.prepare.mask import agnostic_picture
from siftvton.toy.world import figure
from siftvton.toy.world.body import LONGEST_SHARE, Body, Torso, body_of
from siftvton.toy.world.flat import FlatGarment, render_garment
from siftvton.toy.world.frame import SIDES, WORLD_SIZE, to_pixels
from siftvton.toy.world.garments import Garment
from siftvton.toy.world.persons import Person
from siftvton.toy.world.prints import SHIFT, ellipse
from siftvton.toy.world.scene import FACE, HAIR, UPPER_CLOTHES, Scene, Window
from siftvton.toy.world.wear import (
    Folds,
    WornPart,
    folds_of,
    loosest_half_width,
    loosest_sleeve,
    seam_cover,
    worn_sleeve,
    worn_torso,
)

MASK_MARGIN = 9.0  # world pixels by which the agnostic mask is larger than the loosest garment


@dataclass(frozen=True)
class Rendering:
    """A photo and its side pictures, all in one size; masks are bool, pictures are RGB uint8.

    Attributes:
        photo: (height, width, 3).
        densepose_labels: (height, width) uint8, 0..24, parts of the body, also under clothes and hair.
        densepose: (height, width, 3), the labels in DensePose's colours on black.
        agnostic: (height, width, 3), the photo with mid-grey where the mask is true.
        agnostic_mask: (height, width), true where the network paints; it does not depend on the garment.
        parsing: (height, width) uint8, what is visible in CIHP's numbers: 2 hair, 5 garment, 9 trousers, 10 neck and
            bare torso, 13 face, 14 left arm, 15 right arm, 0 background.
        worn_mask: (height, width), true where the garment is visible.
        garment: (height, width, 3), the flat garment on white.
        garment_mask: (height, width), true on the flat garment.
        garment_parsing: (height, width) uint8, 5 torso, 21 left sleeve, 22 right sleeve.
        person_to_garment: (height, width, 2) float32, the pixel (x, y) of the flat garment that a pixel of the photo
            shows; NaN where no garment is visible.
    """

    photo: np.ndarray
    densepose_labels: np.ndarray
    densepose: np.ndarray
    agnostic: np.ndarray
    agnostic_mask: np.ndarray
    parsing: np.ndarray
    worn_mask: np.ndarray
    garment: np.ndarray
    garment_mask: np.ndarray
    garment_parsing: np.ndarray
    person_to_garment: np.ndarray


def render(person: Person, garment: Garment, height: int = 512, width: int = 384) -> Rendering:
    """Render the person wearing the garment; the same arguments always give the same pixels."""
    flat = render_garment(garment, height, width)
    body = body_of(person)
    scene = Scene(height, width)
    _paint(scene, person, body, garment, flat)
    return rendering_of(scene, person, flat, UPPER_CLOTHES, _agnostic_mask(scene, body))


def rendering_of(scene: Scene, person: Person, flat: FlatGarment, label: int, to_paint: np.ndarray) -> Rendering:
    """Make the pictures of a painted scene.

    Args:
        label: the parsing's number of the garment.
        to_paint: (height, width) bool, the agnostic mask.
    """
    height, width = scene.parsing.shape
    photo = photographed(scene.photo, person)
    worn = scene.parsing == label
    scene.garment_points[~worn] = np.nan
    return Rendering(
        photo=photo,
        densepose_labels=scene.densepose,
        densepose=PART_COLOURS[scene.densepose],
        agnostic=agnostic_picture(photo, to_paint),
        agnostic_mask=to_paint,
        parsing=scene.parsing,
        worn_mask=worn,
        garment=flat.picture,
        garment_mask=flat.mask,
        garment_parsing=flat.parsing,
        person_to_garment=to_pixels(scene.garment_points, height, width).astype(np.float32),
    )


def _paint(scene: Scene, person: Person, body: Body, garment: Garment, flat: FlatGarment) -> None:
    """Paint everything from back to front: first the wall, last the hair in front."""
    folds = folds_of(person, garment)
    figure.paint_background(scene, person)
    figure.paint_hair_behind(scene, person, body)
    figure.label_legs_and_torso(scene, body.torso)
    figure.paint_torso_and_neck(scene, person, body)
    if not person.tucked:
        figure.paint_trousers(scene, person, body.torso)
    paint_worn_torso(scene, person, body.torso, garment, flat, folds)
    if person.tucked:
        figure.paint_trousers(scene, person, body.torso)
    paint_arms_and_head(scene, person, body, garment, flat, folds)


def paint_arms_and_head(
    scene: Scene, person: Person, body: Body, garment: Garment, flat: FlatGarment, folds: Folds,
    label: int = UPPER_CLOTHES,
) -> None:  # fmt: skip
    """Paint arms with sleeves, hands, head, and the hair in front; ``label`` is the sleeves' label."""
    for index in (0, 1) if person.left_arm_last else (1, 0):
        _paint_arm(scene, person, body, garment, flat, folds, index, label)
        figure.paint_hand(scene, person, body.arms[index], body.torso.unit, index)
    figure.paint_head(scene, person, body)
    figure.paint_hair_in_front(scene, person, body)


def paint_worn_torso(
    scene: Scene, person: Person, torso: Torso, garment: Garment, flat: FlatGarment, folds: Folds,
    label: int = UPPER_CLOTHES,
) -> None:  # fmt: skip
    """Paint a top without its sleeves, or a dress; ``label`` is its label in the photo's parsing."""
    longest = max(LONGEST_SHARE, garment.length_share + 0.2) if garment.is_dress else LONGEST_SHARE
    heights = np.linspace(-0.4, longest, 30) * torso.unit
    reach = loosest_half_width(torso, heights)
    if garment.is_dress:
        reach = reach + np.clip(heights - torso.waist, 0, None)
    window = scene.window(np.concatenate((torso.world(heights, reach), torso.world(heights, -reach))), margin=4)
    part = worn_torso(person, torso, garment, folds, window.points)
    lay(scene, window, part, flat.cloth.torso, flat.cloth.torso_cover, label)


def lay(scene: Scene, window: Window, part: WornPart, cloth: np.ndarray, cover: np.ndarray | None, label: int) -> None:
    """Look up the cloth's colours by the part's map, shade them, and blend them over the picture."""
    x, y = np.moveaxis(to_pixels(part.garment_points, *scene.size).astype(np.float32), 2, 0)
    covered = part.inside if cover is None else part.inside * cv2.remap(cover, x, y, cv2.INTER_LINEAR)
    colour = cv2.remap(cloth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    scene.blend(window, colour * part.shade[..., None], covered, label)
    shown = covered > 0.5
    scene.garment_points[window.rows, window.columns][shown] = part.garment_points[shown]


def _paint_arm(
    scene: Scene, person: Person, body: Body, garment: Garment, flat: FlatGarment, folds: Folds, index: int, label: int
) -> None:
    arm, side = body.arms[index], SIDES[index]
    window = scene.window(arm.centres, margin=float(arm.radii.max()) + 14)
    along, across = arm.coordinates(window.points)
    radius = np.interp(along, arm.lengths, arm.radii).astype(np.float32)
    within = seam_cover(along, across / radius) * np.clip(arm.length + 0.5 - along, 0, 1)
    beside = np.clip((np.abs(across) - radius) / (0.09 * body.torso.unit), 0, None)
    on_body = scene.parsing[window.rows, window.columns] > 0  # an arm casts no shadow on the wall
    shadow = on_body * np.clip(along / 12, 0, 1) * np.clip((arm.length - along) / 12, 0, 1) * np.exp(-(beside**2))
    scene.shade(window, 1 - 0.25 * person.light * shadow)
    t = np.clip(across / radius, -1, 1)
    light = 1 + person.light * (0.05 - 0.22 * np.abs(t) ** 3 - 0.1 * side * person.light_side * t)
    skin = np.array(person.skin, np.float32) * light[..., None]
    bare = within * np.clip(radius - np.abs(across) + 0.5, 0, 1)
    scene.blend(window, skin, bare, figure.ARM_LABELS[index])
    parts = np.where(along < body.elbows[index], *figure.arm_parts(index, across > 0.1 * radius))
    scene.densepose[window.rows, window.columns][bare > 0.5] = parts[bare > 0.5]
    if flat.cloth.sleeve_covers:
        sleeve = worn_sleeve(person, arm, side, garment, folds, window.points, along, across)
        lay(scene, window, sleeve, flat.cloth.sleeves, None, label)


def _agnostic_mask(scene: Scene, body: Body) -> np.ndarray:
    """The area to paint: larger than any garment, without the head, the hair and the hands."""
    to_paint = np.zeros(scene.size, np.uint8)
    torso, unit = body.torso, body.torso.unit
    chest = np.linspace(torso.drop - 4, LONGEST_SHARE * unit + MASK_MARGIN, 24)
    along = np.concatenate(((-0.5 * unit, -0.12 * unit), chest))
    reach = np.concatenate(((0.52 * unit, 0.6 * unit), loosest_half_width(torso, chest) + MASK_MARGIN))
    _mark(to_paint, np.concatenate((torso.world(along, reach), torso.world(along, -reach)[::-1])))
    for arm in body.arms:  # disc by disc, because the outline of a bent arm crosses itself
        for centre, radius in zip(arm.centres, loosest_sleeve(arm, arm.lengths) + MASK_MARGIN, strict=True):
            _mark(to_paint, ellipse(centre, (radius, radius)))
    hand_seen = np.isin(scene.parsing, figure.ARM_LABELS)
    hands = [(scene.densepose == part) & hand_seen for part in figure.HANDS]
    to_paint[hands[0] | hands[1]] = 0
    for arm, other_hand in zip(body.arms, hands[::-1], strict=True):
        cuff = np.zeros(scene.size, np.uint8)
        ends = np.array((arm.length - 8, arm.length + 5))
        centre, normal, _ = arm.at(ends)
        across = (loosest_sleeve(arm, ends) + MASK_MARGIN)[:, None] * normal
        _mark(cuff, np.concatenate((centre - across, (centre + across)[::-1])))
        to_paint |= cuff * ~other_hand
    return (to_paint > 0) & ~np.isin(scene.parsing, (HAIR, FACE))


def _mark(mask: np.ndarray, points: np.ndarray) -> None:
    fixed = np.round(to_pixels(points, *mask.shape[:2]) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, cv2.LINE_8, SHIFT)


def photographed(photo: np.ndarray, person: Person) -> np.ndarray:
    """Apply light and camera: colour cast, blur, sensor noise."""
    height, width = photo.shape[:2]
    side = 1 + 0.06 * person.light * person.light_side * np.linspace(-1, 1, width, dtype=np.float32)
    seen = photo * (side[:, None] * np.array(person.cast, np.float32))
    if person.blur:
        seen = cv2.GaussianBlur(seen, (0, 0), person.blur * height / WORLD_SIZE[0])
    if person.noise:
        draw = numpy_generator(person.seed, "noise")
        level = person.noise * min(1, height / WORLD_SIZE[0])  # a photo made smaller has less noise
        seen += level * draw.standard_normal(photo.shape, dtype=np.float32)
    return np.clip(seen + 0.5, 0, 255).astype(np.uint8)
