import json
from pathlib import Path

import numpy as np
import pytest

from siftvton.correspondence import Correspondences, read_matches, write_matches
from siftvton.errors import InputError

FRAME = (512, 384)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00006_00_sift_matches.json"


def test_points_survive_a_round_trip_bit_by_bit(path: Path) -> None:
    person, garment = np.random.default_rng(0).uniform(0, 383, (2, 70, 2)).astype(np.float32).astype(np.float64)
    write_matches(path, Correspondences(person, garment, FRAME))
    read = read_matches(path, FRAME)
    np.testing.assert_array_equal(read.person, person)
    np.testing.assert_array_equal(read.garment, garment)
    assert read.frame == FRAME


def test_the_file_lists_person_then_garment_x_then_y(path: Path) -> None:
    write_matches(path, Correspondences(np.array([[1.5, 400.0]]), np.array([[3.0, 4.25]]), FRAME))
    assert json.loads(path.read_text()) == [[[1.5, 400.0], [3.0, 4.25]]]


def test_whole_numbers_are_read_as_well(path: Path) -> None:
    path.write_text("[[[10, 20], [30, 40]], [[1, 2.5], [3, 4]]]")
    assert read_matches(path, FRAME).person.tolist() == [[10, 20], [1, 2.5]]


def test_no_match_is_a_file_like_any_other(path: Path) -> None:
    write_matches(path, Correspondences.empty(FRAME))
    assert json.loads(path.read_text()) == []
    assert read_matches(path, FRAME).person.shape == (0, 2)


def test_points_that_round_into_the_frame_are_read(path: Path) -> None:
    path.write_text("[[[-0.5, 511.5], [383.5, -0.25]]]")
    assert len(read_matches(path, FRAME)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[[1, 2], [3, 4]], [[5, ", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[[[1, NaN], [3, 4]]]", "match 0"),
        ("[[[1, 2], [3, Infinity]]]", "match 0"),
        ("[[[1, 2], [3, 4]], [[1, 2], [3, 1e999]]]", "match 1"),
        ("[[[1, 2], [3, " + "9" * 400 + "]]]", "match 0"),
        ("{}", "holds a dict"),
        ("null", "holds a NoneType"),
        ("[[1, 2], [3, 4]]", "match 0"),
        ("[[[1, 2, 3], [4, 5, 6]]]", "match 0"),
        ("[[[1, 2]]]", "match 0"),
        ('[[["1", "2"], ["3", "4"]]]', "match 0"),
        ("[[[true, 2], [3, 4]]]", "match 0"),
        ("[7]", "match 0"),
        ("[[[1, 2], [384, 4]]]", "outside the frame of 512 × 384"),
        ("[[[1, 2], [3, 511.6]]]", "outside the frame"),
        ("[[[-0.6, 2], [3, 4]]]", "outside the frame"),
        ("[[[400, 2], [3, 4]]]", "data.matches_frame"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(path: Path, content: str, said: str) -> None:
    path.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        read_matches(path, FRAME)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_bytes_that_are_no_text_are_named(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00[")
    with pytest.raises(InputError, match="not valid JSON"):
        read_matches(path, FRAME)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_matches(path, FRAME)


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_matches(path, Correspondences.empty(FRAME))

    def full(self: Path, *arguments: object, **keywords: object) -> None:
        self.write_bytes(b"[[[1")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match=r"cannot be written \(no space"):
        write_matches(path, Correspondences(np.ones((1, 2)), np.ones((1, 2)), FRAME))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "[]"
