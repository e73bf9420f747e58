from pathlib import Path

import pytest

from siftvton.app.gallery import MOST, gallery_of, toy_gallery
from siftvton.data.layouts.dresscode import DressCode
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.errors import InputError
from siftvton.files import read_image
from siftvton.toy.world.write import write_world
from siftvton.toy.world.write_dresscode import write_dresscode


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_world(tmp_path, train_pairs=1, test_pairs=3, height=128, width=96, workers=1)
    return tmp_path


def test_a_data_folder_offers_its_test_persons_and_garments_with_their_side_pictures(data: Path):
    gallery = gallery_of(VitonHD(data).split("test"))
    assert [person.name for person in gallery.persons] == ["00000_00", "00001_00", "00002_00"]
    assert sorted(garment.name for garment in gallery.garments) == ["00000_00", "00001_00", "00002_00"]
    assert all(person.sides.keys() == {"densepose", "mask"} for person in gallery.persons)
    assert all(garment.sides.keys() == {"mask"} for garment in gallery.garments)
    assert all(path.is_file() for person in gallery.persons for path in (person.picture, *person.sides.values()))


def test_side_pictures_may_be_missing_but_photos_may_not(data: Path):
    (data / "test/image-densepose/00001_00.jpg").unlink()
    (data / "test/cloth-mask/00001_00.jpg").unlink()
    gallery = gallery_of(VitonHD(data).split("test"))
    assert [len(person.sides) for person in gallery.persons] == [2, 1, 2]
    assert [len(garment.sides) for garment in gallery.garments] == [1, 0, 1]
    (data / "test/image/00002_00.jpg").unlink()
    with pytest.raises(InputError, match=r"image/00002_00\.jpg: no such file"):
        gallery_of(VitonHD(data).split("test"))


def test_the_toy_gallery_is_drawn_once(tmp_path: Path):
    drawn = toy_gallery(tmp_path)
    assert len(drawn.persons) == len(drawn.garments) == MOST
    assert read_image(drawn.persons[0].picture).shape == (512, 384, 3)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "test").rglob("*.*")}
    assert toy_gallery(tmp_path) == drawn
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "test").rglob("*.*")} == written


def test_for_another_category_a_person_has_joints_and_parsing_in_place_of_the_mask(data: Path):
    person = gallery_of(VitonHD(data).split("test")).persons[0]
    assert person.sides_for("upper_body") == person.sides
    assert person.sides_for("dresses").keys() == {"densepose", "pose", "parsing"}


def test_the_gallery_has_persons_and_garments_of_every_category_even_if_the_list_is_sorted_by_category(tmp_path: Path):
    write_dresscode(tmp_path, train_pairs=1, test_pairs=12, height=64, width=48, workers=1)
    pairs = tmp_path / "test_pairs_unpaired.txt"
    pairs.write_text("".join(sorted(pairs.read_text().splitlines(True), key=lambda line: line.split()[2])))
    gallery = gallery_of(DressCode(tmp_path).split("test"))
    in_turn = ["upper_body", "lower_body", "dresses"] * 3
    assert [person.category for person in gallery.persons] == in_turn[:MOST]
    assert sorted(garment.category for garment in gallery.garments) == sorted(in_turn[:MOST])
