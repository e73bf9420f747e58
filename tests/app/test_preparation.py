"""Preparation of pictures that are in memory, which must do the same as preparation of files."""

from pathlib import Path

import numpy as np
import pytest

from siftvton.app.tryon import Preparation
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.draws import numpy_generator
from siftvton.errors import InputError
from siftvton.files import write_image
from siftvton.prepare.given import GivenSides


@pytest.fixture
def sides() -> GivenSides:
    """DensePose and mask of a torso in a photo of 96×128 pixels (height × width)."""
    labels, mask = np.zeros((96, 128), np.uint8), np.zeros((96, 128), np.uint8)
    labels[24:72, 48:80], mask[24:72, 48:80] = 2, 255
    return GivenSides(densepose=PART_COLOURS[labels], mask=mask)


def test_a_photo_in_memory_is_prepared_as_its_file_is(tmp_path: Path, sides: GivenSides):
    photo = numpy_generator(0, "photo").integers(0, 256, (96, 128, 3), dtype=np.uint8)
    paths = {name: tmp_path / f"{name}.png" for name in ("someone", "densepose", "mask")}
    for name, picture in {"someone": photo, "densepose": sides.densepose, "mask": sides.mask}.items():
        write_image(paths[name], picture)
    from_file = Preparation().person(paths["someone"], densepose=paths["densepose"], mask=paths["mask"])
    in_memory = Preparation().person_of(photo, sides, "someone")
    assert in_memory.name == from_file.name == "someone"
    assert np.array_equal(in_memory.photo, from_file.photo)
    assert in_memory.prepared.framing == from_file.prepared.framing
    for side in ("photo", "mask", "agnostic", "densepose"):
        assert np.array_equal(getattr(in_memory.prepared, side), getattr(from_file.prepared, side)), side


def test_a_garment_in_memory_is_prepared_as_its_file_is(tmp_path: Path):
    picture = np.full((64, 48, 3), 255, np.uint8)
    picture[16:48, 12:36] = 90
    write_image(tmp_path / "shirt.png", picture)
    from_file = Preparation().garment(tmp_path / "shirt.png")
    in_memory = Preparation().garment_of(picture, None, "shirt")
    assert in_memory.name == from_file.name == "shirt"
    assert np.array_equal(in_memory.prepared.picture, from_file.prepared.picture)
    assert np.array_equal(in_memory.prepared.mask, from_file.prepared.mask)


def test_an_error_names_the_source_or_else_the_name():
    dark, photo = np.zeros((64, 48, 3), np.uint8), np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(InputError, match=r"^shirt: has a dark or coloured background"):
        Preparation().garment_of(dark, None, "shirt")
    with pytest.raises(InputError, match=r"^camera: its joints are not known"):
        Preparation().person_of(photo, GivenSides(), "someone", "camera")
