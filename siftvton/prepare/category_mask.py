"""DressCode's agnostic masks: upper bodies, lower bodies and dresses, drawn from joints and parsing.

They differ from VITON-HD's masks (:mod:`siftvton.prepare.mask`) in what they leave out: hair, hats and scarves stay as
they are. The shapes of the upper body are the same. Source: the published masks of CAT-DM for DressCode.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP
from siftvton.prepare.mask import (
    KEPT,
    SIDES,
    AgnosticMask,
    Body,
    Canvas,
    body_of,
    bones,
    hands,
    paint_arms,
    paint_neck,
    paint_torso,
)

HEAD = ("hat", "hair", "sunglasses", "face", "scarf")
# CIHP's labels that stay as they are. ATR has neither coat nor torso skin; its face reaches down the neck.
KEPT_LABELS = {
    "upper_body": [*KEPT, *(CIHP[name] for name in HEAD)],
    "lower_body": [
        CIHP[name] for name in (*HEAD, "upper_clothes", "coat", "glove", "torso_skin", "left_arm", "right_arm")
    ],
    "dresses": [CIHP[name] for name in HEAD],
}
LOWER_GARMENTS = [CIHP[name] for name in ("skirt", "trousers", "dress")]
# Usual distances of an upright person, used if a photo of a lower body ends below the shoulders.
BREADTH_OF_HIPS = 1.6  # the distance between the shoulders over that between the hips
TORSO_OF_BREADTH = 1.5  # the height from the hips to the shoulders over the distance between the shoulders
NO_LEGS = "use a photo that shows one person upright, from the hips to the feet, or give a mask of your own"


def category_mask(
    category: str, joints: Joints, parsing: np.ndarray, size: tuple[int, int], bag: np.ndarray | None = None
) -> AgnosticMask:
    """Draw DressCode's agnostic mask of a category.

    Args:
        category: ``upper_body``, ``lower_body`` or ``dresses``.
        joints: the person's joints in pixels of the photo.
        parsing: (height, width) uint8 labels in CIHP's numbers.
        size: (height, width) of the photo.
        bag: (height, width) bool, true on a bag, for which CIHP has no label; the mask of a lower body leaves it out.
            None: not known.

    Raises:
        InputError: no mask can be drawn from these joints. The message does not name the photo.
    """
    assert parsing.shape == size, f"the parsing has shape {parsing.shape}, its photo {size}"
    lower = category == "lower_body"
    estimated = lower and not joints.has("right_shoulder", "left_shoulder")
    body = body_of(with_shoulders(joints) if estimated else joints, size)
    canvas = Canvas(size)
    if not lower:
        paint_torso(canvas, body)
        paint_neck(canvas, body)
        paint_arms(canvas, body)
    if category != "upper_body":
        paint_legs(canvas, body)
    if lower:
        paint_garment_box(canvas, parsing)
    painted = canvas.painted() & ~np.isin(parsing, KEPT_LABELS[category])
    if not lower:
        painted &= ~hands(body, parsing)
    if category != "upper_body":
        painted &= ~shoes(body, parsing)
    if lower and bag is not None:
        painted &= ~bag
    if not painted.any():
        raise InputError(f"the mask is empty: the body is outside the photo, or where no person is; {NO_LEGS}")
    return AgnosticMask(painted.astype(np.uint8) * 255, tuple(_remarks(category, body, estimated)))


def with_shoulders(joints: Joints) -> Joints:
    """Return the joints with shoulders at their usual place above the hips; their distance gives all widths.

    Raises:
        InputError: a hip is missing.
    """
    if missing := [side for side in SIDES if not joints.has(f"{side}_hip")]:
        raise InputError(f"{' and '.join(missing)} hip not found; {NO_LEGS}")
    right, left = joints["right_hip"], joints["left_hip"]
    middle, half = (right + left) / 2, BREADTH_OF_HIPS * (left - right) / 2
    middle[1] -= TORSO_OF_BREADTH * 2 * np.linalg.norm(half)
    shoulders = {"right_shoulder": tuple(middle - half), "left_shoulder": tuple(middle + half)}
    return Joints({**joints.points, **shoulders})


def paint_legs(canvas: Canvas, body: Body) -> None:
    """Paint the hips, and each leg as far as its joints were found."""
    joints, r = body.joints, body.r
    canvas.line(joints["right_hip"], joints["left_hip"], 12 * r)
    for side in SIDES:
        canvas.ellipse(joints[f"{side}_hip"], 10 * r, 6 * r)
        for before, joint in bones(joints, f"{side}_hip", f"{side}_knee", f"{side}_ankle"):
            canvas.line(joints[before], joints[joint], 20 * r)
            canvas.ellipse(joints[joint], 10 * r, 6 * r)


def paint_garment_box(canvas: Canvas, parsing: np.ndarray) -> None:
    """Paint the box around what the parsing calls a skirt, trousers or a dress; nothing if there is none."""
    rows, columns = np.nonzero(np.isin(parsing, LOWER_GARMENTS))
    if len(rows):
        canvas.rectangle(columns.min(), rows.min(), columns.max(), rows.max())


def shoes(body: Body, parsing: np.ndarray) -> np.ndarray:
    """Return the shoes, (height, width) bool: what the parsing calls a shoe, outside the shape of that leg."""
    found = np.zeros(body.size, bool)
    for side in SIDES:
        found |= (parsing == CIHP[f"{side}_shoe"]) & ~leg(body, side)
    return found


def leg(body: Body, side: str) -> np.ndarray:
    """Return the shape of a leg down to the ankle, (height, width) bool; narrower than the painted leg."""
    joints, r = body.joints, body.r
    canvas = Canvas(body.size)
    last = f"{side}_hip"
    canvas.ellipse(joints[last], 10 * r, 6 * r)
    for before, joint in bones(joints, last, f"{side}_knee", f"{side}_ankle"):
        canvas.line(joints[before], joints[joint], 10 * r)
        if joint == f"{side}_knee":
            canvas.ellipse(joints[joint], 10 * r, 6 * r)
        last = joint
    canvas.ellipse(joints[last], 4 * r, 4 * r)
    return canvas.painted()


def _remarks(category: str, body: Body, estimated: bool) -> Iterator[str]:
    if estimated:
        yield "the shoulders were not found, so the mask's widths follow from the distance between the hips"
    limbs = {"upper_body": ("arm",), "lower_body": ("leg",), "dresses": ("arm", "leg")}[category]
    for limb in limbs:
        middle, end = {"arm": ("elbow", "wrist"), "leg": ("knee", "ankle")}[limb]
        for side in SIDES:
            if not body.joints.has(f"{side}_{middle}"):
                yield f"the {side} {middle} was not found, so the mask leaves out the {side} {limb}"
            elif not body.joints.has(f"{side}_{end}"):
                yield f"the {side} {end} was not found, so the mask of the {side} {limb} ends at the {middle}"
