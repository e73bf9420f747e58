"""Body parts from a TorchScript program: only a known program runs, and it sees the photo as DensePose expects it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import Boxes, save_program

from siftvton.errors import InputError
from siftvton.files import sha256
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.models import Models, densepose
from siftvton.prepare.models.densepose import load_densepose

CPU = torch.device("cpu")
BLUE = (0, 0, 255)  # red first
PERSON = (30.0, 40.0, 70.0, 160.0)


def photo_of(person: tuple[float, ...], colour: tuple[int, int, int] = BLUE, height: int = 200, width: int = 90):
    photo = np.full((height, width, 3), 60, np.uint8)
    left, top, right, bottom = (int(edge) for edge in person)
    photo[top:bottom, left:right] = colour
    return photo


def expected(person: tuple[float, ...], upper: int, size: tuple[int, int]) -> np.ndarray:
    """The stand-in's answer: nothing in the left third, ``upper`` in the upper half, ``upper`` + 10 below."""
    left, top, right, bottom = (int(edge) for edge in person)
    labels = np.zeros(size, np.uint8)
    middle, third = (top + bottom) // 2, left + (right - left) // 3
    labels[top:middle, third:right] = upper
    labels[middle:bottom, third:right] = upper + 10
    return labels


@pytest.mark.parametrize(
    ("size", "person"),
    [
        ((200, 90), PERSON),
        ((90, 300), (200.0, 10.0, 240.0, 85.0)),  # wide, the person at the side
        ((1500, 900), (300.0, 200.0, 700.0, 1400.0)),  # larger than what the program sees
        ((200, 90), (20.0, 80.0, 90.0, 200.0)),  # cut off by the photo's edge
    ],
)
def test_parts_are_in_the_persons_place(models: Models, size: tuple[int, int], person: tuple[float, ...]):
    found = models.densepose(photo_of(person, height=size[0], width=size[1]), person)
    assert (found.shape, found.dtype) == (size, np.uint8)
    assert set(np.unique(found)) == {0, 1, 11}
    wrong = found != expected(person, 1, size)
    assert wrong.mean() < 0.03
    left, top, right, bottom = (int(edge) for edge in person)
    wrong[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
    assert not wrong.any()


@pytest.mark.parametrize(("colour", "part"), [(BLUE, 1), ((0, 255, 0), 2), ((255, 0, 0), 3)])
def test_the_program_sees_blue_first(models: Models, colour: tuple[int, int, int], part: int):
    """The stand-in answers with the number of the brightest channel."""
    assert set(np.unique(models.densepose(photo_of(PERSON, colour), PERSON))) == {0, part, part + 10}


def test_the_box_that_fits_the_person_is_used(models: Models):
    """The stand-in's first box, in the corner, is full of part 24."""
    assert 24 not in models.densepose(photo_of(PERSON), PERSON)


def test_a_person_that_the_program_does_not_find_is_an_error_of_one_line(models: Models):
    for photo, box in ((photo_of(PERSON, (60, 60, 60)), PERSON), (photo_of(PERSON), (0.0, 0.0, 40.0, 60.0))):
        with pytest.raises(InputError, match=r"^DensePose finds no person where the detector finds one; use a photo"):
            models.densepose(photo, box)


def test_an_unknown_program_is_not_run(config: ModelsConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.jit, "load", None)
    assert config.densepose is not None
    digest = sha256(config.densepose)
    for allowed in (None, "0" * 64):
        with pytest.raises(InputError) as caught:
            load_densepose(config.densepose, allowed, CPU)
        assert str(caught.value).startswith(f"models.densepose={config.densepose}: is a program, and not the known one")
        assert str(caught.value).endswith(f"if you trust this file, models.densepose_sha256={digest}")
        assert "\n" not in str(caught.value)


def test_the_known_program_and_an_allowed_one_are_run(config: ModelsConfig, monkeypatch: pytest.MonkeyPatch):
    assert config.densepose is not None
    load_densepose(config.densepose, sha256(config.densepose).upper(), CPU)
    monkeypatch.setattr(densepose, "DENSEPOSE_SHA256", sha256(config.densepose))
    load_densepose(config.densepose, None, CPU)


def test_another_program_is_refused_when_it_answers(config: ModelsConfig, tmp_path: Path):
    program = save_program(tmp_path / "other.pt", Boxes())
    other = replace(config, densepose=str(program), densepose_sha256=sha256(program))
    with pytest.raises(InputError, match=r"other\.pt: returns tensors of \(1, 4\), \(1,\), \(1,\), not boxes \(N, 4\)"):
        Models(other, CPU).densepose(photo_of(PERSON), PERSON)


def test_a_program_that_fails_is_an_error_of_one_line(config: ModelsConfig, tmp_path: Path):
    program = save_program(tmp_path / "other.pt", torch.nn.Linear(3, 3))
    other = replace(config, densepose=str(program), densepose_sha256=sha256(program))
    with pytest.raises(InputError, match=r"other\.pt: cannot be run \(.*; download or copy its files again"):
        Models(other, CPU).densepose(photo_of(PERSON), PERSON)


def test_a_file_that_is_no_program_is_an_error_of_one_line(tmp_path: Path):
    path = tmp_path / "other.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(
        InputError, match=r"other\.pt: cannot be loaded \(.*; download or copy its files again"
    ) as caught:
        load_densepose(str(path), sha256(path), CPU)
    assert "\n" not in str(caught.value)
