import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from siftvton.errors import InputError, UsageError
from siftvton.files import (
    read_grey,
    read_image,
    read_labels,
    sha256,
    write_image,
    write_json,
    write_text,
    written_whole,
)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def stop_half_way(path: Path, *parts: str) -> None:
    with written_whole(path) as beside:
        for part in parts:
            (beside / part).parent.mkdir()
            (beside / part).write_text("half")
        if not parts:
            beside.write_text("half")
        raise RuntimeError("stopped")


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_nothing_new(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        stop_half_way(tmp_path / "deep" / "folder", "part")
    assert list((tmp_path / "deep").iterdir()) == []


def test_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for content in ("old", "new"):
        with written_whole(folder) as beside:
            beside.mkdir()
            (beside / content).write_text(content)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imwrite", lambda path, pixels: False)
    with pytest.raises(OSError, match=r"a\.png: could not be written"):
        write_image(tmp_path / "a.png", picture())
    assert list(tmp_path.iterdir()) == []


def test_json_ends_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5]})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": [\n    1,\n    2.5\n  ]\n}\n'


def test_picture_round_trip_is_red_first(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture())
    write_image(tmp_path / "m.png", picture()[:, :, 0])
    np.testing.assert_array_equal(read_grey(tmp_path / "m.png"), picture()[:, :, 0])


def test_jpeg_quality_is_95(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", picture())
    _, encoded = cv2.imencode(".jpg", picture()[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert (tmp_path / "a.jpg").read_bytes() == encoded.tobytes()


def test_picture_can_be_resized_as_it_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    expected = cv2.resize(picture(), (3, 4), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (4, 3)), expected)


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(picture(), -1))


def test_masks_of_every_kind(tmp_path: Path) -> None:
    mask = picture()[:, :, 0] > 128
    grey = mask.astype(np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / "bits.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2)).save(tmp_path / "colour.png")
    for name in ("bits.png", "grey.png", "colour.png"):
        read = read_grey(tmp_path / name)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, grey)


def test_labels_are_indices_levels_or_red(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette([value for label in range(256) for value in (255 - label, 0, label)])
    indexed.save(tmp_path / "palette.png")
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([labels, labels + 50, labels + 90], axis=2)).save(tmp_path / "colour.png")
    for name in ("palette.png", "grey.png", "colour.png"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


def test_truncated_pictures_are_refused(tmp_path: Path) -> None:
    big = cv2.resize(picture(), (200, 200))
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        write_image(path, big)
        content = path.read_bytes()
        for size in (0, 100, len(content) * 9 // 10):
            path.write_bytes(content[:size])
            with pytest.raises(InputError, match=rf"a\{suffix}: cannot be decoded .*download it again"):
                read_image(path)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_other_kinds_of_picture_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(InputError, match=f"picture has mode {mode}, wanted RGB.*convert it"):
        read_image(path)


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg: no such file"):
        read_image(tmp_path / "a.jpg")


def test_an_output_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match=r"file: cannot be made a folder \("):
        write_text(tmp_path / "file" / "out.txt", "x")
    assert (tmp_path / "file").read_text() == "kept"


def test_the_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    """Weights that differ beyond the first mebibyte are other weights."""
    path = tmp_path / "weights"
    content = bytearray(5 * 2**20)
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
    for place in (2**20, len(content) - 1):
        before = sha256(path)
        content[place] ^= 1
        path.write_bytes(content)
        assert sha256(path) != before
