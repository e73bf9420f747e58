"""DressCode's layout: which pairs each split and category has, and where their files are."""

from pathlib import Path

import pytest
from drawn_dresscode import NUMBERS, pair, write_dresscode

from siftvton.correspondence.regions import GARMENT_PARTS
from siftvton.data.config import HeldOutData
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts import CATEGORIES, layout_of
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT_MASK, IMAGE, POSE
from siftvton.data.layouts.dresscode import DressCode
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import Pair
from siftvton.data.readiness import inspect_part, parts_of, readiness_report
from siftvton.errors import InputError, UsageError
from siftvton.files import write_text

LISTS = ("train_pairs.txt", "test_pairs_paired.txt", "test_pairs_unpaired.txt")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dresscode(tmp_path / "dresscode")


def tried(person: str, garment: str) -> Pair:
    return Pair(f"{person}_0.jpg", f"{garment}_1.jpg")


def test_auto_recognises_both_layouts(data: Path, root: Path) -> None:
    assert isinstance(layout_of("auto", data), DressCode)
    assert isinstance(layout_of("auto", root), VitonHD)
    (data / "train" / "image").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"choose one by data\.layout=vitonhd or data\.layout=dresscode"):
        layout_of("auto", data)


def test_each_setting_has_a_test_list(data: Path) -> None:
    test = layout_of("auto", data).split("test")
    seconds = [second for _, second in NUMBERS.values()]
    assert test.pairs("paired") == [tried(name, name) for name in seconds]
    assert test.pairs("unpaired") == test.listed() == [tried(second, first) for first, second in NUMBERS.values()]
    assert [test.is_worn(each) for each in test.listed()] == [False] * 3
    assert test.matched_pairs() == test.pairs("paired")


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("kept", ["own lists", "root lists"])
def test_a_category_has_its_own_pairs_from_either_list(data: Path, category: str, kept: str) -> None:
    for name in LISTS:
        (data / name if kept == "own lists" else data / category / name).unlink()
    first, second = NUMBERS[category]
    layout = layout_of("dresscode", data, category=category)
    assert layout.split("train").listed() == [tried(first, first)]
    assert layout.split("test").pairs("unpaired") == [tried(second, first)]


def test_without_the_root_lists_all_categories_are_read_from_their_own(data: Path) -> None:
    expected = layout_of("dresscode", data).split("train").listed()
    assert len(expected) == 3
    (data / "train_pairs.txt").unlink()
    split = layout_of("dresscode", data).split("train")
    assert split.listed() == expected
    assert split.category("020201_1.jpg") == "dresses"


def test_a_person_never_gets_a_garment_of_another_category(data: Path) -> None:
    """In training lists everybody has the worn garment; unpaired means the next person's of the category."""
    lines = [(name, category) for category, names in enumerate(NUMBERS.values()) for name in names]
    mixed = [lines[place] for place in (0, 2, 4, 1, 3, 5)]
    write_text(data / "train_pairs.txt", "".join(f"{pair(name, name)}\t{category}\n" for name, category in mixed))
    split = layout_of("dresscode", data).split("train")
    partner = {name: other for first, second in NUMBERS.values() for name, other in ((first, second), (second, first))}
    assert split.pairs("unpaired") == [tried(name, partner[name]) for name, _ in mixed]


def test_validation_persons_are_drawn_from_the_training_list(data: Path) -> None:
    layout = layout_of("dresscode", data, validation_pairs=1)
    train, validation = (layout.split(name).listed() for name in ("train", "validation"))
    assert (len(train), len(validation)) == (2, 1)
    assert {*train, *validation} == set(layout.split("train").whole_folder())


def test_where_files_are(data: Path) -> None:
    split = layout_of("dresscode", data).split("test")
    folder = data / "lower_body"
    assert split.find(IMAGE, "020101_0.jpg") == folder / "images" / "020101_0.jpg"
    assert split.find(DENSEPOSE, "020101_0.jpg") == folder / "dense" / "020101_5.png"
    assert split.find(POSE, "020101_0.jpg") == folder / "keypoints" / "020101_2.json"
    assert split.find(AGNOSTIC_MASK, "020101_0.jpg") is None
    assert split.candidates(GARMENT_MASK, "020101_1.jpg")[0] == folder / "masks" / "020101_1.png"
    (folder / "dense" / "020101_5.png").rename(folder / "020101_0.png")
    (folder / "image-densepose").mkdir()
    (folder / "020101_0.png").rename(folder / "image-densepose" / "020101_0.png")
    assert split.find(DENSEPOSE, "020101_0.jpg") == folder / "image-densepose" / "020101_0.png"


def test_masks_in_a_given_folder_come_first(data: Path, tmp_path: Path, root: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    split = layout_of("auto", data, agnostic=given).split("test")
    assert split.candidates(AGNOSTIC_MASK, "020202_0.jpg") == [given / "dresses" / "agnostic_masks" / "020202_0.png"]
    assert split.candidates(AGNOSTIC, "020202_0.jpg") == [given / "dresses" / "agnostic" / "020202_0.png"]
    assert split.candidates(DENSEPOSE, "020202_0.jpg")[0].is_relative_to(data)
    vitonhd = layout_of("auto", root, agnostic=given).split("test")
    assert vitonhd.candidates(AGNOSTIC_MASK, "x_00.jpg")[0] == given / "test" / "agnostic-mask" / "x_00_mask.png"
    with pytest.raises(InputError, match=r"data\.agnostic=.*nowhere: no such folder"):
        layout_of("auto", data, agnostic=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        (
            "train_pairs.txt",
            "020001_0.jpg 020001_1.jpg 3",
            "line 1: the third column is '3', not a category; use 0 \\(",
        ),
        ("train_pairs.txt", "020001_0.jpg 020001_1.jpg", "line 1: the third column is '', not a category"),
        ("train_pairs.txt", "020001_1.jpg 020001_0.jpg 0", r"020001_1\.jpg does not end with _0 before its suffix"),
        ("train_pairs.txt", "020001_0.jpg", r"'020001_0\.jpg' is not two file names; write '013563_0\.jpg"),
        ("test_pairs_paired.txt", "020001_0.jpg 020001_1.jpg 2", "belongs to dresses, but .* puts it into upper_body"),
        ("train_pairs.txt", "", "contains no pair"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(data: Path, name: str, line: str, said: str) -> None:
    write_text(data / name, f"{line}\n")
    split = layout_of("dresscode", data).split("test" if name.startswith("test") else "train")
    with pytest.raises(InputError, match=said) as raised:
        split.pairs("paired")
    assert str(raised.value).startswith(str(data / name))
    assert "\n" not in str(raised.value)


def test_vitonhd_has_upper_bodies_only(root: Path) -> None:
    assert layout_of("auto", root, category="upper_body").split("test").category("x_00.jpg") == "upper_body"
    with pytest.raises(UsageError, match=r"data\.category=dresses is not allowed, since .* has only upper_body"):
        HeldOutData(root=str(root), category="dresses").open()


def test_every_category_has_regions_to_match() -> None:
    assert tuple(GARMENT_PARTS) == CATEGORIES


def test_check_data_says_where_masks_are_missing_and_how_to_make_them(data: Path) -> None:
    layout = layout_of("dresscode", data)
    parts = parts_of(layout, "test")
    for part in parts:
        inspect_part(part, layout, (256, 192), data, (256, 192))
    text, ready = readiness_report(data, parts)
    assert not ready
    assert "agnostic-mask: no such folder: 3 of 3; run scripts/prepare.py input=<data folder> layout=dresscode" in text
    assert f"  - {data / 'lower_body/agnostic_masks'}\n" in text
    assert "| evaluate (test, 3 pairs) | yes |  |" in text


def test_a_missing_mask_is_named_before_training(data: Path) -> None:
    split = layout_of("dresscode", data).split("train")
    with pytest.raises(InputError, match=r"upper_body/agnostic/020001_0\.png and 5 more files: no such file"):
        TryOnDataset(split, split.pairs("paired"), 128, 96).require_files()
