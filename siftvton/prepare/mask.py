"""The agnostic mask of the upper body: where try-on paints. Drawn from joints and parsing, as VITON-HD's own masks are.

The networks were trained on masks of exactly these shapes, so their proportions and their flat line ends matter. All
widths are multiples of r, which follows from the distance a between the shoulders. Source: the rules of HR-VITON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP, chin_distance, with_neck

GREY = 128  # level of the painted region in the agnostic picture
LEAST_R = 3  # pixels; below it the rounding of r changes the shapes by more than a sixth
# Labels that stay as they are. Hair and hats are painted.
KEPT = [
    CIHP[name]
    for name in ("sunglasses", "face", "trousers", "skirt", "left_leg", "right_leg", "left_shoe", "right_shoe")
]
SIDES = ("right", "left")
# Ratios that tell how the person stands; h is the height from hips to shoulders.
LEAST_TORSO = 0.7  # h over a; usually 1.4 to 2; less if the person is cropped at the chest, bends or lies
LEAST_BREADTH = 0.35  # a over h; usually 0.5 to 0.7; less if the person is seen from the side
LEAST_THIGH = 0.4  # height from knees to hips over h; usually 0.6 to 0.9; less if the person sits
WHOLE_PHOTO = "use a photo that shows one person upright, from the head to below the hips, or give a mask of your own"


@dataclass(frozen=True, eq=False)
class AgnosticMask:
    """An agnostic mask and what the user should know about it.

    Attributes:
        mask: (height, width) uint8, 255 where try-on paints, else 0.
        remarks: one sentence each, such as which parts could not be taken out.
    """

    mask: np.ndarray
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Body:
    """What the shapes are drawn from.

    Attributes:
        joints: all joints; the hips are moved along their line until they are as far apart as the shoulders.
        r: the unit of all widths, pixels: ⌊a/16⌋ + 1.
        size: (height, width) of the photo.
    """

    joints: Joints
    r: int
    size: tuple[int, int]


class Canvas:
    """A mask that shapes are painted on. Positions are (x, y) in pixels, lengths are pixels.

    Pillow draws, since its thick lines have flat ends; OpenCV's have round ends.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Make an empty mask of ``size`` (height, width)."""
        self._image = Image.new("L", size[::-1])
        self._draw = ImageDraw.Draw(self._image)

    def painted(self) -> np.ndarray:
        """Return what is painted, (height, width) bool."""
        return np.asarray(self._image) > 0

    def ellipse(self, centre: np.ndarray, half_width: float, half_height: float) -> None:
        x, y = centre
        self._draw.ellipse((x - half_width, y - half_height, x + half_width, y + half_height), 255)

    def line(self, start: np.ndarray, end: np.ndarray, width: int) -> None:
        self._draw.line([*start, *end], 255, width)

    def polygon(self, corners: Sequence[np.ndarray]) -> None:
        self._draw.polygon([tuple(corner) for corner in corners], 255)

    def rectangle(self, left: float, top: float, right: float, bottom: float) -> None:
        self._draw.rectangle((left, top, right, bottom), 255)


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
    body = body_of(joints, size)
    painted = upper_body(body)
    if parsing is not None:
        parsing = with_neck(parsing, joints)
        painted &= ~hands(body, parsing) & ~np.isin(parsing, KEPT)
    else:
        painted &= ~estimated_face(body)
        if person_mask is not None:
            painted &= grown(person_mask > 0, body.r)
    if not painted.any():
        raise InputError(f"the mask is empty: the torso is outside the photo, or where no person is; {WHOLE_PHOTO}")
    return AgnosticMask(painted.astype(np.uint8) * 255, tuple(_remarks(body, parsing, person_mask)))


def agnostic_picture(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the (height, width, 3) photo, grey where the (height, width) mask is positive."""
    return np.where(mask[:, :, None] > 0, np.uint8(GREY), photo)


def body_of(joints: Joints, size: tuple[int, int]) -> Body:
    """Check the joints that every shape needs, find r and move the hips apart.

    Raises:
        InputError: a joint is far outside the photo, a shoulder or a hip is missing, the person is too small, the hips
            are in one place, or the person is cropped at the chest, bends or lies.
    """
    for name, (x, y) in joints.points.items():
        if not (-size[1] <= x <= 2 * size[1] and -size[0] <= y <= 2 * size[0]):
            raise InputError(
                f"the {_words(name)} is at ({x:.6g}, {y:.6g}), far outside the photo of {size[1]}×{size[0]} pixels; "
                "give the joints of this photo, in its pixels"
            )
    needed = [f"{side}_{part}" for part in ("shoulder", "hip") for side in SIDES]
    if missing := [name for name in needed if not joints.has(name)]:
        cropped = ", as in a photo that ends at the chest" if missing == needed[2:] else ""
        raise InputError(f"{', '.join(map(_words, missing))} not found{cropped}; {WHOLE_PHOTO}")

    right, left = joints["right_hip"], joints["left_hip"]
    a = float(np.linalg.norm(joints["left_shoulder"] - joints["right_shoulder"]))
    r = int(a / 16) + 1
    if r < LEAST_R:
        raise InputError(
            f"the shoulders are only {int(a)} pixels apart, and a mask needs {16 * (LEAST_R - 1)}; "
            "use a larger photo of the person, seen from the front"
        )
    apart = float(np.linalg.norm(left - right))
    if apart < r:
        raise InputError(f"both hips are in one place (less than {r} pixels apart); {WHOLE_PHOTO}")
    if _torso_height(joints) < LEAST_TORSO * a:
        raise InputError(
            "the hips are not clearly below the shoulders: the person is cropped at the chest, bends or lies; "
            f"{WHOLE_PHOTO}"
        )
    middle, half = (right + left) / 2, (left - right) / apart * a / 2
    hips = {"right_hip": tuple(middle - half), "left_hip": tuple(middle + half)}
    return Body(Joints({**joints.points, **hips}), r, size)


def upper_body(body: Body) -> np.ndarray:
    """Return the shapes of torso, neck and arms together, (height, width) bool."""
    canvas = Canvas(body.size)
    paint_torso(canvas, body)
    paint_neck(canvas, body)
    paint_arms(canvas, body)
    return canvas.painted()


def paint_torso(canvas: Canvas, body: Body) -> None:
    """Paint the hips, the flanks and the area between shoulders and hips."""
    joints, r = body.joints, body.r
    for side in SIDES:
        canvas.ellipse(joints[f"{side}_hip"], 3 * r, 6 * r)
        canvas.line(joints[f"{side}_shoulder"], joints[f"{side}_hip"], 6 * r)
    canvas.line(joints["right_hip"], joints["left_hip"], 12 * r)
    canvas.polygon(_torso_corners(joints))


def paint_neck(canvas: Canvas, body: Body) -> None:
    """Paint the rectangle above the neck joint."""
    (x, y), r = body.joints["neck"], body.r
    canvas.rectangle(x - 5 * r, y - 9 * r, x + 5 * r, y)


def paint_arms(canvas: Canvas, body: Body) -> None:
    """Paint the shoulders, and each arm as far as its joints were found."""
    joints, r = body.joints, body.r
    canvas.line(joints["right_shoulder"], joints["left_shoulder"], 12 * r)
    for side in SIDES:
        canvas.ellipse(joints[f"{side}_shoulder"], 5 * r, 6 * r)
        for before, joint in bones(joints, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"):
            canvas.line(joints[before], joints[joint], 10 * r)
            canvas.ellipse(joints[joint], 5 * r, 5 * r)


def hands(body: Body, parsing: np.ndarray) -> np.ndarray:
    """Return the hands, (height, width) bool: what the parsing calls an arm, outside the shape of that arm."""
    found = np.zeros(body.size, bool)
    for side in SIDES:
        found |= (parsing == CIHP[f"{side}_arm"]) & ~arm(body, side)
    return found


def arm(body: Body, side: str) -> np.ndarray:
    """Return the shape of an arm down to the wrist, (height, width) bool; narrower at its end than the painted arm."""
    joints, r = body.joints, body.r
    canvas = Canvas(body.size)
    last = f"{side}_shoulder"
    canvas.ellipse(joints[last], 5 * r, 6 * r)
    for before, joint in bones(joints, last, f"{side}_elbow", f"{side}_wrist"):
        canvas.line(joints[before], joints[joint], 10 * r)
        if joint == f"{side}_elbow":
            canvas.ellipse(joints[joint], 5 * r, 5 * r)
        last = joint
    canvas.ellipse(joints[last], 4 * r, 4 * r)
    return canvas.painted()


def bones(joints: Joints, *chain: str) -> Iterator[tuple[str, str]]:
    """Yield each joint of a limb together with the joint before it, if both were found."""
    for before, joint in pairwise(chain):
        if joints.has(before, joint):
            yield before, joint


def estimated_face(body: Body) -> np.ndarray:
    """Return a disc around the nose that reaches to the chin, (height, width) bool; nothing without a nose."""
    canvas = Canvas(body.size)
    if body.joints.has("nose"):
        radius = chin_distance(body.joints)
        canvas.ellipse(body.joints["nose"], radius, radius)
    return canvas.painted()


def _remarks(body: Body, parsing: np.ndarray | None, person_mask: np.ndarray | None) -> Iterator[str]:
    joints = body.joints
    if parsing is None:
        yield "face and hands could not be taken out exactly, nor the lower garment, since there is no parsing"
        if person_mask is None:
            yield "the mask is not clipped to the person, since there is no mask of the person either"
    elif _mostly_kept(body, parsing):
        yield "the parsing calls most of the torso face, legs or trousers; if it does not show them, name its scheme"
    for side in SIDES:
        if not joints.has(f"{side}_elbow"):
            yield f"the {side} elbow was not found, so the mask leaves out the {side} arm"
        elif not joints.has(f"{side}_wrist"):
            yield f"the {side} wrist was not found, so the mask of the {side} arm ends at the elbow"
    torso = _torso_height(joints)
    a = float(np.linalg.norm(joints["left_shoulder"] - joints["right_shoulder"]))
    if a < LEAST_BREADTH * torso:
        yield "the person seems to be seen from the side, so the mask is narrow; front views give better results"
    elif joints["right_shoulder"][0] > joints["left_shoulder"][0]:
        yield "the person seems to be seen from behind; front views give better results"
    knees = [joints[f"{side}_knee"][1] for side in SIDES if joints.has(f"{side}_knee")]
    hips = (joints["right_hip"][1] + joints["left_hip"][1]) / 2
    if knees and max(knees) - hips < LEAST_THIGH * torso:
        yield "the person seems to sit; photos of a standing person give better results"


def _torso_height(joints: Joints) -> float:
    """Return how far the hips are below the shoulders, pixels."""
    right, left = (joints[f"{side}_hip"][1] - joints[f"{side}_shoulder"][1] for side in SIDES)
    return float(right + left) / 2


def _mostly_kept(body: Body, parsing: np.ndarray) -> bool:
    """Whether most of the area between shoulders and hips would stay as it is."""
    canvas = Canvas(body.size)
    canvas.polygon(_torso_corners(body.joints))
    torso = canvas.painted()
    return 2 * np.count_nonzero(torso & np.isin(parsing, KEPT)) > np.count_nonzero(torso)


def _torso_corners(joints: Joints) -> list[np.ndarray]:
    return [joints[name] for name in ("right_shoulder", "left_shoulder", "left_hip", "right_hip")]


def grown(mask: np.ndarray, pixels: float) -> np.ndarray:
    """Return a boolean mask with everything that is at most ``pixels`` away from it."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels


def _words(name: str) -> str:
    return name.replace("_", " ")
