"""Files that a user has already: joints, parsing, DensePose and masks as other programs write them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_person import SIZE, drawn_joints, drawn_photo
from PIL import Image

from siftvton.correspondence.regions import PART_COLOURS
from siftvton.errors import InputError
from siftvton.files import write_image, write_json
from siftvton.prepare.given import read_garment_mask, read_given, read_mask, read_photo
from siftvton.prepare.joints import Joints, openpose
from siftvton.prepare.labels import CIHP

ATR_FACE, ATR_CLOTHES = 11, 4


@pytest.fixture
def photo(parsing: np.ndarray) -> np.ndarray:
    return drawn_photo(parsing)


def test_what_is_not_given_is_none(photo: np.ndarray):
    assert set(vars(read_given(photo)).values()) == {None}


def test_all_persons_of_an_openpose_file_are_read(photo: np.ndarray, joints: Joints, tmp_path: Path):
    path = tmp_path / "a_keypoints.json"
    other = drawn_joints(0.25)
    write_json(path, {"people": [*openpose(joints)["people"], *openpose(other)["people"]]})
    assert read_given(photo, pose=path).persons == (joints, other)


def test_joints_of_another_photo_are_refused(photo: np.ndarray, tmp_path: Path):
    write_json(path := tmp_path / "a_keypoints.json", openpose(drawn_joints(2)))
    with pytest.raises(InputError, match=r"a_keypoints\.json: the .* is outside its photo of 1024 × 768 pixels"):
        read_given(photo, pose=path)


def test_a_file_without_a_person_is_refused(photo: np.ndarray, tmp_path: Path):
    write_json(path := tmp_path / "a_keypoints.json", {"people": []})
    with pytest.raises(InputError, match=r"a_keypoints\.json: lists no person"):
        read_given(photo, pose=path)


def test_parsing_of_another_size_is_brought_to_the_photos_size_without_mixing_labels(
    photo: np.ndarray, parsing: np.ndarray, tmp_path: Path
):
    half = cv2.resize(parsing, (384, 512), interpolation=cv2.INTER_NEAREST_EXACT)
    image = Image.fromarray(half, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tolist())
    image.save(path := tmp_path / "a.png")
    found = read_given(photo, parsing=path).parsing
    assert found is not None
    assert found.shape == SIZE
    assert (found == parsing).mean() > 0.98
    assert set(np.unique(found)) <= set(np.unique(parsing))


def test_labels_of_atr_are_recognised_by_the_face_or_by_the_key(
    photo: np.ndarray, joints: Joints, parsing: np.ndarray, tmp_path: Path
):
    atr = np.zeros_like(parsing)
    atr[parsing == CIHP["face"]] = ATR_FACE
    atr[parsing == CIHP["upper_clothes"]] = ATR_CLOTHES
    write_image(path := tmp_path / "a.png", atr)
    write_json(pose := tmp_path / "a_keypoints.json", openpose(joints))
    for given in (read_given(photo, parsing=path, pose=pose), read_given(photo, parsing=path, scheme="atr")):
        assert given.parsing is not None
        assert set(np.unique(given.parsing)) == {0, CIHP["face"], CIHP["upper_clothes"]}
    unknown = read_given(photo, parsing=path).parsing
    np.testing.assert_array_equal(unknown, atr)  # without joints and key: CIHP's, as in VITON-HD


def test_a_label_that_the_scheme_does_not_have_names_the_file_and_the_key(photo: np.ndarray, tmp_path: Path):
    write_image(path := tmp_path / "a.png", np.full(SIZE, 40, np.uint8))
    with pytest.raises(InputError, match=r"a\.png: .*label 40.*parsing_labels"):
        read_given(photo, parsing=path)


def test_densepose_is_a_rendering_or_a_map_of_labels(photo: np.ndarray, tmp_path: Path):
    labels = np.zeros(SIZE, np.uint8)
    labels[300:700, 280:500] = 2
    write_image(tmp_path / "labels.png", labels)
    write_image(tmp_path / "colours.png", PART_COLOURS[labels])
    for name in ("labels.png", "colours.png"):
        np.testing.assert_array_equal(read_given(photo, densepose=tmp_path / name).densepose, PART_COLOURS[labels])


def test_masks_become_black_and_white(photo: np.ndarray, tmp_path: Path):
    soft = np.zeros(SIZE, np.uint8)
    soft[300:700, 280:500] = 90
    soft[310:690, 290:490] = 200
    write_image(path := tmp_path / "a_mask.png", soft)
    given = read_given(photo, mask=path, person_mask=path)
    for mask in (given.mask, given.person_mask):
        np.testing.assert_array_equal(mask, np.where(soft >= 128, 255, 0))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(SIZE, np.uint8), "has no white region"),
        (np.ones(SIZE, np.uint8), "scale its levels to 0 and 255"),
        (np.pad(np.zeros((824, 568), np.uint8), 100, constant_values=255), "seems to have the wrong polarity"),
        (np.full(SIZE, 255, np.uint8), "is white everywhere, so nothing of the photo would stay"),
        (np.pad(np.full((400, 400), 255, np.uint8), 150), "has different proportions from its photo"),
        (np.dstack([np.full(SIZE, 255, np.uint8), *[np.zeros(SIZE, np.uint8)] * 2]), "masks are black and white"),
    ],
    ids=["black", "levels 0 and 1", "inverted", "white", "square", "coloured"],
)
def test_a_mask_that_cannot_be_right_is_refused(photo: np.ndarray, tmp_path: Path, mask: np.ndarray, message: str):
    write_image(path := tmp_path / "a_mask.png", mask)
    with pytest.raises(InputError, match=message) as raised:
        read_given(photo, mask=path)
    assert str(path) in str(raised.value)


def test_a_garments_mask_is_brought_to_the_size_of_its_picture(tmp_path: Path):
    write_image(path := tmp_path / "a.jpg", np.pad(np.full((60, 40), 255, np.uint8), ((2, 2), (4, 4))))
    mask = read_garment_mask(path, np.zeros((128, 96, 3), np.uint8))
    assert mask.shape == (128, 96)
    assert (mask > 0).mean() == pytest.approx(60 * 40 / (64 * 48), abs=0.02)
    with pytest.raises(InputError, match="different proportions from its garment picture"):
        read_garment_mask(path, np.zeros((96, 96, 3), np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
def test_a_picture_of_any_mode_becomes_rgb_with_its_opacity_if_it_has_one(tmp_path: Path, mode: str):
    image = Image.fromarray(np.full((20, 16, 4), (200, 200, 200, 128), np.uint8))
    image = image.quantize(dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    image.save(path := tmp_path / "a.png")
    picture = read_photo(path)
    assert picture.shape == (20, 16, 3 if mode in ("RGB", "L") else 4)
    assert np.abs(picture[..., :3].astype(int) - 200).max() <= 1
    if picture.shape[2] == 4:
        assert np.abs(picture[..., 3].astype(int) - 128).max() <= 1


def test_a_colour_that_stands_for_transparency_is_transparent(tmp_path: Path):
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    image.putpalette([9, 9, 9] * 256)
    image.save(path := tmp_path / "a.png", transparency=3)
    np.testing.assert_array_equal(read_photo(path)[..., 3], [[255, 255], [255, 0]])


def test_the_exif_orientation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path := tmp_path / "a.jpg", exif=exif)
    assert read_photo(path).shape == (30, 20, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 cut"])
def test_a_file_that_is_no_whole_picture_is_refused(tmp_path: Path, content: bytes):
    (path := tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be decoded"):
        read_photo(path)


def test_sixteen_bits_and_cmyk_are_refused(tmp_path: Path):
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "a.png")
    Image.new("CMYK", (9, 9)).save(tmp_path / "b.jpg")
    for name in ("a.png", "b.jpg"):
        with pytest.raises(InputError, match="convert it to RGB"):
            read_photo(tmp_path / name)


def test_a_mask_without_white_is_refused_by_name(tmp_path: Path):
    write_image(path := tmp_path / "a.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"a\.png: has no white region"):
        read_mask(path)


def test_dresscode_s_joints_are_moved_to_the_photo_s_size(tmp_path: Path) -> None:
    rows = [[0.0, 0.0, 1.0, float(number)] for number in range(18)]
    rows[0][:2] = [96.0, 100.0]
    write_json(path := tmp_path / "a_2.json", {"keypoints": rows})
    (joints,) = read_given(np.zeros((1024, 768, 3), np.uint8), pose=path).persons or ()
    assert joints["nose"].tolist() == [192, 200]
