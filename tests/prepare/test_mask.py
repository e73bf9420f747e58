"""The agnostic mask: its shapes, what is taken out of it, and what is said about bad joints."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP
from siftvton.prepare.mask import agnostic_mask, agnostic_picture
from siftvton.prepare.shapes import Canvas, pose_of, upper_body

SIZE = (1024, 768)
SIDES = ("right", "left")


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def painted(joints: Joints, parsing: np.ndarray | None, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = agnostic_mask(joints, parsing, size).mask
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    return mask > 0


def without(joints: Joints, *names: str) -> Joints:
    return Joints({name: place for name, place in joints.points.items() if name not in names})


def changed(joints: Joints, **places: tuple[float, float]) -> Joints:
    return Joints({**joints.points, **places})


def swapped(joints: Joints) -> Joints:
    """Each right joint as the left one, and the other way round."""
    other = {"right": "left", "left": "right"}
    points = {}
    for name, place in joints.points.items():
        side, _, part = name.partition("_")
        points[f"{other[side]}_{part}" if side in other else name] = place
    return Joints(points)


def mirrored(joints: Joints) -> Joints:
    """The joints in the mirrored photo, where right is left."""
    return swapped(joints).moved(lambda places: places * [-1, 1] + [SIZE[1] - 1, 0])


# Shapes


def test_lines_have_flat_ends() -> None:
    canvas = Canvas((100, 200))
    canvas.line(np.array([50.0, 50.0]), np.array([150.0, 50.0]), 40)
    assert np.count_nonzero(canvas.painted()) == pytest.approx(100 * 40, rel=0.03)  # round ends would add 1257 pixels


def test_ellipses_and_polygons_have_their_areas() -> None:
    canvas = Canvas((200, 200))
    canvas.ellipse(np.array([100.0, 100.0]), 30, 60)
    assert np.count_nonzero(canvas.painted()) == pytest.approx(np.pi * 30 * 60, rel=0.03)
    canvas = Canvas((200, 200))
    canvas.polygon([np.array(corner) for corner in ((10.0, 10.0), (109.0, 10.0), (109.0, 59.0), (10.0, 59.0))])
    assert np.count_nonzero(canvas.painted()) == 100 * 50


def test_the_width_s_unit_follows_from_the_shoulders(joints: Joints) -> None:
    assert pose_of(joints, SIZE).r == 15  # the shoulders are 239 pixels apart
    assert pose_of(changed(joints, left_shoulder=(505.0, 330.0)), SIZE).r == 16


def test_the_hips_are_moved_as_far_apart_as_the_shoulders(joints: Joints) -> None:
    moved = pose_of(joints, SIZE).joints
    assert moved["left_hip"] - moved["right_hip"] == pytest.approx([239, 0])
    assert (moved["left_hip"] + moved["right_hip"]) / 2 == pytest.approx([385, 720])
    closer = changed(joints, right_hip=(365.0, 720.0), left_hip=(405.0, 720.0))
    np.testing.assert_array_equal(upper_body(pose_of(closer, SIZE)), upper_body(pose_of(joints, SIZE)))


def test_the_extent_of_each_shape(joints: Joints) -> None:
    """The outermost pixels of the drawn person's mask, from the rules alone."""
    area = upper_body(pose_of(joints, SIZE))
    rows, columns = np.nonzero(area)
    r = 15
    assert rows.min() == 320 - 9 * r  # the rectangle above the neck
    assert rows.max() == pytest.approx(740 + 5 * r, abs=1)  # the right wrist's circle; the hips' ellipses end at 810
    assert columns.min() == pytest.approx(215 - 5 * r, abs=1)
    assert columns.max() == pytest.approx(560 + 5 * r, abs=1)  # the left elbow's circle
    top = np.flatnonzero(area[320 - 9 * r])
    assert (top.min(), top.max()) == (384 - 5 * r, 384 + 5 * r)


def test_mirroring_the_person_mirrors_the_mask_up_to_a_pixel(joints: Joints, parsing: np.ndarray) -> None:
    swap = np.arange(20, dtype=np.uint8)
    swap[14:20] = (15, 14, 17, 16, 19, 18)
    mask = painted(joints, parsing)
    other = painted(mirrored(joints), swap[parsing[:, ::-1]])[:, ::-1]
    border = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert not (mask ^ other)[~border].any()
    assert overlap(mask, other) > 0.99
    assert overlap(mask, mask[:, ::-1]) < 0.9  # the person is not symmetric


def test_a_photo_of_twice_the_size_has_the_same_mask(joints: Joints) -> None:
    small = joints.moved(lambda places: places * 238 / 239)  # 238 and 476: r is 15 and 30
    large = upper_body(pose_of(small.moved(lambda places: 2 * places), (2048, 1536)))
    assert overlap(large[::2, ::2], upper_body(pose_of(small, SIZE))) > 0.99


# What is taken out


def test_face_hands_and_lower_garment_are_taken_out_and_hair_is_not(joints: Joints, parsing: np.ndarray) -> None:
    mask = painted(joints, parsing)
    shapes = upper_body(pose_of(joints, SIZE))
    for kept in ("face", "trousers"):
        assert shapes[parsing == CIHP[kept]].any()
        assert not mask[parsing == CIHP[kept]].any()
    for label in ("hair", "torso_skin", "upper_clothes"):
        area = shapes & (parsing == CIHP[label])
        assert area.any()
        assert mask[area].all()
    removed = shapes & ~mask & np.isin(parsing, (14, 15))  # hands
    assert removed.any()
    distances = [np.linalg.norm(joints[f"{side}_wrist"] - np.argwhere(removed)[:, ::-1], axis=1) for side in SIDES]
    assert np.minimum(*distances).min() >= 4 * 15 - 1


def test_an_arm_is_a_hand_only_outside_its_own_shape(joints: Joints, parsing: np.ndarray) -> None:
    """A right hand on the left sleeve is taken out; the left sleeve there is not."""
    mask = painted(joints, parsing)
    assert mask[500:520, 530:570].all()
    parsing[500:520, 530:570] = CIHP["right_arm"]
    assert not painted(joints, parsing)[500:520, 530:570].any()
    parsing[500:520, 530:570] = CIHP["left_arm"]
    assert painted(joints, parsing)[500:520, 530:570].all()


def test_a_missing_wrist_or_elbow_leaves_out_the_rest_of_the_arm_and_is_remarked(joints: Joints) -> None:
    whole = upper_body(pose_of(joints, SIZE))
    no_wrist, no_elbow = without(joints, "right_wrist"), without(joints, "right_elbow")
    to_elbow, no_arm = (upper_body(pose_of(each, SIZE)) for each in (no_wrist, no_elbow))
    assert whole[740, 215]
    assert not to_elbow[740, 215]
    assert to_elbow[540, 235]
    assert not no_arm[540, 200]
    assert not (to_elbow & ~whole).any()
    assert not (no_arm & ~to_elbow).any()
    remarks = [agnostic_mask(each, None, SIZE).remarks for each in (joints, no_wrist, no_elbow)]
    assert [sum("right" in remark for remark in each) for each in remarks] == [0, 1, 1]
    assert "ends at the elbow" in remarks[1][-1]
    assert "leaves out the right arm" in remarks[2][-1]


# Without parsing, or with less of it


def test_without_parsing_the_face_is_left_out_by_an_estimate_and_remarked(joints: Joints, parsing: np.ndarray) -> None:
    drawn = agnostic_mask(joints, None, SIZE)
    assert not (drawn.mask > 0)[parsing == CIHP["face"]].any()
    assert (drawn.mask > 0)[240:320, 384].all()  # the neck
    assert "face and hands could not be taken out" in drawn.remarks[0]
    assert "not clipped" in drawn.remarks[1]


def test_without_parsing_the_mask_is_clipped_to_the_person(joints: Joints, parsing: np.ndarray) -> None:
    drawn = agnostic_mask(joints, None, SIZE, (parsing > 0).astype(np.uint8) * 255)
    distance = cv2.distanceTransform((parsing == 0).astype(np.uint8), cv2.DIST_L2, 5)
    assert distance[drawn.mask > 0].max() == pytest.approx(15, abs=1)  # the person's mask is grown by r
    free = agnostic_mask(joints, None, SIZE).mask
    np.testing.assert_array_equal(drawn.mask[parsing > 0], free[parsing > 0])
    assert not any("clipped" in remark for remark in drawn.remarks)


def test_a_face_that_reaches_down_the_neck_hardly_changes_the_mask(joints: Joints, parsing: np.ndarray) -> None:
    """ATR has no torso skin: its face includes the neck."""
    wide = np.where(parsing == CIHP["torso_skin"], np.uint8(CIHP["face"]), parsing)
    assert overlap(painted(joints, wide), painted(joints, parsing)) > 0.995


def test_labels_of_another_scheme_are_remarked(joints: Joints, parsing: np.ndarray) -> None:
    assert agnostic_mask(joints, parsing, SIZE).remarks == ()
    atr_upper_clothes = np.where(parsing == CIHP["upper_clothes"], np.uint8(4), parsing)
    (remark,) = agnostic_mask(joints, atr_upper_clothes, SIZE).remarks
    assert "name its scheme" in remark


def test_the_agnostic_picture_is_grey_under_the_mask() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    picture = agnostic_picture(photo, mask)
    assert (picture[mask > 0] == 128).all()
    np.testing.assert_array_equal(picture[mask == 0], photo[mask == 0])
    assert picture.dtype == np.uint8


# Joints from which no mask can be drawn, and those that give a poor one


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda joints: without(joints, "left_shoulder"), "^left shoulder not found; use a photo"),
        (lambda joints: without(joints, "right_hip"), "^right hip not found; use a photo"),
        (
            lambda joints: without(joints, "right_hip", "left_hip"),
            "^right hip, left hip not found, as in a photo that ends at the chest; use",
        ),
        (lambda joints: Joints({}), "^right shoulder, left shoulder, right hip, left hip not found; use"),
        (lambda joints: changed(joints, left_hip=(322.0, 721.0)), "both hips are in one place"),
        (lambda joints: joints.moved(lambda places: places / 8), "the shoulders are only 29 pixels apart"),
        (
            lambda joints: changed(joints, right_hip=(320.0, 470.0), left_hip=(450.0, 470.0)),
            "the person is cropped at the chest, bends or lies",
        ),
        (lambda joints: joints.moved(lambda places: places[:, ::-1]), "the person is cropped at the chest, bends or"),
        (
            lambda joints: changed(joints, left_wrist=(1e8, 3.0)),
            "the left wrist is at .* far outside the photo of 768×",
        ),
        (lambda joints: changed(joints, nose=(3.0, -1e300)), "the nose is at .* far outside the photo of 768×1024"),
        (lambda joints: changed(joints, nose=(3.0, float("nan"))), "the nose is at .* far outside the photo"),
        (lambda joints: joints.moved(lambda places: places + np.array([760, 0])), "the mask is empty"),
    ],
    ids=[
        *("a shoulder", "a hip", "both hips", "nothing found", "hips in one place", "small", "cropped", "lying"),
        *("a joint elsewhere", "a joint far away", "a joint nowhere", "outside"),
    ],
)
def test_joints_without_a_mask_are_refused_in_one_line(
    joints: Joints, change: Callable[[Joints], Joints], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        agnostic_mask(change(joints), None, SIZE)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)  # what to do


def test_a_person_s_mask_elsewhere_is_refused(joints: Joints) -> None:
    with pytest.raises(InputError, match="the mask is empty"):
        agnostic_mask(joints, None, SIZE, np.zeros(SIZE, np.uint8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda joints: changed(joints, right_knee=(300.0, 800.0), left_knee=(470.0, 810.0)), "sit"),
        (lambda joints: changed(joints, right_shoulder=(330.0, 330.0), left_shoulder=(440.0, 330.0)), "from the side"),
        (swapped, "from behind"),
    ],
    ids=["sitting", "side", "back"],
)
def test_an_unusual_pose_is_remarked(
    joints: Joints, parsing: np.ndarray, change: Callable[[Joints], Joints], said: str
) -> None:
    (remark,) = agnostic_mask(change(joints), parsing, SIZE).remarks
    assert said in remark


def test_one_raised_leg_is_not_sitting(joints: Joints, parsing: np.ndarray) -> None:
    assert not agnostic_mask(changed(joints, right_knee=(300.0, 780.0)), parsing, SIZE).remarks
