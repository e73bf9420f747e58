from pathlib import Path

import numpy as np
import pytest

from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    WORN_MASK,
)
from siftvton.data.layouts.polarity import grey_shares, is_inverted, is_white
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import MATCHES_NOTE, matches_path, require_frame
from siftvton.data.pairs import Pair, in_setting, read_pairs
from siftvton.errors import InputError, UsageError
from siftvton.files import write_text


def pairs_text(names: list[str]) -> str:
    return "".join(f"{name}.jpg {name}.jpg\n" for name in names)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()


def persons(pairs: list[Pair]) -> list[str]:
    return [pair.person_id for pair in pairs]


def test_where_every_file_is(root: Path) -> None:
    """The names used by VITON-HD, the published matches and GP-VTON's parsing."""
    folder = VitonHD(root).split("train")
    expected = {
        IMAGE: "image/00006_00.jpg",
        AGNOSTIC: "agnostic-v3.2/00006_00.jpg",
        AGNOSTIC_MASK: "agnostic-mask/00006_00_mask.png",
        DENSEPOSE: "image-densepose/00006_00.jpg",
        GARMENT: "cloth/00006_00.jpg",
        GARMENT_MASK: "cloth-mask/00006_00.jpg",
        GARMENT_PARSING: "cloth_parse-bytedance/00006_00.png",
        WORN_MASK: "gt_cloth_warped_mask/00006_00.jpg",
        MATCHES: "sift_matching/00006_00_sift_matches.json",
    }
    for kind, path in expected.items():
        assert folder.candidates(kind, "00006_00.jpg")[0] == root / "train" / path
    assert matches_path("m", "00006_00.jpg") == Path("m/00006_00_sift_matches.json")


def test_side_pictures_may_be_png(root: Path) -> None:
    folder = VitonHD(root).split("train")
    assert folder.find(DENSEPOSE, "a_00.jpg") == root / "train" / "image-densepose" / "a_00.png"
    assert folder.require(WORN_MASK, "a_00.jpg").suffix == ".png"
    assert folder.find(IMAGE, "a_00.png") is None, "a photo has the name that the pair list gives"


def test_missing_file_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"train/cloth/z_00\.jpg: no such file"):
        VitonHD(root).split("train").require(GARMENT, "z_00.jpg")


def test_validation_is_read_from_train(root: Path) -> None:
    assert VitonHD(root).split("validation").folder == root / "train"
    assert VitonHD(root).split("test").folder == root / "test"


def test_unknown_split_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.split=val is not allowed; use one of train, validation, test"):
        VitonHD(tmp_path).split("val")
    with pytest.raises(InputError, match=r"train: no such folder; data/README"):
        VitonHD(tmp_path / "test").split("train")
    with pytest.raises(InputError, match=r"^data\.root=.*nothing: no such folder; data/README"):
        VitonHD(tmp_path / "nothing")


def test_pair_list(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a_00.jpg b_00.jpg\r\n\n  c_00.jpg\tc_00.jpg  \n")
    pairs = read_pairs(path)
    assert pairs == [Pair("a_00.jpg", "b_00.jpg"), Pair("c_00.jpg", "c_00.jpg")]
    assert pairs[0].result_id == "a_00_b_00"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no pair"),
        ("\n\n", "contains no pair"),
        ("a.jpg b.jpg\na.jpg\n", "line 2: 'a.jpg' is not two file names"),
        ("a.jpg b.jpg c.jpg", "line 1"),
        ("a b", "line 1"),
        ("../a.jpg b.jpg", "line 1"),
    ],
)
def test_bad_pair_list_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=f"pairs.txt.*{message}"):
        read_pairs(path)


def test_missing_pair_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train_pairs\.txt: no such pair list"):
        VitonHD(tmp_path).split("train").listed()


def test_the_split_depends_on_the_seed_is_disjoint_and_keeps_the_lists_order(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(20)]
    write_text(tmp_path / "train_pairs.txt", pairs_text(names))
    train = persons(VitonHD(tmp_path, 5, 1).split("train").listed())
    validation = persons(VitonHD(tmp_path, 5, 1).split("validation").listed())
    assert len(validation) == 5
    assert sorted(train + validation) == names
    assert train == sorted(train)
    assert validation == sorted(validation)
    assert validation == persons(VitonHD(tmp_path, 5, 1).split("validation").listed())
    assert validation != persons(VitonHD(tmp_path, 5, 2).split("validation").listed())
    assert VitonHD(tmp_path, 0, 1).split("validation").listed() == []


def test_the_split_leaves_a_pair_to_train_on(tmp_path: Path) -> None:
    write_text(tmp_path / "train_pairs.txt", pairs_text(["a", "b"]))
    with pytest.raises(UsageError, match=r"data\.validation_pairs=2 is not allowed, since .*has 2 pairs; use 0 to 1"):
        VitonHD(tmp_path, 2, 0).split("train").listed()


def test_the_authors_lists_come_first(tmp_path: Path) -> None:
    write_text(tmp_path / "train_pairs.txt", pairs_text(["a", "b", "c"]))
    write_text(tmp_path / "test_pairs.txt", pairs_text(["x"]))
    write_text(tmp_path / "siftvton_train_pairs.txt", pairs_text(["b"]))
    write_text(tmp_path / "siftvton_val_pairs.txt", pairs_text(["c"]))
    write_text(tmp_path / "siftvton_test_pairs.txt", pairs_text(["y"]))
    for split, expected in (("train", ["b"]), ("validation", ["c"]), ("test", ["y"])):
        assert persons(VitonHD(tmp_path, 1, 0).split(split).listed()) == expected


def test_the_pairs_of_a_folder_include_training_and_validation(tmp_path: Path) -> None:
    write_text(tmp_path / "siftvton_train_pairs.txt", pairs_text(["b"]))
    write_text(tmp_path / "siftvton_val_pairs.txt", pairs_text(["c"]))
    assert persons(VitonHD(tmp_path).split("train").whole_folder()) == ["b", "c"]
    write_text(tmp_path / "train_pairs.txt", pairs_text(["a", "b", "c"]))
    assert persons(VitonHD(tmp_path).split("train").whole_folder()) == ["a", "b", "c"]
    write_text(tmp_path / "test_pairs.txt", pairs_text(["x"]))
    assert persons(VitonHD(tmp_path).split("test").whole_folder()) == ["x"]


def test_settings() -> None:
    listed = [Pair("a.jpg", "b.jpg")]
    assert in_setting(listed, "unpaired", str) == listed
    assert in_setting(listed, "paired", str) == [Pair("a.jpg", "a.jpg")]
    with pytest.raises(UsageError, match="setting=both is not allowed; use paired or unpaired"):
        in_setting(listed, "both", str)


def test_white_begins_at_128() -> None:
    np.testing.assert_array_equal(is_white(np.array([0, 127, 128, 255], np.uint8)), [False, False, True, True])


def test_polarity() -> None:
    photo = np.full((40, 30, 3), 220, np.uint8)
    white = np.zeros((40, 30), bool)
    white[10:30, 5:25] = True
    agnostic = np.where(white[:, :, None], np.uint8(128), photo)
    assert grey_shares(agnostic, white) == (1.0, 0.0)
    assert not is_inverted(agnostic, white)
    assert is_inverted(agnostic, ~white)
    everything, nothing = np.ones_like(white), np.zeros_like(white)
    assert grey_shares(agnostic, everything) == (400 / 1200, 0.0)
    assert grey_shares(agnostic, nothing) == (0.0, 400 / 1200)
    assert not is_inverted(np.full_like(photo, 128), everything), "the whole picture may be the region to paint"


def test_one_of_the_authors_lists_alone_is_refused(tmp_path: Path) -> None:
    """Guards persons in both parts: one of the lists was read, and the other part was drawn."""
    (tmp_path / "train_pairs.txt").write_text("a.jpg a.jpg\nb.jpg b.jpg\n")
    (tmp_path / "siftvton_val_pairs.txt").write_text("a.jpg b.jpg\n")
    for split in ("train", "validation"):
        with pytest.raises(
            InputError, match=r"siftvton_train_pairs\.txt: no such file, but the authors' other list exists"
        ):
            VitonHD(tmp_path, 1, 0).split(split).listed()


def test_a_list_of_worn_garments_is_exchanged_when_unpaired() -> None:
    worn = [Pair(f"{n}.jpg", f"{n}.jpg") for n in range(3)]
    assert [pair.garment for pair in in_setting(worn, "unpaired", str)] == ["1.jpg", "2.jpg", "0.jpg"]
    tried = in_setting(worn, "unpaired", str)
    assert in_setting(tried, "unpaired", str) == tried


# Names


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_lists_from_other_systems_are_read(tmp_path: Path, start: bytes, end: bytes) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes(start + end.join([b"a.jpg b.JPG", "ä_00.jpeg\u3000c.png".encode()]) + end)
    assert read_pairs(path) == [Pair("a.jpg", "b.JPG"), Pair("ä_00.jpeg", "c.png")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg b.jpg\n".encode("utf-16"), r"pairs\.txt: is saved as UTF-16; save it as UTF-8"),
        ("a.jpg b.jpg\nä.jpg b.jpg\n".encode("cp1252"), r"line 2: is not UTF-8; save the list as UTF-8"),
        ("a.jpg b.jpg\n\ufeffc.jpg b.jpg\n".encode(), r"line 2: .*has an invisible character \(U\+FEFF\)"),
        (b"a\0.jpg b.jpg\n", r"line 1: 'a\\x00\.jpg' has an invisible character \(U\+0000\); rename the file"),
        (b"con.jpg b.jpg\n", "line 1: 'con.jpg' is the name of a device on Windows"),
        (b"a.jpg LPT1.x.jpg\n", "line 1: 'LPT1.x.jpg' is the name of a device on Windows"),
        (b"a..jpg b.jpg\n", "line 1: 'a..jpg' has a dot before its suffix"),
        (b"image\\a.jpg b.jpg\n", r"line 1: .*has a backslash"),
        (b"a" * 250 + b".jpg b.jpg\n", "line 1: 'a+ is too long"),
        (b"p" * 130 + b".jpg " + b"g" * 130 + b".jpg\n", "line 1: the result would have a name of more than 255 bytes"),
    ],
)
def test_names_that_some_system_does_not_allow_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


def test_ids_of_124_letters_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"{'p' * 124}.jpg {'g' * 124}.jpg\n")
    assert len(read_pairs(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a.jpg b_c.jpg\na_b.jpg c.jpg\n",
            "line 2: a_b.jpg c.jpg and a.jpg b_c.jpg .*line 1. have the same result name",
        ),
        (
            "a.jpg x.jpg\nb.jpg x.jpg\na.png y.jpg\n",
            "line 3: a.png and a.jpg .*line 1. have the same name if suffix",
        ),
        ("a.jpg x.jpg\nb.jpg x.png\n", "line 2: x.png and x.jpg .*line 1. have the same name if suffix"),
        (
            "a.jpg x.jpg\nA.jpg y.jpg\n",
            "line 2: A.jpg and a.jpg .*line 1. have the same name .* case are ignored; rename one",
        ),
        ("a.jpg A.jpg\n", "line 1: A and a .*line 1. have the same name"),
        ("ä.jpg x.jpg\na\u0308.jpg y.jpg\n", "line 2: a\u0308.jpg and ä.jpg .*line 1. have the same name"),
    ],
)
def test_names_that_collide_are_refused_with_both_lines(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"pairs.txt, {message}"):
        read_pairs(path)


def test_a_pair_that_is_listed_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a.jpg b.jpg\nb.jpg b.jpg\na.jpg b.jpg\n")
    assert read_pairs(path) == [Pair("a.jpg", "b.jpg"), Pair("b.jpg", "b.jpg")]


def test_the_worn_garment_has_the_persons_id_whatever_the_suffix() -> None:
    listed = [Pair("x.jpg", "x.png"), Pair("y.jpg", "y.png")]
    assert in_setting(listed, "paired", str) == listed
    assert in_setting(listed, "unpaired", str) == [Pair("x.jpg", "y.png"), Pair("y.jpg", "x.png")]


def test_a_person_with_two_garments_wears_one() -> None:
    listed = [Pair("a.jpg", "b.jpg"), Pair("a.jpg", "a.png"), Pair("b.jpg", "c.jpg")]
    assert in_setting(listed, "paired", str) == [Pair("a.jpg", "a.png"), Pair("b.jpg", "b.jpg")]
    assert in_setting(listed, "unpaired", str) == listed


def test_exchanged_garments_must_not_give_two_results_the_same_name() -> None:
    listed = [Pair(f"{name}.jpg", f"{name}.jpg") for name in ("a", "b_c", "a_b", "c")]
    with pytest.raises(InputError, match=r"a_b\.jpg c\.jpg and a\.jpg b_c\.jpg .*have the same result name"):
        in_setting(listed, "unpaired", str)


# Suffixes


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP"])
def test_side_pictures_may_have_any_accepted_suffix(tmp_path: Path, suffix: str) -> None:
    kinds = (AGNOSTIC, DENSEPOSE, GARMENT, GARMENT_MASK, GARMENT_PARSING)
    for kind in (*kinds, WORN_MASK, AGNOSTIC_MASK):
        write_text(tmp_path / "test" / kind / f"a{'_mask' * (kind == AGNOSTIC_MASK)}{suffix}", "x")
    folder = VitonHD(tmp_path).split("test")
    for kind in (*kinds, WORN_MASK):
        assert folder.require(kind, "a.jpeg").name == f"a{suffix}"
    assert folder.require(AGNOSTIC_MASK, "a.jpeg").name == f"a_mask{suffix}"


def test_the_listed_name_comes_first_and_only_one_other_may_exist(tmp_path: Path) -> None:
    folder_of_kind = tmp_path / "test" / DENSEPOSE
    for suffix in (".png", ".jpeg"):
        write_text(folder_of_kind / f"a{suffix}", "x")
    folder = VitonHD(tmp_path).split("test")
    assert folder.find(DENSEPOSE, "a.png") == folder_of_kind / "a.png"
    with pytest.raises(
        InputError, match=r"image-densepose: a\.jpeg and a\.png belong to a\.jpg; keep only one of them"
    ):
        folder.find(DENSEPOSE, "a.jpg")


# The split


def test_the_split_draws_persons_not_lines(tmp_path: Path) -> None:
    """Guards persons in both parts: a list that names each person twice was split by lines."""
    lines = [f"{person:02d}.jpg {garment:02d}.jpg\n" for garment in (0, 1) for person in range(20)]
    write_text(tmp_path / "train_pairs.txt", "".join(lines))
    for seed in range(5):
        train = VitonHD(tmp_path, 10, seed).split("train").listed()
        validation = VitonHD(tmp_path, 10, seed).split("validation").listed()
        assert not set(persons(train)) & set(persons(validation))
        assert len(validation) == 10
        assert sorted(train + validation, key=str) == sorted(read_pairs(tmp_path / "train_pairs.txt"), key=str)


def test_at_least_the_requested_pairs_are_drawn_and_one_person_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "train_pairs.txt", "".join(f"{p}.jpg {g}.jpg\n" for p in "ab" for g in "uvw"))
    assert len(VitonHD(tmp_path, 1, 0).split("validation").listed()) == 3
    assert len(VitonHD(tmp_path, 3, 0).split("train").listed()) == 3
    with pytest.raises(UsageError, match=r"validation_pairs=4 is not allowed, since .*has 6 pairs; use 0 to 3"):
        VitonHD(tmp_path, 4, 0).split("train").listed()


def test_a_list_that_names_each_person_once_is_split_as_before(tmp_path: Path) -> None:
    """These eight were drawn when lines were split; a continued run must keep its split."""
    write_text(tmp_path / "train_pairs.txt", pairs_text([f"{number:02d}" for number in range(30)]))
    drawn = [int(person) for person in persons(VitonHD(tmp_path, 8, 3).split("validation").listed())]
    assert drawn == [3, 11, 12, 14, 20, 26, 27, 29]


def test_the_authors_lists_must_not_share_a_person(tmp_path: Path) -> None:
    write_text(tmp_path / "siftvton_train_pairs.txt", pairs_text(["a", "b"]))
    write_text(tmp_path / "siftvton_val_pairs.txt", "c.jpg c.jpg\nb.jpg c.jpg\n")
    for split in ("train", "validation"):
        with pytest.raises(
            InputError, match=r"val_pairs\.txt, line 2: b\.jpg is also in the training list .*train_pairs.*line 2"
        ):
            VitonHD(tmp_path).split(split).listed()


@pytest.mark.parametrize(
    "text", ["data: {matches_frame: [512, 384]}", "", "[", "data: 3", "data: {matches_frame: [a]}"]
)
def test_matches_of_the_same_or_an_unknown_frame_are_accepted(tmp_path: Path, text: str) -> None:
    require_frame(tmp_path, (512, 384))  # the authors' files do not say which frame
    (tmp_path / MATCHES_NOTE).write_text(text)
    require_frame(tmp_path, (512, 384))


def test_matches_of_another_frame_are_refused(tmp_path: Path) -> None:
    (tmp_path / MATCHES_NOTE).write_text("data:\n  matches_frame:\n  - 256\n  - 192\n")
    with pytest.raises(UsageError, match=r"measured in \[256, 192\].*use data\.matches_frame=\[256, 192\]"):
        require_frame(tmp_path, (512, 384))
    (tmp_path / "root" / "train").mkdir(parents=True)
    with pytest.raises(UsageError, match="measured in"):
        TryOnDataset(VitonHD(tmp_path / "root").split("train"), [], 512, 384, matches=tmp_path)
