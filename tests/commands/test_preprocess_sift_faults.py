"""What `preprocess_sift` says about wrong pictures and folders, full disks and killed processes."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from preprocess_sample import FULL, PUBLISHED, configuration

from siftvton.commands.preprocess_sift import preprocess_sift
from siftvton.correspondence import read_matches
from siftvton.data import match_jobs
from siftvton.data.match_jobs import Job
from siftvton.errors import InputError, UsageError
from siftvton.files import read_image, write_image


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_grey(path: Path) -> None:
    assert cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def squash(path: Path) -> None:
    assert cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), (384, 384)))


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("image/a_00.jpg", cut_in_half, "cannot be decoded"),
        ("image/a_00.jpg", Path.unlink, "no such file"),
        ("image/a_00.jpg", make_grey, "mode L; convert it to RGB"),
        ("cloth/a_00.jpg", cut_in_half, "cannot be decoded"),
        ("cloth/a_00.jpg", Path.unlink, "no such file"),
        ("cloth/a_00.jpg", make_grey, "mode L; convert it to RGB"),
        ("image-densepose/a_00.png", cut_in_half, "cannot be decoded"),
        ("image-densepose/a_00.png", make_grey, "but is not a label map"),
        (
            "image-densepose/a_00.png",
            squash,
            "has different proportions from its photo (it is 384 × 384, the photo is 512 × 384, height × width)",
        ),
        ("agnostic-mask/a_00_mask.png", cut_in_half, "cannot be decoded"),
        ("agnostic-mask/a_00_mask.png", squash, "has different proportions from its"),
        ("cloth_parse-bytedance/a_00.png", squash, "has different proportions from its"),
    ],
)
def test_a_pair_that_fails_is_listed_and_the_others_are_done(
    root: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    path = root / "train" / name
    spoil(path)
    with pytest.raises(InputError, match="1 of 2 pairs failed") as error:
        preprocess_sift(configuration(root, output, preview=2))
    assert error.value.exit_code == 1
    (listed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("- ")]
    assert listed.startswith(f"- {path}: ")
    assert said in listed
    assert listed in (output / "matches.md").read_text()
    assert {file.name for file in output.iterdir()} == {
        *("b_00_sift_matches.json", "counts.jsonl", "matches.md", "preprocess_sift.yaml", "previews", "previews.jpg")
    }
    assert [file.name for file in (output / "previews").iterdir()] == ["b_00.jpg"]


def test_a_repaired_pair_is_done_by_the_same_command(root: Path, output: Path) -> None:
    path = root / "train" / "image" / "a_00.jpg"
    whole = path.read_bytes()
    cut_in_half(path)
    with pytest.raises(InputError):
        preprocess_sift(configuration(root, output))
    path.write_bytes(whole)
    preprocess_sift(configuration(root, output))
    assert len(read_matches(output / "a_00_sift_matches.json", (256, 192))) > 0
    assert "failed" not in (output / "matches.md").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_strict_stops_at_the_first_failure(root: Path, output: Path, workers: int) -> None:
    for person in PUBLISHED:
        cut_in_half(root / "train" / "image" / f"{person}.jpg")
    with pytest.raises(InputError, match=r"image/[ab]_00.jpg: cannot be decoded"):
        preprocess_sift(configuration(root, output, strict=True, workers=workers))
    assert not (output / "matches.md").exists()


def die(job: Job) -> None:
    os._exit(1)


def test_a_killed_process_is_reported(root: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match_jobs, "process", die)
    with pytest.raises(UsageError, match="workers=2: a process was killed"):
        preprocess_sift(configuration(root, output, workers=2))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: shutil.rmtree(root / "train"), "train: no such folder"),
        (lambda root: shutil.rmtree(root / "train" / "image"), "image: no such folder"),
        (lambda root: shutil.rmtree(root / "train" / "cloth"), "cloth: no such folder"),
        (lambda root: (root / "train_pairs.txt").unlink(), "train_pairs.txt: no such pair list"),
        (lambda root: (root / "train_pairs.txt").write_text("\n \n"), "train_pairs.txt: contains no pair"),
    ],
)
def test_a_root_that_lacks_something_is_refused_before_anything_is_written(
    root: Path, output: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(root)
    with pytest.raises(InputError, match=said):
        preprocess_sift(configuration(root, output))
    assert not output.exists()


def test_counts_that_are_not_a_file_are_refused(root: Path, output: Path) -> None:
    """Guards a pipe that blocked for ever."""
    output.mkdir()
    os.mkfifo(output / "counts.jsonl")
    with pytest.raises(InputError, match=r"counts\.jsonl: is a pipe"):
        preprocess_sift(configuration(root, output))


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("Insufficient memory")])
def test_a_frame_too_large_for_the_memory_is_listed(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(match_jobs, "match_regions", full)
    with pytest.raises(InputError, match="2 of 2 pairs failed"):
        preprocess_sift(configuration(root, output))
    assert "a_00.jpg: cannot be matched at 256 × 192 (" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["preprocess_sift.yaml", "b_00_sift_matches.json", "counts.jsonl", "matches.md"])
def test_a_full_disk_ends_the_run_in_one_line(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The disk is full from the file ``name`` on."""
    open_file, replace = Path.open, os.replace

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        return full() if path.name == name else open_file(path, *arguments, **options)

    def replaced(source: Path, target: Path) -> None:
        return full() if Path(target).name == name else replace(source, target)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "replace", replaced)
    with pytest.raises(InputError, match=rf"{name}: cannot be written \(No space left on device\); free some space"):
        preprocess_sift(configuration(root, output))


def test_side_pictures_with_two_files_are_listed(root: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / "train" / "image-densepose"
    for suffix in (".jpeg", ".JPG"):
        shutil.copy(folder / "a_00.png", folder / f"a_00{suffix}")
    with pytest.raises(InputError, match="1 of 2 pairs failed"):
        preprocess_sift(configuration(root, output))
    assert "belong to a_00.jpg; keep only one" in capsys.readouterr().out
    assert (output / "b_00_sift_matches.json").is_file()


def test_an_output_that_is_a_file_is_refused(root: Path, output: Path) -> None:
    output.write_text("a file")
    with pytest.raises(UsageError, match="matches: this folder cannot be made"):
        preprocess_sift(configuration(root, output))
    assert output.read_text() == "a file"


def test_a_side_picture_that_was_added_later_is_used(root: Path, tmp_path: Path) -> None:
    """Guards a report that counted a new side picture although the matches had been found without it."""
    parsing = root / "train" / "cloth_parse-bytedance"
    parsing.rename(tmp_path / "away")
    output = tmp_path / "matches"
    preprocess_sift(configuration(root, output, frame=FULL))
    before = {path.name: path.read_text() for path in output.glob("*.json")}
    (tmp_path / "away").rename(parsing)
    preprocess_sift(configuration(root, output, frame=FULL))
    assert {path.name: path.read_text() for path in output.glob("*.json")} != before
    sides = [json.loads(line)["sides"] for line in (output / "counts.jsonl").read_text().splitlines()]
    assert [("parsing" in names) for names in sides] == [False, False, True, True]


def test_an_inverted_mask_is_listed(root: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask_path = root / "train" / "agnostic-mask" / "a_00_mask.png"
    mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    photo = read_image(root / "train" / "image" / "a_00.jpg")
    write_image(
        root / "train" / "agnostic-v3.2" / "a_00.jpg", np.where(mask[..., None] > 127, 128, photo).astype("uint8")
    )
    preprocess_sift(configuration(root, output / "right"))
    write_image(mask_path, 255 - mask)
    with pytest.raises(InputError, match="1 of 2 pairs failed"):
        preprocess_sift(configuration(root, output / "wrong"))
    assert "a_00_mask.png: has the wrong polarity (0% of its white" in capsys.readouterr().out
