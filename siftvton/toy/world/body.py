"""The geometry of the body: where a person's torso, head and arms are, in world pixels.

It depends on the person alone, not on the garment. The same holds for the DensePose labels and the agnostic mask,
which are drawn from it.
"""

from dataclasses import dataclass

import numpy as np

from siftvton.toy.world.frame import SIDES
from siftvton.toy.world.persons import Arm, Person
from siftvton.toy.world.prints import Points
from siftvton.toy.world.tube import Tube, tube_through

# Lengths in half shoulder widths.
LONGEST_SHARE = 3.0  # how far below the neck the longest worn garment ends
ARMHOLE_SHARE = 0.92  # how far below the neck the armpit is
SHOULDER_SHARE, UPPER_ARM_SHARE, FORE_ARM_SHARE = 0.12, 1.45, 1.22  # lengths along the arm


@dataclass(frozen=True)
class Torso:
    """The coordinate frame and the outline of the torso. Lengths are world pixels.

    Attributes:
        neck: (2,) origin of the frame.
        down: (2,) unit vector along the axis.
        right: (2,) unit vector across the axis, to the picture's right.
        unit: half the shoulders' width.
        crotch: length of the torso along the axis.
        waist: distance along the axis at which the trousers begin.
        drop: how much lower the ends of the shoulders are than the neck.
        armhole: distance along the axis of the armpit.
        hip_shift: how far the axis is moved sideways at the crotch.
        heights: (N,) distances along the axis at which the outline is given.
        half_widths: (N,) half widths of the outline there.
    """

    neck: np.ndarray
    down: np.ndarray
    right: np.ndarray
    unit: float
    crotch: float
    waist: float
    drop: float
    armhole: float
    hip_shift: float
    heights: np.ndarray
    half_widths: np.ndarray

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert world points (..., 2) to distances along the axis and from it, to the picture's right."""
        offset = points - self.neck.astype(np.float32)
        along = offset[..., 0] * self.down[0] + offset[..., 1] * self.down[1]
        across = offset[..., 0] * self.right[0] + offset[..., 1] * self.right[1]
        return along, across - self._sway(along)

    def world(self, along: np.ndarray | float, across: np.ndarray | float) -> np.ndarray:
        """The inverse of :meth:`coordinates`: (..., 2)."""
        along, across = np.broadcast_arrays(np.asarray(along, np.float64), np.asarray(across, np.float64))
        return self.neck + along[..., None] * self.down + (across + self._sway(along))[..., None] * self.right

    def _sway(self, along: np.ndarray) -> np.ndarray:
        return self.hip_shift * np.clip(along / self.crotch, 0, 1) ** 2

    def half_width(self, along: np.ndarray | float) -> np.ndarray:
        return np.interp(along, self.heights, self.half_widths)


@dataclass(frozen=True)
class Body:
    """The geometry of a person, in world pixels.

    Attributes:
        torso: frame and outline of the torso.
        head: (2,) the middle of the face.
        face: half width and half height of the face.
        head_tilt: degrees.
        arms: the right and the left arm, from the seam of the armhole to the wrist. The normals of a hanging arm
            point at the body.
        elbows: distance of each elbow along its arm.
    """

    torso: Torso
    head: np.ndarray
    face: tuple[float, float]
    head_tilt: float
    arms: tuple[Tube, Tube]
    elbows: tuple[float, float]

    def on_head(self, points: Points) -> np.ndarray:
        """Convert points of the face, (..., 2) in half widths and half heights from its middle, to world pixels."""
        tilt = np.radians(self.head_tilt)
        turn = np.array(((np.cos(tilt), np.sin(tilt)), (-np.sin(tilt), np.cos(tilt))))
        return self.head + (np.asarray(points, np.float64) * self.face) @ turn


def body_of(person: Person) -> Body:
    """The geometry of a person."""
    unit = person.shoulder
    lean, tilt = np.radians((person.lean, person.head_tilt))
    crotch, drop, armhole = person.torso_share * unit, person.shoulder_drop_share * unit, ARMHOLE_SHARE * unit
    shares = np.array((1.0, person.chest_share, person.waist_share, person.hip_share, person.hip_share))
    torso = Torso(
        neck=np.array(person.neck), down=np.array((-np.sin(lean), np.cos(lean))),
        right=np.array((np.cos(lean), np.sin(lean))), unit=unit, crotch=crotch, waist=0.7 * crotch, drop=drop,
        armhole=armhole, hip_shift=person.hip_shift, half_widths=shares * unit,
        heights=np.array((drop, armhole, 0.64 * crotch, 0.88 * crotch, crotch)),
    )  # fmt: skip
    face = (0.39 * unit, 0.54 * unit)
    head = torso.neck + (0.24 * unit + face[1]) * np.array((np.sin(tilt), -np.cos(tilt)))
    (right, right_elbow), (left, left_elbow) = (_arm(torso, *pair) for pair in zip(person.arms, SIDES, strict=True))
    return Body(torso, head, face, person.head_tilt, (right, left), (right_elbow, left_elbow))


def _arm(torso: Torso, arm: Arm, side: int) -> tuple[Tube, float]:
    """An arm and its elbow's distance along it.

    The arm leaves the torso at a right angle to the armhole's seam, as a sleeve does; it bends at shoulder and elbow.
    """
    unit = torso.unit
    top = torso.world(torso.drop, side * unit)
    bottom = torso.world(torso.armhole, side * torso.half_width(torso.armhole))
    seam = bottom - top
    outward = side * np.array((seam[1], -seam[0])) / np.linalg.norm(seam)
    start = (top + bottom) / 2

    def towards(degrees: float, length: float) -> np.ndarray:
        return length * np.array((side * np.sin(np.radians(degrees)), np.cos(np.radians(degrees))))

    shoulder = start + SHOULDER_SHARE * unit * outward
    elbow = shoulder + towards(arm.upper_angle, UPPER_ARM_SHARE * unit)
    wrist = elbow + towards(arm.fore_angle, FORE_ARM_SHARE * unit)
    bend = SHOULDER_SHARE * unit + UPPER_ARM_SHARE * unit
    elbow_share = bend / (bend + FORE_ARM_SHARE * unit)
    radii = [0.5 * np.linalg.norm(seam) - 1, 0.255 * unit, 0.195 * unit, 0.185 * unit, 0.13 * unit]
    shares = [0.0, 0.16, elbow_share, elbow_share + 0.12, 1.0]
    tube = tube_through(np.stack((start, shoulder, elbow, wrist)), side, 0.15 * unit, (shares, radii))
    return tube, elbow_share * tube.length
