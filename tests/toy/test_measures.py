"""Scores against the exact rendering: exact results get perfect scores, others do not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from stand_ins import alexnet_state

from siftvton.commands.evaluate_toy import EvaluateToy, evaluate_toy
from siftvton.data.config import HeldOutData
from siftvton.data.pairs import read_pairs
from siftvton.errors import InputError, UsageError
from siftvton.files import read_image, write_image
from siftvton.toy import measures
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import render
from siftvton.toy.world.write import write_world

COUNT, SIZE = 4, (128, 96)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root, train_pairs=1, test_pairs=COUNT, height=256, width=192, workers=1)
    return root


def dressed(person: int, garment) -> np.ndarray:
    photo = render(sample_person(0, "test", person), garment, 256, 192).photo
    return cv2.resize(photo, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def score(world: Path, output: Path, look, **keys) -> dict:
    """Score results made by ``look(person, garment)``, which are pasted into the photo where it is painted."""
    for pair in read_pairs(world / "test_pairs.txt"):
        person, garment = (int(name[:5]) for name in (pair.person, pair.garment))
        photo = cv2.resize(read_image(world / "test" / "image" / pair.person), SIZE[::-1])
        mask = cv2.imread(str(world / "test" / "agnostic-mask" / f"{pair.person_id}_mask.png"), 0)
        painted = cv2.resize(mask, SIZE[::-1])[..., None] > 0
        write_image(output / "results" / f"{pair.result_id}.png", np.where(painted, look(person, garment), photo))
    data = HeldOutData(root=str(world), height=SIZE[0], width=SIZE[1])
    evaluate_toy(EvaluateToy(data=data, predictions=str(output / "results"), output=str(output), workers=1, **keys))
    return json.loads((output / "toy.json").read_text())


def test_a_world_with_another_seed_than_its_note_says_is_refused(world: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    note = copy / "world.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "seed": 1}))
    with pytest.raises(InputError, match=r"world\.json: says seed 1, but .*\.jpg is another drawing"):
        score(copy, tmp_path, lambda person, garment: dressed(person, sample_garment(0, "test", garment)))


def test_the_exact_rendering_is_right_in_everything(world: Path, tmp_path: Path):
    report = score(world, tmp_path, lambda person, garment: dressed(person, sample_garment(0, "test", garment)))
    printed = sum(sample_garment(0, "test", index).print != "plain" for index in range(COUNT))
    assert report["results"] == COUNT
    for name in ("print_closest_by_error", "print_closest_by_similarity", "print_closest_on_same_cloth"):
        assert report[name]["value"] == 1
        assert report[name]["cases"] == printed
    assert report["print_error"]["value"] < 1e-4  # by JPEG, at edges of the mask that show the photo
    assert report["colour_right"]["value"] == report["unchanged"]["value"] == 1
    assert (tmp_path / "toy_per_image.csv").read_text().count("\n") == COUNT + 1
    assert read_image(tmp_path / "toy.png").shape[1] == 4 * (192 + 8)
    assert "| prints closer to the right garment than" in (tmp_path / "toy.md").read_text()


@pytest.fixture
def alexnet(tmp_path: Path) -> str:
    torch.save(alexnet_state(), tmp_path / "stand-in.pth")
    return str(tmp_path / "stand-in.pth")


def test_lpips_inside_the_painted_area_is_small_for_the_exact_rendering(world: Path, tmp_path: Path, alexnet: str):
    def distance(shift: int) -> float:
        def look(person: int, garment: int) -> np.ndarray:
            return dressed(person, sample_garment(0, "test", (garment + shift) % COUNT))

        return score(world, tmp_path / str(shift), look, alexnet=alexnet)["perceptual_distance"]["value"]

    assert 0 <= distance(0) < 0.1 * distance(1)


def test_lpips_is_refused_where_it_cannot_be_computed(world: Path, tmp_path: Path, alexnet: str):
    small = HeldOutData(root=str(world), height=24, width=16)
    with pytest.raises(UsageError, match="alexnet: LPIPS requires pictures of at least 31 pixels on each side"):
        evaluate_toy(EvaluateToy(data=small, output=str(tmp_path), alexnet=alexnet))
    with pytest.raises(UsageError, match="alexnet: masks=all does not compute LPIPS"):
        evaluate_toy(EvaluateToy(masks="all", output=str(tmp_path), alexnet=alexnet))
    with pytest.raises(InputError, match=r"alexnet=.*missing\.pth"):
        evaluate_toy(EvaluateToy(data=small, output=str(tmp_path), alexnet=str(tmp_path / "missing.pth")))


def test_another_garment_is_wrong(world: Path, tmp_path: Path):
    def another(person: int, garment: int) -> np.ndarray:
        return dressed(person, sample_garment(0, "test", (garment + 1) % COUNT))

    report = score(world, tmp_path, another)
    assert report["print_closest_by_error"]["value"] < 0.5
    assert report["colour_right"]["value"] < 0.5
    assert report["print_error"]["value"] > 0.01


def test_cloth_without_its_print_has_a_print_error(world: Path, tmp_path: Path):
    def plain(person: int, garment: int) -> np.ndarray:
        return dressed(person, replace(sample_garment(0, "test", garment), print="plain"))

    report = score(world, tmp_path, plain)
    assert report["print_error"]["value"] > 0.005
    assert report["print_similarity"]["value"] < 0.9


def test_a_changed_background_shows(world: Path, tmp_path: Path):
    score(world, tmp_path, lambda person, garment: dressed(person, sample_garment(0, "test", garment)))
    path = next((tmp_path / "results").glob("*.png"))
    changed = read_image(path).copy()
    changed[0, 0] += 3
    write_image(path, changed)
    data = HeldOutData(root=str(world), height=SIZE[0], width=SIZE[1])
    evaluate_toy(EvaluateToy(data=data, predictions=str(tmp_path / "results"), output=str(tmp_path), workers=1))
    assert json.loads((tmp_path / "toy.json").read_text())["unchanged"]["value"] == pytest.approx(1 - 1 / COUNT)


def test_mistakes_are_named(world: Path, tmp_path: Path):
    data = HeldOutData(root=str(world), height=SIZE[0], width=SIZE[1])
    with pytest.raises(InputError, match=r"_00\.png: no such file, nor"):
        evaluate_toy(EvaluateToy(data=data, predictions=str(tmp_path), output=str(tmp_path)))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "test").mkdir(exist_ok=True)
    shutil.copy(world / "test_pairs.txt", tmp_path / "broken")
    (tmp_path / "broken" / "world.json").write_text("{")
    with pytest.raises(InputError, match=r"world\.json: not JSON"):
        evaluate_toy(EvaluateToy(data=replace(data, root=str(tmp_path / "broken")), output=str(tmp_path)))
    for content in (
        "[]",
        '{"seed": 0}',
        '{"seed": 0, "height": "8", "width": 8}',
        '{"seed": 0, "height": true, "width": 8}',
    ):
        (tmp_path / "broken" / "world.json").write_text(content)
        with pytest.raises(InputError, match=r"world\.json: lacks whole numbers seed, height, width"):
            evaluate_toy(EvaluateToy(data=replace(data, root=str(tmp_path / "broken")), output=str(tmp_path)))
    (tmp_path / "broken" / "world.json").write_text('{"seed": 0, "height": 1000000000, "width": 8}')
    with pytest.raises(InputError, match=r"world\.json: height and width must be 1 to 8192"):
        evaluate_toy(EvaluateToy(data=replace(data, root=str(tmp_path / "broken")), output=str(tmp_path)))
    (tmp_path / "broken" / "world.json").unlink()
    with pytest.raises(InputError, match=r"world\.json: no such file; use a data\.root"):
        evaluate_toy(EvaluateToy(data=replace(data, root=str(tmp_path / "broken")), output=str(tmp_path)))


def test_there_is_no_score_if_there_is_nothing_to_compare(world: Path, tmp_path: Path, monkeypatch):
    """Everything is painted, and the garment is nowhere visible: scores are None, not NaN and not an error."""
    photo = read_image(world / "test" / "image" / "00000_00.jpg", SIZE)
    pair = read_pairs(world / "test_pairs.txt")[0]
    write_image(tmp_path / f"{pair.result_id}.png", photo)
    item, truth = measures._item, measures._truth
    monkeypatch.setattr(measures, "_item", lambda case: replace(item(case), keep_mask=torch.zeros(1, *SIZE)))
    monkeypatch.setattr(
        measures, "_truth", lambda *given: (truth(*given)[0], np.zeros(SIZE, bool), np.zeros(SIZE, bool))
    )
    data = HeldOutData(root=str(world), height=SIZE[0], width=SIZE[1])
    evaluate_toy(EvaluateToy(data=data, predictions=str(tmp_path), limit=1, others=0, output=str(tmp_path / "out")))
    assert json.loads((tmp_path / "out" / "toy.json").read_text()) == {"results": 1}
    assert (tmp_path / "out" / "toy_per_image.csv").read_text().splitlines()[1].endswith(",,,,,,,")


def test_pairs_that_are_not_of_this_world_are_named(world: Path, tmp_path: Path):
    shutil.copytree(world, tmp_path / "world")
    (tmp_path / "world" / "test_pairs.txt").write_text("model_1.jpg model_1.jpg\n")
    data = HeldOutData(root=str(tmp_path / "world"), height=SIZE[0], width=SIZE[1])
    with pytest.raises(InputError, match=r"^model_1: is not a name of the toy world"):
        evaluate_toy(EvaluateToy(data=data, predictions=str(tmp_path), output=str(tmp_path / "out")))
