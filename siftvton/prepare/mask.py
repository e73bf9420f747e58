"""The agnostic mask of the upper body: where try-on paints. Drawn from joints and parsing, as VITON-HD's own masks are.

Source: the rules of HR-VITON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.data.layouts.polarity import MID_GREY
from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP, chin_distance, with_neck
from siftvton.prepare.shapes import (
    ARM,
    SIDES,
    WHOLE_PHOTO,
    Canvas,
    Pose,
    ends,
    left_out,
    pose_of,
    torso_corners,
    torso_height,
    upper_body,
)

# Labels that stay as they are. Hair and hats are painted.
KEPT = [
    CIHP[name]
    for name in ("sunglasses", "face", "trousers", "skirt", "left_leg", "right_leg", "left_shoe", "right_shoe")
]
# Ratios that tell how the person stands; a is the distance between the shoulders, h their height above the hips.
LEAST_BREADTH = 0.35  # a over h; usually 0.5 to 0.7; less if the person is seen from the side
LEAST_THIGH = 0.4  # height from knees to hips over h; usually 0.6 to 0.9; less if the person sits


@dataclass(frozen=True, eq=False)
class AgnosticMask:
    """An agnostic mask and what the user should know about it.

    Attributes:
        mask: (height, width) uint8, 255 where try-on paints, else 0.
        remarks: one sentence each, such as which parts could not be taken out.
    """

    mask: np.ndarray
    remarks: tuple[str, ...]


def agnostic_mask(
    joints: Joints, parsing: np.ndarray | None, size: tuple[int, int], person_mask: np.ndarray | None = None
) -> AgnosticMask:
    """Draw the agnostic mask of the upper body.

    Without parsing, the face is left out by an estimate from nose and neck, and the mask is clipped to the person's
    mask, grown by r because such masks are often a little too small. Both are only a substitute: on six persons of
    VITON-HD, the IoU with the reference is 0.75 to 0.85, and 0.61 to 0.76 after clipping.

    Args:
        joints: the person's joints in pixels of the photo.
        parsing: (height, width) uint8 labels in CIHP's numbers; None if there are none.
        size: (height, width) of the photo.
        person_mask: (height, width) uint8, positive on the person; used only without parsing. None: do not clip.

    Raises:
        InputError: no mask can be drawn from these joints. The message does not name the photo.
    """
    for given in (parsing, person_mask):
        assert given is None or given.shape == size, f"a side picture has shape {given.shape}, its photo {size}"
    pose = pose_of(joints, size)
    painted = upper_body(pose)
    if parsing is not None:
        parsing = with_neck(parsing, joints)
        painted &= ~ends(pose, parsing, ARM) & ~np.isin(parsing, KEPT)
    else:
        painted &= ~estimated_face(pose)
        if person_mask is not None:
            painted &= grown(person_mask > 0, pose.r)
    if not painted.any():
        raise InputError(f"the mask is empty: the torso is outside the photo, or where no person is; {WHOLE_PHOTO}")
    return AgnosticMask(painted.astype(np.uint8) * 255, tuple(_remarks(pose, parsing, person_mask)))


def agnostic_picture(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the (height, width, 3) photo, grey where the (height, width) mask is positive."""
    return np.where(mask[:, :, None] > 0, np.uint8(MID_GREY), photo)


def estimated_face(pose: Pose) -> np.ndarray:
    """Return a disc around the nose that reaches to the chin, (height, width) bool; nothing without a nose."""
    canvas = Canvas(pose.size)
    if pose.joints.has("nose"):
        radius = chin_distance(pose.joints)
        canvas.ellipse(pose.joints["nose"], radius, radius)
    return canvas.painted()


def _remarks(pose: Pose, parsing: np.ndarray | None, person_mask: np.ndarray | None) -> Iterator[str]:
    joints = pose.joints
    if parsing is None:
        yield "face and hands could not be taken out exactly, nor the lower garment, since there is no parsing"
        if person_mask is None:
            yield "the mask is not clipped to the person, since there is no mask of the person either"
    elif _mostly_kept(pose, parsing):
        yield "the parsing calls most of the torso face, legs or trousers; if it does not show them, name its scheme"
    yield from left_out(joints, ARM)
    torso = torso_height(joints)
    a = float(np.linalg.norm(joints["left_shoulder"] - joints["right_shoulder"]))
    if a < LEAST_BREADTH * torso:
        yield "the person seems to be seen from the side, so the mask is narrow; front views give better results"
    elif joints["right_shoulder"][0] > joints["left_shoulder"][0]:
        yield "the person seems to be seen from behind; front views give better results"
    knees = [joints[f"{side}_knee"][1] for side in SIDES if joints.has(f"{side}_knee")]
    hips = (joints["right_hip"][1] + joints["left_hip"][1]) / 2
    if knees and max(knees) - hips < LEAST_THIGH * torso:
        yield "the person seems to sit; photos of a standing person give better results"


def _mostly_kept(pose: Pose, parsing: np.ndarray) -> bool:
    """Whether most of the area between shoulders and hips would stay as it is."""
    canvas = Canvas(pose.size)
    canvas.polygon(torso_corners(pose.joints))
    torso = canvas.painted()
    return 2 * np.count_nonzero(torso & np.isin(parsing, KEPT)) > np.count_nonzero(torso)


def grown(mask: np.ndarray, pixels: float) -> np.ndarray:
    """Return a boolean mask with everything that is at most ``pixels`` away from it."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels
