"""The toy world's joints: each is on its part of the drawn person, and masks can be drawn from them."""

from dataclasses import replace

import numpy as np
import pytest

from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP, CIHP_COLOURS, guess_scheme
from siftvton.prepare.mask import agnostic_mask
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.persons import Arm, sample_person
from siftvton.toy.world.render import Rendering, render

SIZE = (256, 192)
PERSONS = [sample_person(3, "train", index) for index in range(12)]
SIDES = ("right", "left")
# DensePose's parts, also under clothes.
TORSO, HEAD, THIGHS = (2,), (23, 24), {"right": (9,), "left": (10,)}
UPPER_ARMS, FORE_ARMS = {"right": (16, 18), "left": (15, 17)}, {"right": (20, 22), "left": (19, 21)}
ARMS = (3, 4, *range(15, 23))  # with the hands; an arm may hide any joint that is not on the head


@pytest.fixture(scope="module")
def renderings() -> list[Rendering]:
    return [render(person, sample_garment(3, "train", index), *SIZE) for index, person in enumerate(PERSONS)]


def at(labels: np.ndarray, joints: Joints, name: str, below: int = 0) -> int:
    """The label at a joint, or some pixels below it."""
    column, row = joints[name].round().astype(int)
    return int(labels[row + below, column])


def test_each_joint_is_on_its_part_of_the_body(renderings: list[Rendering]) -> None:
    for person, rendering in zip(PERSONS, renderings, strict=True):
        joints, parts = joints_of(person, SIZE), rendering.densepose_labels
        assert at(parts, joints, "nose") in HEAD
        assert at(rendering.parsing, joints, "nose") == CIHP["face"]
        assert at(parts, joints, "neck") in (*TORSO, *ARMS)
        for side in SIDES:
            assert at(parts, joints, f"{side}_shoulder") in UPPER_ARMS[side]
            assert at(parts, joints, f"{side}_hip") in (*TORSO, *THIGHS[side], *ARMS)
            for joint in (f"{side}_elbow", f"{side}_wrist"):
                assert not joints.has(joint) or at(parts, joints, joint) in ARMS


def test_the_elbow_is_between_upper_arm_and_forearm() -> None:
    person = replace(PERSONS[0], arms=(Arm(12, 8), Arm(16, 4)))
    parts = render(person, sample_garment(3, "train", 0), *SIZE).densepose_labels
    joints = joints_of(person, SIZE)
    for side in SIDES:
        assert at(parts, joints, f"{side}_elbow", below=-4) in UPPER_ARMS[side]
        assert at(parts, joints, f"{side}_elbow", below=4) in FORE_ARMS[side]


def test_right_is_the_persons_right() -> None:
    for person in PERSONS:
        joints = joints_of(person, SIZE)
        for part in ("shoulder", "hip"):
            assert joints[f"right_{part}"][0] < joints[f"left_{part}"][0]


def test_joints_outside_the_photo_are_missing() -> None:
    found = [joints_of(sample_person(0, "train", index), (512, 384)) for index in range(300)]
    places = np.array([place for joints in found for place in joints.points.values()])
    assert (places >= 0).all()
    assert (places <= (383, 511)).all()
    assert not any(joints.has("right_ankle") or joints.has("left_ankle") for joints in found)


def test_all_sizes_have_the_same_joints() -> None:
    large, small = (joints_of(PERSONS[0], size) for size in ((512, 384), (128, 96)))
    assert large.points.keys() == small.points.keys()
    for name in large.points:
        assert (small[name] + 0.5) * 4 == pytest.approx(large[name] + 0.5)


def test_a_mask_drawn_from_joints_and_parsing_covers_the_worn_garment(renderings: list[Rendering]) -> None:
    for person, rendering in zip(PERSONS, renderings, strict=True):
        joints = joints_of(person, SIZE)
        assert guess_scheme(rendering.parsing, joints) in ("cihp", None)
        drawn = agnostic_mask(joints, rendering.parsing, SIZE).mask > 0
        assert drawn[rendering.worn_mask].mean() > 0.98
        assert not drawn[np.isin(rendering.parsing, [CIHP["face"], CIHP["trousers"]])].any()
        assert drawn.mean() < 0.7


def test_each_label_has_a_colour_of_its_own() -> None:
    assert len(np.unique(CIHP_COLOURS, axis=0)) == len(CIHP)
