"""Which pictures are scored, and how they are read."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import picture

from siftvton.data.layouts.base import Split
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.pictures import Pictures, photos_of, results_of
from siftvton.files import write_image, write_text

PAIRS = [Pair("a.jpg", "x.jpg"), Pair("b.jpg", "y.jpg")]


def listed(root: Path, pairs: list[Pair]) -> Split:
    (root / "test").mkdir(exist_ok=True)
    write_text(root / "test_pairs.txt", "".join(f"{pair.person} {pair.garment}\n" for pair in pairs))
    return VitonHD(root).split("test")


@pytest.fixture
def folder(tmp_path):
    for name in ("b_y.png", "a_x.jpg"):
        write_image(tmp_path / "results" / name, picture(name))
    return tmp_path / "results"


def test_results_have_the_order_of_the_pair_list_and_other_files_are_ignored(folder):
    write_image(folder / "0_stray.jpg", picture("stray", height=32))
    write_image(folder / "deeper" / "a_x.jpg", picture("deeper"))
    found = results_of("ours", folder, listed(folder.parent, [PAIRS[1], PAIRS[0], PAIRS[1]]), "unpaired")
    assert [path.name for path in found.paths] == ["b_y.png", "a_x.jpg"]
    assert found.size == (64, 48)


def test_a_limit_does_not_change_anybodys_garment(folder):
    """A training list is paired: unpaired, each person wears the next person's garment, and the last the first's."""
    pairs = [Pair(f"{name}.jpg", f"{name}.jpg") for name in "pqr"]
    for name in ("p_q", "q_r", "r_p"):
        write_image(folder / f"{name}.png", picture(name))
    found = results_of("ours", folder, listed(folder.parent, pairs), "unpaired", limit=2)
    assert [path.name for path in found.paths] == ["p_q.png", "q_r.png"]


def test_missing_results_are_named_and_counted(folder):
    with pytest.raises(InputError, match=r"predictions\.ours: .*results lacks 1 of 3 results .*: c_z; scripts/infer"):
        results_of("ours", folder, listed(folder.parent, [*PAIRS, Pair("c.jpg", "z.jpg")]), "unpaired")


def test_many_missing_results_make_one_short_line(folder):
    pairs = [Pair(f"q{number}.jpg", "z.jpg") for number in range(9)]
    with pytest.raises(InputError, match=r"lacks 9 of 9 results .*: q0_z, q1_z, q2_z, q3_z, q4_z and 4 more;"):
        results_of("ours", folder, listed(folder.parent, pairs), "unpaired")


def test_results_of_the_other_setting_are_recognised(folder):
    with pytest.raises(InputError, match="all unpaired results are there: did you mean setting=unpaired"):
        results_of("ours", folder, listed(folder.parent, PAIRS), "paired")


def test_two_results_of_one_pair_are_refused(folder):
    write_image(folder / "a_x.png", picture("twice"))
    with pytest.raises(InputError, match=r"holds both a_x\.jpg and a_x\.png"):
        results_of("ours", folder, listed(folder.parent, PAIRS), "unpaired")


def test_a_result_of_another_size_is_named_with_both_sizes(folder):
    pairs = [*PAIRS, Pair("c.jpg", "z.jpg")]
    write_image(folder / "c_z.jpg", picture("wide", height=48, width=64))
    with pytest.raises(InputError, match=r"2 are 64×48, but c_z\.jpg is 48×64"):
        results_of("ours", folder, listed(folder.parent, pairs), "unpaired")


def test_a_truncated_and_a_grey_result_are_refused(folder):
    path = folder / "a_x.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a_x\.jpg: cannot be decoded"):
        results_of("ours", folder, listed(folder.parent, PAIRS), "unpaired")
    write_image(path, picture("grey")[:, :, 0])
    with pytest.raises(InputError, match=r"a_x\.jpg: the picture has mode L"):
        results_of("ours", folder, listed(folder.parent, PAIRS), "unpaired")


def test_file_names_of_other_methods_are_given_as_a_path_with_fields(folder):
    for person in "ab":
        write_image(folder / "try" / f"{person}.png", picture(person))
    found = results_of("ladi", folder / "try" / "{person}.png", listed(folder.parent, PAIRS), "unpaired")
    assert [path.name for path in found.paths] == ["a.png", "b.png"]
    found = results_of("vit", folder / "{person}_{garment}.jpg", listed(folder.parent, PAIRS[:1]), "unpaired")
    assert [path.name for path in found.paths] == ["a_x.jpg"]
    with pytest.raises(InputError, match=r"try lacks 1 of 2 results: c\.png; correct the path, or"):
        results_of(
            "ladi",
            folder / "try" / "{person}.png",
            listed(folder.parent, [PAIRS[0], Pair("c.jpg", "x.jpg")]),
            "unpaired",
        )
    with pytest.raises(InputError, match=r"names the same file for several pairs: a\.png; use both"):
        results_of(
            "ladi",
            folder / "try" / "{person}.png",
            listed(folder.parent, [PAIRS[0], Pair("a.jpg", "y.jpg")]),
            "unpaired",
        )


@pytest.mark.parametrize("place", ["{number}.png", "{person.png", "{}.png"])
def test_a_path_with_other_fields_is_refused(tmp_path, place):
    with pytest.raises(UsageError, match=r"predictions\.ladi=\{"):
        results_of("ladi", place, listed(tmp_path, PAIRS), "unpaired")


def test_a_missing_folder_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"predictions\.ours: .*nowhere: no such folder"):
        results_of("ours", tmp_path / "nowhere", listed(tmp_path, PAIRS), "unpaired")


def test_each_persons_photo_counts_once(tmp_path):
    for name in ("a.jpg", "b.jpg", "unlisted.jpg"):
        write_image(tmp_path / "test/image" / name, picture(name))
    photos = photos_of(VitonHD(tmp_path).split("test"), [*PAIRS, Pair("a.jpg", "y.jpg")])
    assert [path.name for path in photos.paths] == ["a.jpg", "b.jpg"]


def test_pictures_are_resized_as_floats_and_not_rounded_again(tmp_path):
    levels = picture("levels", height=48, width=64)
    write_image(tmp_path / "picture.png", levels)
    (found,) = [Pictures([tmp_path / "picture.png"], (40, 30))[0].numpy()]
    expected = cv2.resize(levels.astype(np.float64), (30, 40), interpolation=cv2.INTER_LINEAR) / 255
    assert found.shape == (3, 40, 30)
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)
    assert np.abs(255 * found - np.round(255 * found)).max() > 0.2
    np.testing.assert_array_equal(
        Pictures([tmp_path / "picture.png"], (48, 64))[0].numpy()[0], levels[:, :, 0] / np.float32(255)
    )


@pytest.mark.parametrize("place", ["{person!z}.jpg", "{person:>9}.jpg", "{person.x}.jpg", "{0}.jpg", "{nobody}.jpg"])
def test_a_field_with_a_format_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(
        UsageError, match=r"predictions\.a=.* is not allowed; use \{person\} and \{garment\}, without a format"
    ):
        results_of("a", tmp_path / place, listed(tmp_path, [Pair("a.jpg", "b.jpg")]), "unpaired")
