"""The toy world on disk in DressCode's layout, read as training, preprocessing, prepare and evaluate_toy read it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from siftvton.commands.evaluate_toy import EvaluateToy, evaluate_toy
from siftvton.commands.make_toy_data import MakeToyData, make_toy_data
from siftvton.correspondence.regions import densepose_labels
from siftvton.data.config import HeldOutData
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts import CATEGORIES, layout_of
from siftvton.data.layouts.base import (
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    PARSING,
    WORN_MASK,
)
from siftvton.data.layouts.dresscode import DressCode
from siftvton.data.layouts.polarity import is_white
from siftvton.data.sides import read_densepose
from siftvton.errors import UsageError
from siftvton.files import read_grey, read_image, read_labels, write_image
from siftvton.prepare.dresscode import jobs_of, process
from siftvton.toy.exact_maps import read_map
from siftvton.toy.world.outfits import Clothing, category_at, dressed, sample_clothing
from siftvton.toy.world.whole import ATR_OF, render_whole
from siftvton.toy.world.write_dresscode import write_dresscode

SIZE = {"height": 256, "width": 192}
RESULT = (128, 96)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dresscode(folder, train_pairs=3, test_pairs=6, exact_map=True, workers=1, **SIZE)
    return folder


def test_every_file_reads_back_by_the_layout(world: Path) -> None:
    layout = layout_of("auto", world)
    assert isinstance(layout, DressCode)
    for name, count in (("train", 3), ("test", 6)):
        split = layout.split(name)
        pairs = split.pairs("paired")
        assert [split.category(pair.person) for pair in pairs] == [category_at(index) for index in range(count)]
        for index, pair in enumerate(pairs[:3]):
            expected = render_whole(*dressed(0, name, index, sample_clothing(0, name, index)), **SIZE)
            for kind, picture in ((IMAGE, expected.photo), (GARMENT, expected.garment)):
                found = read_image(split.require(kind, pair.person if kind == IMAGE else pair.garment))
                assert np.abs(found.astype(int) - picture).mean() < 6
            masks = (AGNOSTIC_MASK, expected.agnostic_mask), (WORN_MASK, expected.worn_mask)
            for kind, mask in masks:
                np.testing.assert_array_equal(is_white(read_grey(split.require(kind, pair.person))), mask)
            flat = is_white(read_grey(split.require(GARMENT_MASK, pair.garment)))
            np.testing.assert_array_equal(flat, expected.garment_mask)
            parts = read_labels(split.require(GARMENT_PARSING, pair.garment))
            np.testing.assert_array_equal(parts, expected.garment_parsing)
            clothes = read_labels(split.require(PARSING, pair.person))
            np.testing.assert_array_equal(clothes, ATR_OF[expected.parsing])
            body = densepose_labels(read_densepose(split.require(DENSEPOSE, pair.person)))
            np.testing.assert_array_equal(body, expected.densepose_labels)
            exact = read_map(world / "exact_map" / f"{pair.person_id}.npz")
            np.testing.assert_allclose(exact.astype(np.float32), expected.person_to_garment, atol=0.125)


def test_unpaired_garments_are_of_the_same_category_and_the_dataset_reads_them(world: Path) -> None:
    for category in ("all", *CATEGORIES):
        split = layout_of("auto", world, category=category).split("test")
        pairs = split.pairs("unpaired")
        assert len(pairs) == (6 if category == "all" else 2)
        assert all(pair.person_id[:-1] != pair.garment_id[:-1] for pair in pairs)
        assert all(split.category(pair.person) == split.category(pair.garment) for pair in pairs)
        assert TryOnDataset(split, pairs, *RESULT)[0].image.shape == (3, *RESULT)


def test_prepare_draws_the_same_masks_from_the_written_joints_and_labels(tmp_path: Path) -> None:
    write_dresscode(tmp_path / "world", train_pairs=3, test_pairs=6, workers=1)
    layout = DressCode(tmp_path / "world")
    split = layout.split("train")
    given = {pair.person_id: split.require(AGNOSTIC_MASK, pair.person) for pair in split.listed()}
    kept = {person: is_white(read_grey(path)) for person, path in given.items()}
    for path in given.values():
        path.unlink()
    (tmp_path / "masks").mkdir()
    for job in jobs_of(layout, tmp_path / "masks")[:3]:
        outcome = process(job)
        assert not outcome.failure
        drawn = is_white(read_grey(job.mask))
        assert (drawn & kept[job.id]).sum() >= 0.995 * (drawn | kept[job.id]).sum()


def test_results_are_scored_by_category(world: Path, tmp_path: Path) -> None:
    """Exact renderings are right; in lower bodies, the garment's neighbour is shown instead and is wrong."""
    split = layout_of("auto", world).split("test")

    def shown(person: int, garment: Clothing) -> np.ndarray:
        photo = render_whole(*dressed(0, "test", person, garment), **SIZE).photo
        return cv2.resize(photo, RESULT[::-1], interpolation=cv2.INTER_LINEAR)

    for pair in split.pairs("unpaired"):
        person, garment = (int(name[:6]) - 500_000 for name in (pair.person, pair.garment))
        wrong = split.category(pair.person) == "lower_body"
        picture = shown(person, sample_clothing(0, "test", person if wrong else garment))
        write_image(tmp_path / "results" / f"{pair.result_id}.png", picture)
    data = HeldOutData(root=str(world), height=RESULT[0], width=RESULT[1])
    config = EvaluateToy(
        data=data, predictions=str(tmp_path / "results"), others=1, output=str(tmp_path / "toy"), workers=1
    )
    table = evaluate_toy(config)
    report = json.loads((tmp_path / "toy" / "toy.json").read_text())
    assert report["results"] == 6
    assert set(report["categories"]) == set(CATEGORIES)
    assert all(report["categories"][category]["results"] == 2 for category in CATEGORIES)
    for category in ("upper_body", "dresses"):
        assert report["categories"][category]["colour_distance"]["value"] < 1
        assert f"\n{category}\n" in table
    assert report["categories"]["lower_body"]["colour_distance"]["value"] > 5


def test_the_command_refuses_too_few_pairs_and_another_world(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"test_pairs=5 is not allowed with layout=dresscode; use .* 6 or more"):
        make_toy_data(MakeToyData(layout="dresscode", output=str(tmp_path / "new"), train_pairs=1, test_pairs=5))
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match="another world"):
        make_toy_data(MakeToyData(output=str(world), train_pairs=1, test_pairs=6, **SIZE))
    with pytest.raises(UsageError, match="another world"):
        write_dresscode(world, train_pairs=3, test_pairs=6, seed=1, **SIZE)
    (tmp_path / "dresses").mkdir()
    with pytest.raises(UsageError, match="data other than a toy world"):
        write_dresscode(tmp_path, train_pairs=1, test_pairs=6, **SIZE)
