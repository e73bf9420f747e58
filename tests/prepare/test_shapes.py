"""Arms and legs are drawn by the published rules, which this file writes out shape by shape with Pillow."""

import numpy as np
import pytest
from drawn_person import SIZE
from PIL import Image, ImageDraw

from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP
from siftvton.prepare.shapes import ARM, LEG, Canvas, Limb, Pose, ends, left_out, own_shape, paint_limbs

R = 11
POINTS = {
    "right_shoulder": (300.0, 200.0),
    "right_elbow": (220.0, 330.0),
    "right_wrist": (260.0, 470.0),
    "left_shoulder": (470.0, 210.0),
    "left_elbow": (560.0, 320.0),
    "left_wrist": (640.0, 300.0),
    "right_hip": (310.0, 520.0),
    "right_knee": (280.0, 720.0),
    "right_ankle": (300.0, 910.0),
    "left_hip": (480.0, 520.0),
    "left_knee": (500.0, 700.0),
    "left_ankle": (430.0, 880.0),
}
LIMBS = {"arm": ARM, "leg": LEG}
JOINTS = {"arm": ("shoulder", "elbow", "wrist"), "leg": ("hip", "knee", "ankle")}


class Drawing:
    def __init__(self) -> None:
        self.image = Image.new("L", SIZE[::-1])
        self.draw = ImageDraw.Draw(self.image)

    def ellipse(self, joint: str, half_width: int, half_height: int) -> None:
        (x, y), a, b = POINTS[joint], half_width * R, half_height * R
        self.draw.ellipse((x - a, y - b, x + a, y + b), 255)

    def line(self, one: str, other: str, width: int) -> None:
        self.draw.line([*POINTS[one], *POINTS[other]], 255, width * R)

    def drawn(self) -> np.ndarray:
        return np.asarray(self.image) > 0


def pose(*missing: str) -> Pose:
    return Pose(Joints({name: place for name, place in POINTS.items() if name not in missing}), R, SIZE)


def painted(pose: Pose, limb: Limb) -> np.ndarray:
    canvas = Canvas(SIZE)
    paint_limbs(canvas, pose, limb)
    return canvas.painted()


def test_arms_are_painted_as_lines_and_ellipses():
    drawing = Drawing()
    drawing.line("right_shoulder", "left_shoulder", 12)
    for side in ("right", "left"):
        drawing.ellipse(f"{side}_shoulder", 5, 6)
        drawing.line(f"{side}_shoulder", f"{side}_elbow", 10)
        drawing.ellipse(f"{side}_elbow", 5, 5)
        drawing.line(f"{side}_elbow", f"{side}_wrist", 10)
        drawing.ellipse(f"{side}_wrist", 5, 5)
    np.testing.assert_array_equal(painted(pose(), ARM), drawing.drawn())


def test_legs_are_painted_as_lines_and_ellipses():
    drawing = Drawing()
    drawing.line("right_hip", "left_hip", 12)
    for side in ("right", "left"):
        drawing.ellipse(f"{side}_hip", 10, 6)
        drawing.line(f"{side}_hip", f"{side}_knee", 20)
        drawing.ellipse(f"{side}_knee", 10, 6)
        drawing.line(f"{side}_knee", f"{side}_ankle", 20)
        drawing.ellipse(f"{side}_ankle", 10, 6)
    np.testing.assert_array_equal(painted(pose(), LEG), drawing.drawn())


@pytest.mark.parametrize(("name", "middle_size"), [("arm", (5, 5)), ("leg", (10, 6))])
@pytest.mark.parametrize("missing", [0, 1, 2], ids=["whole", "no end", "no middle"])
def test_a_limb_s_own_shape_ends_at_its_last_joint(name: str, middle_size: tuple[int, int], missing: int):
    first, middle, last = (f"left_{joint}" for joint in JOINTS[name])
    drawing = Drawing()
    drawing.ellipse(first, *{"arm": (5, 6), "leg": (10, 6)}[name])
    if missing < 2:
        drawing.line(first, middle, 10)
        drawing.ellipse(middle, *middle_size)
    if missing < 1:
        drawing.line(middle, last, 10)
    drawing.ellipse((last, middle, first)[missing], 4, 4)
    without = [(), (last,), (middle,)][missing]
    np.testing.assert_array_equal(own_shape(pose(*without), "left", LIMBS[name]), drawing.drawn())


@pytest.mark.parametrize(("name", "label"), [("arm", "arm"), ("leg", "shoe")])
def test_an_end_is_what_the_parsing_calls_so_outside_the_limb_of_that_side(name: str, label: str):
    parsing = np.full(SIZE, CIHP[f"right_{label}"], np.uint8)
    parsing[:, SIZE[1] // 2 :] = CIHP[f"left_{label}"]
    right, left = (own_shape(pose(), side, LIMBS[name]) for side in ("right", "left"))
    expected = np.concatenate([~right[:, : SIZE[1] // 2], ~left[:, SIZE[1] // 2 :]], axis=1)
    np.testing.assert_array_equal(ends(pose(), parsing, LIMBS[name]), expected)


def test_joints_that_are_missing_are_named():
    assert list(left_out(pose().joints, LEG)) == []
    assert list(left_out(pose("left_elbow", "right_wrist").joints, ARM)) == [
        "the right wrist was not found, so the mask of the right arm ends at the elbow",
        "the left elbow was not found, so the mask leaves out the left arm",
    ]
