"""What `preprocess_sift` writes, and how it goes on after a stop."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from preprocess_sample import FULL, PUBLISHED, configuration

from siftvton.commands.preprocess_sift import preprocess_sift
from siftvton.correspondence import MATCHERS, KeyPointMatches, KeyPoints, read_matches
from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.regions import Region, densepose_labels
from siftvton.data import match_jobs
from siftvton.data.match_counts import left_after
from siftvton.data.match_jobs import Job, Outcome
from siftvton.errors import UsageError
from siftvton.files import read_image, write_image


def without_side_pictures(root: Path) -> None:
    for folder in (root / "train").iterdir():
        if folder.name not in ("image", "cloth"):
            shutil.rmtree(folder)


# What is written


def test_the_published_matches_are_written_with_their_record_and_previews(root: Path) -> None:
    returned = preprocess_sift(configuration(root, None, preview=1, frame=FULL))
    output = root / "train" / "sift_matching"
    for person, published in PUBLISHED.items():
        matches = read_matches(output / f"{person}_sift_matches.json", (512, 384))
        np.testing.assert_allclose(np.stack([matches.person, matches.garment], 1), published, atol=0.01)
    saved = yaml.safe_load((output / "preprocess_sift.yaml").read_text())
    assert (saved["output"], saved["preset"], saved["data"]["root"]) == (str(output), "published", str(root))
    assert [path.name for path in (output / "previews").iterdir()] == ["a_00.jpg"]
    assert read_image(output / "previews" / "a_00.jpg").shape == (512, 2 * 384 + 8, 3)
    assert (output / "previews.jpg").is_file()
    report = (output / "matches.md").read_text()
    assert returned == report
    assert "2 pairs, 2 with a match (100.0%)" in report
    assert "densepose 2, agnostic mask 2, parsing 2, garment mask 0" in report


def test_a_densepose_label_map_gives_the_published_matches(root: Path, output: Path) -> None:
    for person in PUBLISHED:
        path = root / "train" / "image-densepose" / f"{person}.png"
        write_image(path, densepose_labels(read_image(path)))
    preprocess_sift(configuration(root, output, frame=FULL))
    for person, published in PUBLISHED.items():
        matches = json.loads((output / f"{person}_sift_matches.json").read_text())
        np.testing.assert_allclose(matches, published, atol=0.01)


def test_the_table_adds_up(root: Path, output: Path) -> None:
    preprocess_sift(configuration(root, output, frame=FULL))
    rows = [line.strip("| ").split(" | ") for line in (output / "matches.md").read_text().splitlines() if "|" in line]
    assert rows[0] == ["stage", "dropped", "left", "share left", "torso left", "right arm left", "left arm left"]
    stages = rows[2:]
    assert [row[0] for row in stages] == [
        *("ratio test", "angle", "scale", "colour", "duplicate", "homography", "direction"),
        *("neighbour garment", "neighbour person", "minimum"),
    ]
    assert int(stages[-1][2]) == sum(len(matches) for matches in PUBLISHED.values())
    before = int(stages[0][2])
    for _, dropped, left, _, *regions in stages[1:]:
        assert int(left) == before - int(dropped) == sum(map(int, regions))
        before = int(left)
    assert float(stages[-1][3].rstrip("%")) == pytest.approx(100 * before / int(stages[0][2]), abs=0.06)


def test_a_stage_that_did_not_run_left_what_was_there() -> None:
    many = {"ratio": 40, "angle": 30, "scale": 30, "colour": 30, "duplicate": 20, "homography": 18, "minimum": 18}
    few = {"ratio": 9, "angle": 9, "scale": 8, "colour": 8, "duplicate": 8, "direction": 5}
    few |= {"neighbour_garment": 5, "neighbour_person": 1, "minimum": 0}
    totals = left_after([{"torso": many}, {"torso": few, "left_arm": few}], PRESETS["published"])
    assert [left["torso"] for left in totals.values()] == [49, 39, 38, 38, 28, 26, 23, 23, 19, 18]
    assert [left["left_arm"] for left in totals.values()] == [9, 9, 8, 8, 8, 8, 5, 5, 1, 0]
    assert {left["whole"] for left in totals.values()} == {0}


@pytest.mark.parametrize("preset", ["published", "paper"])
def test_photos_alone_are_matched_as_whole_pictures(root: Path, output: Path, preset: str) -> None:
    without_side_pictures(root)
    preprocess_sift(configuration(root, output, preset=preset, frame=FULL))
    report = (output / "matches.md").read_text()
    assert "densepose 0, agnostic mask 0, parsing 0, garment mask 0" in report
    assert "| share left | whole left |" in report
    assert len(read_matches(output / "a_00_sift_matches.json", (512, 384))) > 10
    assert ("| colour |" in report) == (preset == "published")


def test_the_garment_is_the_worn_one_whatever_the_list_pairs(root: Path, output: Path) -> None:
    (root / "train_pairs.txt").write_text("a_00.jpg b_00.jpg\n")
    preprocess_sift(configuration(root, output, frame=FULL))
    matches = json.loads((output / "a_00_sift_matches.json").read_text())
    np.testing.assert_allclose(matches, PUBLISHED["a_00"], atol=0.01)
    assert not (output / "b_00_sift_matches.json").exists()


def test_a_pair_without_a_match_is_not_a_failure(root: Path, output: Path) -> None:
    write_image(root / "train" / "cloth" / "b_00.jpg", np.full((512, 384, 3), 230, np.uint8))
    preprocess_sift(configuration(root, output, preview=2))
    assert json.loads((output / "b_00_sift_matches.json").read_text()) == []
    assert "2 pairs, 1 with a match (50.0%)" in (output / "matches.md").read_text()
    assert (output / "previews" / "b_00.jpg").is_file()


def test_a_set_without_any_match_has_a_table(root: Path, output: Path) -> None:
    for person in PUBLISHED:
        write_image(root / "train" / "cloth" / f"{person}.jpg", np.full((512, 384, 3), 230, np.uint8))
    preprocess_sift(configuration(root, output))
    assert "| minimum | 0 | 0 |" in (output / "matches.md").read_text()


def test_points_are_in_the_requested_frame(root: Path, output: Path) -> None:
    preprocess_sift(configuration(root, output, frame=[256, 192]))
    found = read_matches(output / "a_00_sift_matches.json", (256, 192)).resized((512, 384))
    person, garment = np.moveaxis(np.array(PUBLISHED["a_00"]), 1, 0)
    nearest = np.linalg.norm(found.person[:, None] - person, axis=2).argmin(axis=1)
    moved = found.garment - found.person - (garment - person)[nearest]
    assert np.median(np.linalg.norm(moved, axis=1)) < 12


def test_two_processes_write_what_one_writes(root: Path, tmp_path: Path) -> None:
    preprocess_sift(configuration(root, tmp_path / "one", preview=2))
    preprocess_sift(configuration(root, tmp_path / "two", preview=2, workers=2))
    for name in ("a_00_sift_matches.json", "b_00_sift_matches.json", "matches.md", "previews.jpg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# Stopping and continuing


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list to which each pair that is matched from now on is added."""
    done: list[str] = []
    process = match_jobs.process

    def noted(job: Job) -> Outcome:
        done.append(job.person_id)
        return process(job)

    monkeypatch.setattr(match_jobs, "process", noted)
    return done


def test_what_is_done_is_kept_and_still_counted(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preprocess_sift(configuration(root, output, preview=2))
    report = (output / "matches.md").read_text()
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output, preview=2))
    assert done == []
    assert (output / "matches.md").read_text() == report
    assert "2 of 2 pairs already done" in capsys.readouterr().out


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def drop_a_preview(output: Path) -> None:
    (output / "previews" / "b_00.jpg").unlink()


def cut_a_preview(output: Path) -> None:
    cut(output / "previews" / "b_00.jpg")


def in_the_counts(old: str, new: str) -> Callable[[Path], None]:
    """Replace text in the line of b_00."""

    def damage(output: Path) -> None:
        record = output / "counts.jsonl"
        first, second = record.read_text().splitlines()
        assert old in second
        record.write_text(f"{first}\n{second.replace(old, new)}\n")

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda output: (output / "b_00_sift_matches.json").unlink(),
        lambda output: cut(output / "b_00_sift_matches.json"),
        lambda output: cut(output / "counts.jsonl"),
        drop_a_preview,
        cut_a_preview,
        in_the_counts('"minimum"', '"minimun"'),
        in_the_counts('"ratio": ', '"ratio": 0'),
        in_the_counts('"ratio": ', '"ratio": -'),
        in_the_counts('"ratio": ', '"ratio": 1e999, "x": '),
        in_the_counts('"minimum": ', '"minimum": 1'),
        in_the_counts('"torso"', '"torsi"'),
        in_the_counts('"regions": {', '"regions": [' + "[" * 100_000 + "{"),
        in_the_counts('"pair": "b_00"', '"pair": ["b_00"]'),
        lambda output: (output / "b_00_sift_matches.json").write_text("[]"),
    ],
    ids=[
        *("no file", "file cut short", "counts cut short", "no preview", "preview cut short", "another stage"),
        *("no number", "below 0", "infinite", "another number", "another region", "deep", "a list", "other matches"),
    ],
)
def test_what_is_missing_or_damaged_is_done_again(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    preprocess_sift(configuration(root, output, preview=2))
    report, matches = (output / "matches.md").read_text(), (output / "b_00_sift_matches.json").read_text()
    damage(output)
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output, preview=2))
    assert done == ["b_00"]
    assert (output / "b_00_sift_matches.json").read_text() == matches
    assert (output / "matches.md").read_text() == report
    preprocess_sift(configuration(root, output, preview=2))
    assert done == ["b_00"]


def test_a_stop_between_pairs_keeps_the_first(root: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = match_jobs.process

    def stopped(job: Job) -> Outcome:
        if job.person_id == "b_00":
            raise KeyboardInterrupt
        return process(job)

    with monkeypatch.context() as patch:
        patch.setattr(match_jobs, "process", stopped)
        with pytest.raises(KeyboardInterrupt):
            preprocess_sift(configuration(root, output))
    assert (output / "a_00_sift_matches.json").is_file()
    assert not (output / "matches.md").exists()
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output))
    assert done == ["b_00"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"preset": "paper"}, "preset: published -> paper"),
        ({"regions": "joint"}, "regions: separate -> joint"),
        ({"frame": [512, 384]}, r"data.matches_frame: \[256, 192\] -> \[512, 384\]"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(
    root: Path, output: Path, changes: dict[str, object], shown: str
) -> None:
    preprocess_sift(configuration(root, output))
    before = {path: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(UsageError, match=shown):
        preprocess_sift(configuration(root, output, **changes))
    assert {path: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.parametrize("saved", ["with the key", "before the key existed"])
def test_a_folder_of_another_matcher_is_refused(root: Path, output: Path, saved: str) -> None:
    preprocess_sift(configuration(root, output))
    path = output / "preprocess_sift.yaml"
    assert "matcher: sift\n" in path.read_text()
    if saved == "before the key existed":
        path.write_text(path.read_text().replace("matcher: sift\n", ""))
    with pytest.raises(UsageError, match=r"holds matches of other settings .*matcher: sift -> another"):
        preprocess_sift(configuration(root, output, matcher="another"))


def test_a_folder_from_before_the_key_matcher_can_be_continued(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess_sift(configuration(root, output))
    path = output / "preprocess_sift.yaml"
    path.write_text(path.read_text().replace("matcher: sift\n", ""))
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output))
    assert done == []
    assert "matcher: sift\n" in path.read_text()


def test_the_chosen_matcher_finds_the_matches(root: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def match(self, person: np.ndarray, garment: np.ndarray, areas: list[Region]) -> list[KeyPointMatches]:
            points = KeyPoints.at(np.zeros((0, 2)), person)
            return [KeyPointMatches(points, points, np.zeros(0)) for _ in areas]

    monkeypatch.setitem(MATCHERS, "nothing", Nothing)
    preprocess_sift(configuration(root, output, matcher="nothing"))
    assert json.loads((output / "a_00_sift_matches.json").read_text()) == []
    counts = json.loads((output / "counts.jsonl").read_text().splitlines()[0])["regions"]["torso"]
    assert "colour" in counts
    assert "angle" not in counts
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output, matcher="nothing"))
    assert done == []


def test_what_does_not_change_the_matches_may_differ(root: Path, output: Path) -> None:
    preprocess_sift(configuration(root, output))
    moved = root.rename(root.with_name("moved"))
    preprocess_sift(configuration(moved, output, preview=1, strict=True))
    assert (output / "previews" / "a_00.jpg").is_file()


def test_a_pair_whose_pictures_have_changed_is_matched_again(
    root: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the matches of other data with the same names, which counted as done."""
    path = root / "train" / "cloth" / "b_00.jpg"
    first = path.read_bytes()
    preprocess_sift(configuration(root, output))
    matches = (output / "b_00_sift_matches.json").read_text()
    write_image(path, read_image(path)[:, ::-1])
    assert path.stat().st_size != len(first)
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output))
    assert done == ["b_00"]
    assert (output / "b_00_sift_matches.json").read_text() != matches
    path.write_bytes(first)  # its earlier line in the counts is not that of the present file
    preprocess_sift(configuration(root, output))
    assert done == ["b_00", "b_00"]
    assert (output / "b_00_sift_matches.json").read_text() == matches
    preprocess_sift(configuration(root, output))
    assert done == ["b_00", "b_00"]


def test_counts_of_an_earlier_version_are_used(root: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess_sift(configuration(root, output))
    record = output / "counts.jsonl"
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    assert all(entry.pop("sizes") for entry in entries)
    record.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    done = counted(monkeypatch)
    preprocess_sift(configuration(root, output))
    assert done == []


def test_match_files_of_others_are_not_overwritten(root: Path, output: Path) -> None:
    output.mkdir()
    (output / "a_00_sift_matches.json").write_text("[]")
    with pytest.raises(UsageError, match=r"that this command did not make .*; use another folder"):
        preprocess_sift(configuration(root, output))
    assert [path.name for path in output.iterdir()] == ["a_00_sift_matches.json"]
