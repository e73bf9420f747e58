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
from siftvton.prepare.mask import KEPT, AgnosticMask
from siftvton.prepare.shapes import (
    ARM,
    LEG,
    SIDES,
    Canvas,
    Pose,
    ends,
    left_out,
    paint_limbs,
    paint_neck,
    paint_torso,
    pose_of,
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
LIMBS = {"upper_body": (ARM,), "lower_body": (LEG,), "dresses": (ARM, LEG)}  # those that a category's mask covers
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
    pose = pose_of(with_shoulders(joints) if estimated else joints, size)
    canvas = Canvas(size)
    if lower:
        paint_garment_box(canvas, parsing)
    else:
        paint_torso(canvas, pose)
        paint_neck(canvas, pose)
    for limb in LIMBS[category]:
        paint_limbs(canvas, pose, limb)
    painted = canvas.painted() & ~np.isin(parsing, KEPT_LABELS[category])
    for limb in LIMBS[category]:
        painted &= ~ends(pose, parsing, limb)
    if lower and bag is not None:
        painted &= ~bag
    if not painted.any():
        raise InputError(f"the mask is empty: the body is outside the photo, or where no person is; {NO_LEGS}")
    return AgnosticMask(painted.astype(np.uint8) * 255, tuple(_remarks(category, pose, estimated)))


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


def paint_garment_box(canvas: Canvas, parsing: np.ndarray) -> None:
    """Paint the box around what the parsing calls a skirt, trousers or a dress; nothing if there is none."""
    rows, columns = np.nonzero(np.isin(parsing, LOWER_GARMENTS))
    if len(rows):
        canvas.rectangle(columns.min(), rows.min(), columns.max(), rows.max())


def _remarks(category: str, pose: Pose, estimated: bool) -> Iterator[str]:
    if estimated:
        yield "the shoulders were not found, so the mask's widths follow from the distance between the hips"
    for limb in LIMBS[category]:
        yield from left_out(pose.joints, limb)
