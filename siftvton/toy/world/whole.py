"""Render a person from the head to the feet, in an outfit of one of DressCode's categories."""

import cv2
import numpy as np

from siftvton.prepare.category_mask import category_mask
from siftvton.prepare.labels import ATR, CIHP, to_cihp
from siftvton.toy.world import figure
from siftvton.toy.world.body import Torso, body_of
from siftvton.toy.world.flat import FlatGarment
from siftvton.toy.world.frame import SIDES, WORLD_SIZE
from siftvton.toy.world.garments import Garment
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.legs import legs_of, over_the_legs, paint_bare_legs, rise_of
from siftvton.toy.world.lower import Lower
from siftvton.toy.world.outfits import Outfit, flat_picture
from siftvton.toy.world.persons import Person
from siftvton.toy.world.render import Rendering, lay, paint_arms_and_head, paint_worn_torso, rendering_of
from siftvton.toy.world.scene import DRESS, SKIRT, TROUSERS, UPPER_CLOTHES, Scene
from siftvton.toy.world.tube import Tube
from siftvton.toy.world.wear import folds_of
from siftvton.toy.world.wear_lower import worn_leg, worn_skirt

USUAL_SHOULDER = 92.0  # world pixels in a photo from the head to the hips, for which the folds' widths are given
FOLDED = (-0.1, 2.9)  # distances below the neck of a top's folds, in half shoulder widths
# The ATR label of each of CIHP's numbers. ATR has no torso skin: its face reaches down the neck.
ATR_OF = np.array([ATR.get(name, ATR["face"]) for name in CIHP], np.uint8)


def render_whole(person: Person, outfit: Outfit, height: int = 512, width: int = 384) -> Rendering:
    """Render the person in the outfit; the same arguments always give the same pixels.

    The parsing also has skirt, dress, legs and shoes. The agnostic mask follows the rules of ``scripts/prepare.py``
    for the outfit's category.
    """
    flat = flat_picture(outfit.garment, height, width)
    scene = Scene(height, width)
    _paint(scene, person, outfit, flat)
    to_paint = _agnostic_mask(person, outfit.category, scene.parsing)
    return rendering_of(scene, person, flat, label_of(outfit.garment), to_paint)


def label_of(garment: Garment | Lower) -> int:
    """The label, in CIHP's numbers, of a worn garment."""
    if isinstance(garment, Lower):
        return SKIRT if garment.kind == "skirt" else TROUSERS
    return DRESS if garment.is_dress else UPPER_CLOTHES


def _paint(scene: Scene, person: Person, outfit: Outfit, flat: FlatGarment) -> None:
    """Paint everything from back to front: first the wall, last the hair in front."""
    body = body_of(person)
    torso, legs = body.torso, legs_of(person, body.torso)
    hanging = over_the_legs(torso, legs)
    figure.paint_background(scene, person)
    figure.paint_hair_behind(scene, person, body)
    paint_bare_legs(scene, person, torso, legs)
    scene.label_body(figure.torso_outline(torso), figure.TORSO)
    figure.paint_torso_and_neck(scene, person, body)
    shown = {outfit.garment: flat}
    if outfit.companion is not None:
        shown[outfit.companion] = flat_picture(outfit.companion, *scene.size)
    (top,) = (garment for garment in shown if isinstance(garment, Garment))
    lowers = [garment for garment in shown if isinstance(garment, Lower)]
    heights = (FOLDED[0], top.length_share) if top.is_dress else FOLDED
    folds = folds_of(person, top, heights, person.shoulder / USUAL_SHOULDER)
    order: list[Garment | Lower] = [top, *lowers] if person.tucked else [*lowers, top]
    for garment in order:
        if isinstance(garment, Lower):
            _paint_lower(scene, person, hanging, legs, garment, shown[garment])
        else:
            on = hanging if top.is_dress else torso
            paint_worn_torso(scene, person, on, top, shown[top], folds, label_of(top))
    paint_arms_and_head(scene, person, body, top, shown[top], folds, label_of(top))


def _paint_lower(
    scene: Scene, person: Person, torso: Torso, legs: tuple[Tube, Tube], lower: Lower, flat: FlatGarment
) -> None:
    """Paint worn trousers or a worn skirt; the torso's outline contains the legs."""
    waist = torso.waist / torso.unit
    folds = folds_of(person, lower, (waist, waist + lower.length_share), person.shoulder / USUAL_SHOULDER)
    if lower.kind == "skirt":
        heights = torso.waist + np.linspace(-0.05, 1.1, 20) * lower.length_share * torso.unit
        reach = torso.half_width(heights) + lower.hem_share * torso.unit
        window = scene.window(np.concatenate((torso.world(heights, reach), torso.world(heights, -reach))))
        part = worn_skirt(person, torso, lower, folds, window.points)
        lay(scene, window, part, flat.cloth.torso, flat.cloth.torso_cover, SKIRT)
        return
    for index in (0, 1) if person.left_arm_last else (1, 0):
        leg = legs[index]
        window = scene.window(leg.centres, margin=2 * float(leg.radii.max()))
        along, across = leg.coordinates(window.points)
        part = worn_leg(person, leg, SIDES[index], rise_of(torso), lower, folds, window.points, along, across)
        lay(scene, window, part, flat.cloth.torso, None, TROUSERS)


def _agnostic_mask(person: Person, category: str, parsing: np.ndarray) -> np.ndarray:
    """The mask of a category, (height, width) bool, drawn from joints and ATR's labels.

    The rules need a photo of 512 × 384 or more; for a smaller one, the mask is drawn in that size and made smaller.
    """
    height, width = parsing.shape
    size = (max(height, WORLD_SIZE[0]), max(width, WORLD_SIZE[1]))
    labels = cv2.resize(ATR_OF[parsing], size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    mask = category_mask(category, joints_of(person, size), to_cihp(labels, "atr"), size).mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
