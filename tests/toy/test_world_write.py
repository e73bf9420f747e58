"""The toy world on disk, read as training and preprocessing read it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from siftvton.correspondence.regions import densepose_labels
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    PARSING,
    POSE,
    WORN_MASK,
)
from siftvton.data.layouts.polarity import is_white
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import read_pairs
from siftvton.errors import UsageError
from siftvton.files import read_grey, read_image, read_labels
from siftvton.prepare.joints import NAMES, read_openpose
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import render
from siftvton.toy.world.write import derangement, write_world

SIZE = {"height": 128, "width": 96}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, train_pairs=2, test_pairs=3, seed=5, exact_map=True, workers=1, **SIZE)
    return folder


def test_every_file_reads_back_by_the_layout(world: Path) -> None:
    for split, pairs in (("train", 2), ("test", 3)):
        listed = VitonHD(world).split(split).listed()
        assert len(listed) == pairs
        folder = VitonHD(world).split(split)
        for index, pair in enumerate(listed):
            expected = render(sample_person(5, split, index), sample_garment(5, split, index), **SIZE)
            files = {kind: folder.require(kind, pair.person) for kind in (
                IMAGE, DENSEPOSE, AGNOSTIC, AGNOSTIC_MASK, GARMENT,
                GARMENT_MASK, GARMENT_PARSING, WORN_MASK, PARSING, POSE,
            )}  # fmt: skip
            for kind, picture in ((IMAGE, expected.photo), (GARMENT, expected.garment)):
                assert np.abs(read_image(files[kind]).astype(int) - picture).mean() < 6
            for kind, mask in (
                (AGNOSTIC_MASK, expected.agnostic_mask),
                (GARMENT_MASK, expected.garment_mask),
                (WORN_MASK, expected.worn_mask),
            ):
                np.testing.assert_array_equal(is_white(read_grey(files[kind])), mask)
            np.testing.assert_array_equal(read_labels(files[GARMENT_PARSING]), expected.garment_parsing)
            np.testing.assert_array_equal(read_labels(files[PARSING]), expected.parsing)
            (joints,) = read_openpose(files[POSE])
            drawn = joints_of(sample_person(5, split, index), (SIZE["height"], SIZE["width"]))
            assert list(joints.points) == sorted(drawn.points, key=NAMES.index)
            for name, place in joints.points.items():
                assert place == pytest.approx(drawn.points[name], abs=1e-3)
            parts = densepose_labels(read_image(files[DENSEPOSE]))
            assert (parts == expected.densepose_labels).mean() > 0.9  # JPEG blurs the borders of parts this small


def test_training_pairs_are_paired_and_test_pairs_are_not(world: Path) -> None:
    assert all(pair.person == pair.garment for pair in read_pairs(world / "train_pairs.txt"))
    test = read_pairs(world / "test_pairs.txt")
    assert all(pair.person != pair.garment for pair in test)
    assert {pair.person for pair in test} == {pair.garment for pair in test} == {f"0000{i}_00.jpg" for i in range(3)}


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_derangement_moves_everyone(count: int) -> None:
    other = derangement(count, seed=1)
    assert sorted(other) == list(range(count))
    assert (other != np.arange(count)).all()


def test_the_exact_map_is_kept_to_a_quarter_pixel(world: Path) -> None:
    with np.load(world / "train" / "exact_map" / "00001_00.npz") as file:
        written = file["person_to_garment"]
    exact = render(sample_person(5, "train", 1), sample_garment(5, "train", 1), **SIZE).person_to_garment
    assert written.dtype == np.float16
    np.testing.assert_allclose(written.astype(np.float32), exact, atol=0.125)


def test_what_exists_is_kept_and_what_is_missing_is_written(tmp_path: Path) -> None:
    write_world(tmp_path, train_pairs=1, test_pairs=2, workers=1, **SIZE)
    photo, garment = (tmp_path / "train" / kind / "00000_00.jpg" for kind in (IMAGE, GARMENT))
    before = garment.read_bytes()
    photo.write_bytes(b"mine")
    garment.unlink()
    write_world(tmp_path, train_pairs=2, test_pairs=2, workers=1, **SIZE)
    assert photo.read_bytes() == b"mine"
    assert garment.read_bytes() == before
    assert (tmp_path / "train" / IMAGE / "00001_00.jpg").is_file()
    assert not list(tmp_path.rglob(".*"))
    assert not (tmp_path / "train" / "exact_map").exists()


def test_a_world_of_an_earlier_version_gets_its_joints_and_parsing(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "world")
    for kind in (PARSING, POSE):
        shutil.rmtree(tmp_path / "world" / "test" / kind)
    write_world(tmp_path / "world", train_pairs=2, test_pairs=3, seed=5, exact_map=True, workers=1, **SIZE)
    for name in (f"{PARSING}/00001_00.png", f"{POSE}/00001_00_keypoints.json"):
        assert (tmp_path / "world" / "test" / name).read_bytes() == (world / "test" / name).read_bytes()


def test_processes_write_the_same_files(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, train_pairs=2, test_pairs=3, seed=5, exact_map=True, workers=2, **SIZE)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert len(files) == 5 * 11 + 3
    assert all((tmp_path / path).read_bytes() == (world / path).read_bytes() for path in files)


def test_another_world_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another world"):
        write_world(world, train_pairs=2, test_pairs=3, seed=6, workers=1, **SIZE)
    (tmp_path / "train").mkdir()
    with pytest.raises(UsageError, match="data other than a toy world"):
        write_world(tmp_path, train_pairs=1, test_pairs=2, workers=1, **SIZE)
    with pytest.raises(UsageError, match="test_pairs=1"):
        write_world(tmp_path / "new", train_pairs=1, test_pairs=1, workers=1, **SIZE)
    assert not (tmp_path / "new").exists()


def test_the_script_writes_a_world_and_its_configuration(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "make_toy_data.py"
    keys = [f"output={tmp_path}", "train_pairs=1", "test_pairs=2", "height=64", "width=48", "workers=1"]
    done = subprocess.run([sys.executable, script, *keys], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train_pairs: 1" in (tmp_path / "make_toy_data.yaml").read_text()
    assert len(read_pairs(tmp_path / "test_pairs.txt")) == 2
    other = subprocess.run([sys.executable, script, *keys, "seed=1"], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "another world" in other.stderr
    assert "Traceback" not in other.stderr
