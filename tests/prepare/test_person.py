"""A photo of a person, with files or with models: what is made of it, and which photos are refused."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_person import SIZE, drawn_joints, drawn_photo

from siftvton.correspondence.regions import PART_COLOURS
from siftvton.errors import InputError
from siftvton.prepare.config import PhotoConfig
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import Box
from siftvton.prepare.given import GivenSides
from siftvton.prepare.joints import Joints
from siftvton.prepare.mask import agnostic_mask
from siftvton.prepare.models import MissingModelError, NoPersonError
from siftvton.prepare.person import prepare_person


class FakeModels:
    """Models that answer what the test gives; None: the model is missing."""

    def __init__(
        self,
        boxes: list[Box] | None = None,
        joints: Joints | None = None,
        labels: np.ndarray | None = None,
        parts: int | None = None,
    ) -> None:
        self.boxes, self.own_joints, self.labels, self.parts = boxes, joints, labels, parts
        self.asked: list[str] = []

    def _answer(self, part: str, answer: Callable[[], object], known: object):
        self.asked.append(part)
        if known is None:
            raise MissingModelError(f"models.{part}: cannot be had")
        return answer()

    def person_boxes(self, photo: np.ndarray):
        if self.boxes == []:
            raise NoPersonError("nobody")
        return self._answer("detector", lambda: self.boxes, self.boxes)

    def joints(self, photo: np.ndarray, box: Box):
        return self._answer("pose", lambda: self.own_joints, self.own_joints)

    def parsing(self, photo: np.ndarray):
        fitted = lambda: cv2.resize(self.labels, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)  # noqa: E731
        return self._answer("parsing", fitted, self.labels)

    def densepose(self, photo: np.ndarray, box: Box):
        def parts() -> np.ndarray:
            labels = np.zeros(photo.shape[:2], np.uint8)
            left, top, right, bottom = (round(edge) for edge in box)
            labels[top:bottom, left:right] = self.parts
            return labels

        return self._answer("densepose", parts, self.parts)


def finder(models: FakeModels) -> Finder:
    return Finder(models)  # type: ignore[arg-type]


def framed_at(photo: np.ndarray, height: int, width: int, x: int, y: int) -> np.ndarray:
    """The photo in a larger light one, with its corner at (x, y)."""
    larger = np.full((height, width, 3), 225, np.uint8)
    larger[y : y + len(photo), x : x + photo.shape[1]] = photo
    return larger


@pytest.fixture
def photo(parsing: np.ndarray) -> np.ndarray:
    return drawn_photo(parsing)


def test_given_joints_and_parsing_make_mask_and_agnostic_picture_without_any_model(
    photo: np.ndarray, joints: Joints, parsing: np.ndarray
):
    prepared = prepare_person(photo, GivenSides(persons=(joints,), parsing=parsing))
    np.testing.assert_array_equal(prepared.mask, agnostic_mask(joints, parsing, SIZE).mask)
    np.testing.assert_array_equal(prepared.photo, photo)
    assert (prepared.agnostic[prepared.mask > 0] == 128).all()
    assert (prepared.agnostic[prepared.mask == 0] == photo[prepared.mask == 0]).all()
    assert prepared.densepose is None
    assert prepared.remarks == (
        "there is no DensePose picture, which try-on requires; give one, or a model (models.densepose)",
    )


def test_models_find_what_is_not_given(photo: np.ndarray, joints: Joints, parsing: np.ndarray):
    models = FakeModels([(150, 20, 620, 1020)], joints, parsing, parts=2)
    prepared = prepare_person(photo, finder=finder(models))
    given = prepare_person(photo, GivenSides(persons=(joints,), parsing=parsing))
    np.testing.assert_array_equal(prepared.mask, given.mask)
    assert prepared.densepose is not None
    assert (prepared.densepose[500, 400] == PART_COLOURS[2]).all()
    assert (prepared.densepose[500, 100] == 0).all()
    assert models.asked == ["detector", "pose", "parsing", "densepose"]
    assert prepared.remarks == ()


def test_what_is_given_is_used_and_its_models_are_not_asked(photo: np.ndarray, joints: Joints, parsing: np.ndarray):
    models = FakeModels()
    densepose = np.zeros_like(photo)
    densepose[300:700, 280:500] = PART_COLOURS[2]
    given = GivenSides(persons=(joints,), parsing=parsing, densepose=densepose)
    prepared = prepare_person(photo, given, finder(models))
    np.testing.assert_array_equal(prepared.densepose, densepose)
    assert models.asked == []


def test_a_given_mask_needs_neither_joints_nor_parsing(photo: np.ndarray):
    mask = np.zeros(SIZE, np.uint8)
    mask[300:700, 250:520] = 255
    models = FakeModels([(150, 20, 620, 1020)], parts=2)
    prepared = prepare_person(photo, GivenSides(mask=mask), finder(models))
    np.testing.assert_array_equal(prepared.mask, mask)
    assert prepared.joints is None
    assert models.asked == ["detector", "densepose"]


def test_without_parsing_the_mask_is_clipped_to_the_person_and_a_remark_says_what_is_in_it(
    photo: np.ndarray, joints: Joints, parsing: np.ndarray
):
    person = (parsing > 0).astype(np.uint8) * 255
    prepared = prepare_person(photo, GivenSides(persons=(joints,), person_mask=person))
    np.testing.assert_array_equal(prepared.mask, agnostic_mask(joints, None, SIZE, person).mask)
    assert prepared.remarks[0].startswith("face and hands could not be taken out")


def test_a_missing_detector_makes_the_whole_photo_the_persons_box(photo: np.ndarray, joints: Joints):
    models = FakeModels(None, joints)
    prepared = prepare_person(photo, finder=finder(models))
    assert prepared.mask.any()
    assert models.asked == ["detector", "pose", "parsing", "densepose"]


def test_a_missing_model_is_looked_for_once(photo: np.ndarray, joints: Joints):
    models = FakeModels(None, joints)
    both = finder(models)
    prepare_person(photo, finder=both)
    prepare_person(photo, finder=both)
    assert models.asked.count("detector") == models.asked.count("densepose") == 1
    assert both.missing == {part: f"models.{part}: cannot be had" for part in ("detector", "parsing", "densepose")}


def test_of_several_persons_the_largest_is_dressed_and_a_remark_says_so(
    photo: np.ndarray, joints: Joints, parsing: np.ndarray
):
    other = drawn_joints(0.3)
    prepared = prepare_person(photo, GivenSides(persons=(other, joints), parsing=parsing))
    np.testing.assert_array_equal(prepared.mask, agnostic_mask(joints, parsing, SIZE).mask)
    assert prepared.remarks[0].startswith("shows 2 persons; the largest one is dressed")
    models = FakeModels([(150, 20, 620, 1020), (0, 0, 90, 90), (5, 5, 50, 50)], joints, parsing, parts=2)
    assert prepare_person(photo, finder=finder(models)).remarks[0].startswith("shows 3 persons; the largest one")


@pytest.mark.parametrize("framing", ["crop", "pad"])
@pytest.mark.parametrize(("height", "width", "x", "y"), [(1100, 3000, 1500, 60), (2000, 900, 50, 500)])
def test_a_photo_of_another_shape_is_framed_and_the_way_back_leads_into_it(
    photo: np.ndarray, framing: str, height: int, width: int, x: int, y: int
):
    larger, own = framed_at(photo, height, width, x, y), drawn_joints(shift=(x, y))
    prepared = prepare_person(larger, GivenSides(persons=(own,)), config=PhotoConfig(framing=framing))
    assert prepared.photo.shape[:2] == prepared.mask.shape == prepared.framing.size
    rows, columns = prepared.framing.size
    assert abs(columns - 0.75 * rows) <= 1
    assert rows <= 1024
    painted = prepared.framing.undo(np.zeros_like(prepared.photo), larger, prepared.mask)
    changed = (painted != larger).any(axis=2)
    expected = agnostic_mask(own, None, (height, width)).mask > 0
    # Drawn on a smaller picture, its widths are rounded otherwise.
    assert (changed & expected).sum() / (changed | expected).sum() > 0.9
    if framing == "crop":
        left, top, right, bottom = prepared.framing.window
        assert left <= x + 215
        assert right >= x + 560
        assert top <= y + 160
        assert bottom >= y + 740


def test_a_large_photo_is_prepared_at_the_size_of_viton_hd(parsing: np.ndarray):
    photo = cv2.resize(drawn_photo(parsing), (3000, 4000), interpolation=cv2.INTER_NEAREST)
    labels = cv2.resize(parsing, (3000, 4000), interpolation=cv2.INTER_NEAREST)
    prepared = prepare_person(photo, GivenSides(persons=(drawn_joints(3000 / 768),), parsing=labels))
    assert prepared.photo.shape == (1024, 768, 3)
    reference = agnostic_mask(drawn_joints(), parsing, SIZE).mask > 0
    mask = prepared.mask > 0
    assert (mask & reference).sum() / (mask | reference).sum() > 0.97


def test_transparency_is_put_on_white(photo: np.ndarray, joints: Joints):
    opacity = np.full(SIZE, 255, np.uint8)
    opacity[:100] = 0
    prepared = prepare_person(np.dstack([photo, opacity]), GivenSides(persons=(joints,)))
    assert (prepared.photo[:100] == 255).all()
    np.testing.assert_array_equal(prepared.photo[100:], photo[100:])


def without(joints: Joints, *names: str) -> Joints:
    return replace(joints, points={name: place for name, place in joints.points.items() if name not in names})


def placed(joints: Joints, **places: tuple[float, float]) -> Joints:
    return replace(joints, points={**joints.points, **places})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda joints: without(joints, "left_shoulder"), "left shoulder not found"),
        (lambda joints: without(joints, "right_hip", "left_hip"), "as in a photo that ends at the chest"),
        (lambda joints: placed(joints, left_hip=joints.points["right_hip"]), "both hips are in one place"),
        (
            lambda joints: placed(joints, left_hip=(450, 420), right_hip=(320, 420)),
            "cropped at the chest, bends or lies",
        ),
        (lambda joints: joints.moved(lambda places: places * 0.1), "the shoulders are only 23 pixels apart"),
    ],
    ids=["shoulder", "chest", "hips", "bends", "small"],
)
def test_joints_that_allow_no_mask_are_refused(
    photo: np.ndarray, joints: Joints, change: Callable[[Joints], Joints], message: str
):
    with pytest.raises(InputError, match=message) as raised:
        prepare_person(photo, GivenSides(persons=(change(joints),)))
    assert "; use a " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_person_who_sits_gets_a_remark(photo: np.ndarray, joints: Joints, parsing: np.ndarray):
    sitting = placed(joints, left_knee=(520, 760), right_knee=(250, 760))
    remarks = prepare_person(photo, GivenSides(persons=(sitting,), parsing=parsing)).remarks
    assert any(remark.startswith("the person seems to sit") for remark in remarks)


def test_a_photo_of_100_pixels_is_refused_if_the_person_is_small_and_else_gets_a_remark(parsing: np.ndarray):
    photo = cv2.resize(drawn_photo(parsing), (75, 100), interpolation=cv2.INTER_AREA)
    with pytest.raises(InputError, match=r"the shoulders are only 23 pixels apart.*use a larger photo"):
        prepare_person(photo, GivenSides(persons=(drawn_joints(75 / 768),)))
    closer = placed(drawn_joints(75 / 768), left_shoulder=(59, 32), right_shoulder=(16, 32))
    remarks = prepare_person(photo, GivenSides(persons=(closer,))).remarks
    assert "the framed photo has only 100 rows of pixels, so the result is blurred" in remarks


def test_a_photo_without_a_person_or_without_any_knowledge_is_refused(photo: np.ndarray):
    with pytest.raises(InputError, match="shows no person; use a photo of one person"):
        prepare_person(photo, finder=finder(FakeModels(boxes=[])))
    with pytest.raises(InputError, match=r"its joints are not known; give OpenPose's file .*models\.pose"):
        prepare_person(photo)
    with pytest.raises(InputError, match=r"is too small \(9 × 7 pixels"):
        prepare_person(photo[:9, :7], GivenSides(persons=(drawn_joints(),)))


def test_a_densepose_picture_in_other_colours_is_refused(photo: np.ndarray, joints: Joints):
    densepose = np.zeros_like(photo)
    densepose[300:700, 280:500] = PART_COLOURS[2][::-1]
    with pytest.raises(InputError, match=r"image-densepose: is not in DensePose's colours.*red and blue"):
        prepare_person(photo, GivenSides(persons=(joints,), densepose=densepose))


def test_a_person_whom_densepose_does_not_find_is_prepared_without_it(photo: np.ndarray, joints: Joints):
    class Blind(FakeModels):
        def densepose(self, photo: np.ndarray, box: Box):
            raise InputError("DensePose finds no person")

    prepared = prepare_person(photo, GivenSides(persons=(joints,)), finder(Blind()))
    assert prepared.densepose is None
    assert "DensePose finds no person" in prepared.remarks
