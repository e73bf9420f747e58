"""The shapes that agnostic masks consist of: torso, neck, arms and legs, drawn from a person's joints.

The networks were trained on masks of exactly these shapes, so their proportions and their flat line ends matter. All
widths are multiples of r, which follows from the distance a between the shoulders. Sources: the rules of HR-VITON, and
the published masks of CAT-DM for legs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP

SIDES = ("right", "left")
LEAST_R = 3  # pixels; below it the rounding of r changes the shapes by more than a sixth
LEAST_TORSO = 0.7  # height from hips to shoulders over a; usually 1.4 to 2; less if cropped at the chest, bent or lying
WHOLE_PHOTO = "use a photo that shows one person upright, from the head to below the hips, or give a mask of your own"


@dataclass(frozen=True, eq=False)
class Pose:
    """What the shapes are drawn from.

    Attributes:
        joints: all joints; the hips are moved along their line until they are as far apart as the shoulders.
        r: the unit of all widths, pixels: ⌊a/16⌋ + 1.
        size: (height, width) of the photo.
    """

    joints: Joints
    r: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Limb:
    """An arm or a leg. All widths are multiples of r.

    Attributes:
        name: ``arm`` or ``leg``.
        joints: its joints without their sides, from the trunk outwards.
        width: width of the painted limb.
        root, joint: half width and half height of the ellipses at the first joint, and at each of the other two.
        end: the parsing's label, without its side, of the end that stays as it is: a hand has that of its arm.
    """

    name: str
    joints: tuple[str, str, str]
    width: int
    root: tuple[int, int]
    joint: tuple[int, int]
    end: str

    def chain(self, side: str) -> list[str]:
        """Return the names of its joints on a side."""
        return [f"{side}_{joint}" for joint in self.joints]


ARM = Limb("arm", ("shoulder", "elbow", "wrist"), width=10, root=(5, 6), joint=(5, 5), end="arm")
LEG = Limb("leg", ("hip", "knee", "ankle"), width=20, root=(10, 6), joint=(10, 6), end="shoe")
OWN_WIDTH, OWN_END = 10, 4  # width of a limb's own shape and radius of its end; what is painted reaches farther


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


def pose_of(joints: Joints, size: tuple[int, int]) -> Pose:
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
    if torso_height(joints) < LEAST_TORSO * a:
        raise InputError(
            "the hips are not clearly below the shoulders: the person is cropped at the chest, bends or lies; "
            f"{WHOLE_PHOTO}"
        )
    middle, half = (right + left) / 2, (left - right) / apart * a / 2
    hips = {"right_hip": tuple(middle - half), "left_hip": tuple(middle + half)}
    return Pose(Joints({**joints.points, **hips}), r, size)


def upper_body(pose: Pose) -> np.ndarray:
    """Return the shapes of torso, neck and arms together, (height, width) bool."""
    canvas = Canvas(pose.size)
    paint_torso(canvas, pose)
    paint_neck(canvas, pose)
    paint_limbs(canvas, pose, ARM)
    return canvas.painted()


def paint_torso(canvas: Canvas, pose: Pose) -> None:
    """Paint the hips, the flanks and the area between shoulders and hips."""
    joints, r = pose.joints, pose.r
    for side in SIDES:
        canvas.ellipse(joints[f"{side}_hip"], 3 * r, 6 * r)
        canvas.line(joints[f"{side}_shoulder"], joints[f"{side}_hip"], 6 * r)
    canvas.line(joints["right_hip"], joints["left_hip"], 12 * r)
    canvas.polygon(torso_corners(joints))


def paint_neck(canvas: Canvas, pose: Pose) -> None:
    """Paint the rectangle above the neck joint."""
    (x, y), r = pose.joints["neck"], pose.r
    canvas.rectangle(x - 5 * r, y - 9 * r, x + 5 * r, y)


def paint_limbs(canvas: Canvas, pose: Pose, limb: Limb) -> None:
    """Paint the shoulders or the hips, and each arm or leg as far as its joints were found."""
    joints, r = pose.joints, pose.r
    chains = right, left = [limb.chain(side) for side in SIDES]
    canvas.line(joints[right[0]], joints[left[0]], 12 * r)
    for chain in chains:
        canvas.ellipse(joints[chain[0]], *_times(r, limb.root))
        for before, joint in bones(joints, *chain):
            canvas.line(joints[before], joints[joint], limb.width * r)
            canvas.ellipse(joints[joint], *_times(r, limb.joint))


def ends(pose: Pose, parsing: np.ndarray, limb: Limb) -> np.ndarray:
    """Return the hands or the shoes, (height, width) bool: what the parsing calls so, outside the limb's own shape.

    Args:
        pose: the person's.
        parsing: (height, width) uint8 labels in CIHP's numbers.
        limb: arms or legs.
    """
    found = np.zeros(pose.size, bool)
    for side in SIDES:
        found |= (parsing == CIHP[f"{side}_{limb.end}"]) & ~own_shape(pose, side, limb)
    return found


def own_shape(pose: Pose, side: str, limb: Limb) -> np.ndarray:
    """Return a limb down to the wrist or the ankle, (height, width) bool; inside what is painted."""
    joints, r = pose.joints, pose.r
    canvas = Canvas(pose.size)
    first, middle, _ = limb.chain(side)
    last = first
    canvas.ellipse(joints[first], *_times(r, limb.root))
    for before, joint in bones(joints, *limb.chain(side)):
        canvas.line(joints[before], joints[joint], OWN_WIDTH * r)
        if joint == middle:
            canvas.ellipse(joints[joint], *_times(r, limb.joint))
        last = joint
    canvas.ellipse(joints[last], OWN_END * r, OWN_END * r)
    return canvas.painted()


def _times(r: int, widths: tuple[int, int]) -> tuple[int, int]:
    return widths[0] * r, widths[1] * r


def bones(joints: Joints, *chain: str) -> Iterator[tuple[str, str]]:
    """Yield each joint of a limb together with the joint before it, if both were found."""
    for before, joint in pairwise(chain):
        if joints.has(before, joint):
            yield before, joint


def left_out(joints: Joints, limb: Limb) -> Iterator[str]:
    """Yield a sentence for each arm or leg of which a joint was not found."""
    _, middle, end = limb.joints
    for side in SIDES:
        if not joints.has(f"{side}_{middle}"):
            yield f"the {side} {middle} was not found, so the mask leaves out the {side} {limb.name}"
        elif not joints.has(f"{side}_{end}"):
            yield f"the {side} {end} was not found, so the mask of the {side} {limb.name} ends at the {middle}"


def torso_height(joints: Joints) -> float:
    """Return how far the hips are below the shoulders, pixels."""
    right, left = (joints[f"{side}_hip"][1] - joints[f"{side}_shoulder"][1] for side in SIDES)
    return float(right + left) / 2


def torso_corners(joints: Joints) -> list[np.ndarray]:
    """Return the shoulders and the hips, (x, y) in pixels each, around the torso."""
    return [joints[name] for name in ("right_shoulder", "left_shoulder", "left_hip", "right_hip")]


def _words(name: str) -> str:
    return name.replace("_", " ")
