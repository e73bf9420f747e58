"""The body as geometry: where torso, head and arms of a person lie, in world pixels.

It depends on the person alone, never on what is worn; so do the DensePose labels and the agnostic mask drawn from it.
"""

from dataclasses import dataclass

import numpy as np

from siftvton.toy.world.frame import SIDES
from siftvton.toy.world.persons import Arm, Person
from siftvton.toy.world.prints import Points
from siftvton.toy.world.tube import Tube, tube_through

LONGEST_SHARE = 3.0  # no worn garment reaches further below the neck, in half shoulder widths
ARMHOLE_SHARE = 0.92  # the armpit's depth below the neck
SHOULDER_SHARE, UPPER_ARM_SHARE, FORE_ARM_SHARE = 0.12, 1.45, 1.22


@dataclass(frozen=True)
class Torso:
    """The torso's frame and outline.

    Attributes:
        neck: (2,) where the frame begins.
        down, right: (2,) unit vectors along the axis and across it, to the picture's right.
        unit: half the shoulders' width.
        crotch: the torso's length along the axis; ``waist`` is where the trousers begin.
        drop: how much lower the shoulders' ends are than the neck.
        armhole: the armpit's depth.
        hip_shift: how far the axis has swung out at the crotch.
        heights, half_widths: (N,) the outline: distances along the axis, half widths there.
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
        """World points (..., 2) as px along the axis and px from it, to the picture's right."""
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
    """A person's geometry.

    Attributes:
        torso: its frame and outline.
        head: (2,) the face's middle; ``face`` its half width and half height; ``head_tilt`` in degrees.
        arms: the right one and the left one, from the armhole's seam to the wrist; the normals point at the body
            where an arm hangs.
        elbows: how far along its arm each elbow lies, px.
    """

    torso: Torso
    head: np.ndarray
    face: tuple[float, float]
    head_tilt: float
    arms: tuple[Tube, Tube]
    elbows: tuple[float, float]

    def on_head(self, points: Points) -> np.ndarray:
        """Points of the face, (..., 2) in half widths and half heights from its middle, in world pixels."""
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
    """The arm leaves the torso square to the armhole's seam, as the cloth does, and bends at shoulder and elbow."""
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
