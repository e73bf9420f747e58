"""A second layout needs only a module and its registration; here its files are named like DressCode's."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from siftvton.data import layouts
from siftvton.data.config import HeldOutData
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts.base import AGNOSTIC_MASK, GARMENT, Layout, Split
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair, read_pairs

ENDINGS = {GARMENT: "_1.jpg", AGNOSTIC_MASK: "_3.png", "image-densepose": "_5.png", "agnostic-v3.2": "_6.jpg"}


class OneFolder(Layout):
    def _split(self, name: str) -> Split:
        return OneFolderSplit(name, self.folder(name))

    def folder(self, name: str) -> Path:
        return self.root / "images"


class OneFolderSplit(Split):
    def listed(self) -> list[Pair]:
        return read_pairs(self.folder.parent / f"{self.name}.txt")

    def whole_folder(self) -> list[Pair]:
        return self.listed()

    def worn_garment(self, person: str) -> str:
        return person.replace("_0.jpg", "_1.jpg")

    def candidates(self, kind: str, file_name: str) -> list[Path]:
        if kind == "sift_matching":
            return [matches_path(self.matches, file_name)]
        return [self.folder / f"{file_name[:-6]}{ENDINGS.get(kind, '_0.jpg')}"]


@pytest.fixture
def data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeldOutData:
    """The pictures of ``root`` in one folder, and the layout that finds them."""
    images = tmp_path / "other" / "images"
    images.mkdir(parents=True)
    for person in ("a_00", "b_00"):
        for kind, name in (
            ("image", f"{person}.jpg"),
            ("cloth", f"{person}.jpg"),
            ("agnostic-mask", f"{person}_mask.png"),
            ("image-densepose", f"{person}.png"),
            ("agnostic-v3.2", f"{person}.jpg"),
        ):
            shutil.copy(root / "train" / kind / name, images / f"{person[0]}{ENDINGS.get(kind, '_0.jpg')}")
    (images.parent / "test.txt").write_text("a_0.jpg b_1.jpg\nb_0.jpg b_1.jpg\n")
    module = ModuleType("one_folder")
    module.OneFolder = OneFolder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "one_folder", module)
    monkeypatch.setitem(layouts.LAYOUTS, "one_folder", ("one_folder", "OneFolder"))
    return HeldOutData(root=str(images.parent), layout="one_folder", height=96, width=72)


def test_settings_follow_the_layouts_own_rule_of_who_wears_what(data: HeldOutData) -> None:
    split = data.open().split("test")
    assert split.pairs("paired") == [Pair("a_0.jpg", "a_1.jpg"), Pair("b_0.jpg", "b_1.jpg")]
    assert split.pairs("unpaired") == split.listed()
    assert [split.is_worn(pair) for pair in split.listed()] == [False, True]


def test_a_dataset_reads_the_files_that_the_layout_names(data: HeldOutData) -> None:
    split = data.open().split("test")
    dataset = TryOnDataset(split, split.pairs("unpaired"), *data.size)
    dataset.require_files()
    first, second = dataset[0], dataset[1]
    assert first.garment.equal(second.garment)
    assert not first.image.equal(second.image)
