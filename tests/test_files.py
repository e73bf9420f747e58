import errno
import hashlib
import os
import signal
import stat
import struct
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from siftvton import files
from siftvton.data.pairs import read_pairs
from siftvton.errors import InputError, UsageError
from siftvton.files import (
    is_file,
    picture_size,
    read_bytes,
    read_grey,
    read_image,
    read_labels,
    sha256,
    write_image,
    write_json,
    write_labels,
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
    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"a\.png: cannot be written \(No space left on device\); free some space"):
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


def test_written_labels_are_a_palette_in_their_colours(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(4, 3) % 5
    colours = np.random.default_rng(0).integers(0, 256, (5, 3), dtype=np.uint8)
    write_labels(tmp_path / "a.png", labels, colours)
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours[labels])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)


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


def test_a_flipped_bit_in_a_png_is_found_by_its_check_sum(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    for place in range(60, len(content) - 20, 37):
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.png: cannot be decoded"):
            read_image(path)
        content[place] ^= 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_other_kinds_of_picture_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(InputError, match=f"the picture has mode {mode}; convert it to RGB"):
        read_image(path)


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg: no such file"):
        read_image(tmp_path / "a.jpg")


def test_an_output_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match=r"file: this folder cannot be made \("):
        write_text(tmp_path / "file" / "out.txt", "x")
    assert (tmp_path / "file").read_text() == "kept"


# Pictures of every kind, and files that are not pictures


def bad_exif() -> bytes:
    """An orientation, and a tag stored in a type that is too wide for it: Pillow raises ``struct.error``."""
    orientation, compression = struct.pack("<HHII", 0x0112, 3, 1, 6), struct.pack("<HHII", 0x0103, 4, 1, 70_000)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + compression + orientation + b"\0\0\0\0"


def test_a_bad_exif_tag_is_refused_in_one_line(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=bad_exif())
    with pytest.raises(InputError, match=r"a\.jpg: cannot be decoded \(.*\); save or download it again$"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "error", [struct.error, SyntaxError, KeyError, EOFError, TypeError, MemoryError, ZeroDivisionError, RecursionError]
)
def test_whatever_pillow_raises_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("first\nsecond")

    write_image(tmp_path / "a.png", picture())
    for place in ("exif_transpose", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(ImageOps if place == "exif_transpose" else Image, place, broken)
            with pytest.raises(InputError, match=r"a\.png: cannot be decoded"):
                read_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_with_too_many_pixels_is_refused_with_its_size_and_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    Image.fromarray(picture()).save(tmp_path / "a", form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    expected = r"a: has 6×8 pixels, and at most 40 in total are allowed; make it smaller$"
    for read in (read_image, picture_size):
        with pytest.raises(InputError, match=expected):
            read(tmp_path / "a")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_below_the_limit_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, form: str
) -> None:
    Image.fromarray(picture()).save(tmp_path / "a", form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # Pillow warns above 30 pixels and refuses more than 60
    assert picture_size(tmp_path / "a") == (8, 6)
    assert read_image(tmp_path / "a").shape == (8, 6, 3)
    assert not recwarn.list


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 128\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"a\.jpg: cannot be decoded as JPEG, PNG or WebP; convert it"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_three_formats_are_read_whatever_the_suffix(tmp_path: Path, form: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", form)
    if form in ("JPEG", "PNG", "WEBP"):
        assert read_image(tmp_path / "a.jpg").shape == (8, 6, 3)
    else:
        with pytest.raises(InputError, match="as JPEG, PNG or WebP"):
            read_image(tmp_path / "a.jpg")


def test_a_coloured_mask_is_refused(tmp_path: Path) -> None:
    """Guards a red mask that was read as black (luminance 76), so that the result was the photo itself."""
    red = np.zeros((96, 72, 3), np.uint8)
    red[30:70, 20:50, 0] = 255
    write_image(tmp_path / "m.png", red)
    with pytest.raises(InputError, match=r"m\.png: \d+% of this mask is coloured; .* save it in grey levels"):
        read_grey(tmp_path / "m.png")


# Regular files only


@pytest.mark.parametrize("read", [read_image, read_grey, read_labels, sha256, read_pairs, read_bytes])
def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it blocked"))
    signal.alarm(10)
    try:
        with pytest.raises(InputError, match=r"a\.jpg: is a pipe, a socket or a device, not a file"):
            read(tmp_path / "a.jpg")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("read", [read_image, sha256, read_pairs, read_bytes])
def test_a_folder_in_a_files_place_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="is a folder, not a file"):
        read(tmp_path)


def test_a_path_that_may_not_be_read_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with pytest.raises(InputError, match=r"cannot be read \(File name too long\); check the path"):
        is_file(tmp_path / ("a" * 300))
    with pytest.raises(InputError, match=r"cannot be read \(.*null"):
        is_file("a\0b")
    monkeypatch.setattr(os, "stat", refused)
    for look in (is_file, read_bytes, read_image):
        with pytest.raises(InputError, match=r"a\.jpg: cannot be read \(Permission denied\); check the path and its"):
            look(tmp_path / "a.jpg")


# Whole files, with several writers


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.part.txt").symlink_to(victim)
    names = set()
    for _ in range(50):
        with written_whole(tmp_path / "a.txt") as beside:
            beside.write_text("new")
            names.add(beside.name)
    assert victim.read_text() == "precious"
    assert len(names) == 50, "a name that can be predicted allows a planted link"


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "a." + "b" * 253, "ä" * 125 + ".json"])
def test_the_longest_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_null_character_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this folder cannot be made \(.*null"):
        write_text(tmp_path / "a\0b", "x")


def test_a_name_that_is_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written \(File name too long\); use shorter names"):
        write_text(tmp_path / ("a" * 300), "x")


def write_model(path: Path, content: str) -> None:
    with written_whole(path) as beside:
        beside.mkdir()
        (beside / content).write_text(content)


def one_disk_only(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    """Make ``os.replace`` fail across ``disk``, as it does if ``disk`` is another disk."""
    replace = os.replace

    def on_one_disk(source: Path, target: Path) -> None:
        if (disk in Path(source).parents) != (disk in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", on_one_disk)


def test_a_link_to_another_disk_stays_and_its_target_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    write_model(disk / "model", "old")
    write_text(disk / "table.md", "old")
    for name in ("model", "table.md", "new.md"):
        (tmp_path / name).symlink_to(disk / name)
    one_disk_only(monkeypatch, disk)
    write_model(tmp_path / "model", "new")
    write_text(tmp_path / "table.md", "new")
    write_text(tmp_path / "new.md", "new")
    assert all((tmp_path / name).is_symlink() for name in ("model", "table.md", "new.md"))
    assert [path.name for path in (disk / "model").iterdir()] == ["new"]
    assert (disk / "table.md").read_text() == (disk / "new.md").read_text() == "new"
    assert sorted(path.name for path in disk.iterdir()) == ["model", "new.md", "table.md"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        write_model(tmp_path / "model", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750


def test_the_later_of_two_writers_wins(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.txt") as outer:
        outer.write_text("later")
        write_text(tmp_path / "a.txt", "earlier")
    assert (tmp_path / "a.txt").read_text() == "later"
    with written_whole(tmp_path / "model") as outer:
        outer.mkdir()
        (outer / "later").touch()
        write_model(tmp_path / "model", "earlier")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["later"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "out", "kept")
    with pytest.raises(InputError, match=r"out: cannot be written \(Is a directory\)"):
        write_text(tmp_path / "out", "x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def killed_half_way(folder: str) -> None:
    with written_whole(Path(folder) / "a.png") as first, written_whole(Path(folder) / "model") as second:
        first.write_text("half")
        second.mkdir()
        (second / "part").write_text("half")
        os._exit(1)


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    process = get_context("fork").Process(target=killed_half_way, args=(str(tmp_path),))
    process.start()
    process.join()
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "b.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_the_unfinished_file_of_another_writer_stays(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.txt") as beside:
        beside.write_text("whole")
        files._SWEPT.clear()
        write_text(tmp_path / "b.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "name an output that can be written to")]
)
def test_a_full_or_read_only_disk_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(InputError, match=rf"a\.txt: cannot be written \({os.strerror(code)}\); {remedy}"):
        write_text(tmp_path / "a.txt", "x")


def test_the_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    """Weights that differ only after the first mebibyte must have different digests."""
    path = tmp_path / "weights"
    content = bytearray(5 * 2**20)
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
    for place in (2**20, len(content) - 1):
        before = sha256(path)
        content[place] ^= 1
        path.write_bytes(content)
        assert sha256(path) != before
