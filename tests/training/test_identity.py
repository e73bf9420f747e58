"""The data of a run: what may change between two starts, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from runs import metrics, run

from siftvton.data.layouts.base import DENSEPOSE, IMAGE, MATCHES
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.errors import InputError, UsageError
from siftvton.training.config import Train
from siftvton.training.loop import train


@pytest.fixture
def config(configuration, tmp_path: Path) -> Train:
    """A run with its own copy of the data, after two of four updates."""
    config = configuration(updates=2)
    shutil.copytree(config.data.root, tmp_path / "data")
    shutil.copytree(config.model.autoencoder, tmp_path / "vae")
    config.data.root, config.model.autoencoder = str(tmp_path / "data"), str(tmp_path / "vae")
    run(config)
    config.train.updates = 4
    return config


def train_folder(config: Train) -> Path:
    return Path(config.data.root) / "train"


def pairs(config: Train) -> list[str]:
    return [pair.person for pair in VitonHD(config.data.root, 2, 0).split("train").listed()]


def test_matches_with_other_content_are_refused(config, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (train_folder(config) / MATCHES).iterdir():
        (tmp_path / "empty" / path.name).write_text("[]")
    config.data.matches = str(tmp_path / "empty")
    with pytest.raises(
        UsageError, match=rf"holds a run with other data \(matches of {pairs(config)[0]} and 3 more\); restore"
    ):
        train(config)


def test_one_changed_match_file_is_named(config):
    name = pairs(config)[2]
    path = train_folder(config) / MATCHES / f"{Path(name).stem}_sift_matches.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    with pytest.raises(UsageError, match=rf"other data \(matches of {name}\); restore"):
        train(config)


def test_other_pairs_or_another_order_are_refused(config):
    path = Path(config.data.root) / "train_pairs.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[::-1]))
    with pytest.raises(UsageError, match=r"holds a run with other data \(pairs, "):
        train(config)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(UsageError, match=r"pairs \(4 before, 3 now\)"):
        train(config)


def test_another_autoencoder_in_the_same_place_is_refused(config):
    vae = AutoencoderKL.from_pretrained(config.model.autoencoder)
    with torch.no_grad():
        vae.quant_conv.bias[0] += 0.1
    vae.save_pretrained(config.model.autoencoder)
    with pytest.raises(UsageError, match=r"holds a run with other data \(autoencoder\); restore"):
        train(config)


def test_a_repaired_picture_is_used_and_another_set_of_pictures_is_refused(config, capsys):
    first = pairs(config)[0]
    path = train_folder(config) / IMAGE / first
    path.write_bytes(path.read_bytes() + b"\0")  # after the end of the JPEG data
    run(config)
    assert f"image of {first}: the file size has changed" in capsys.readouterr().out
    for name in pairs(config)[:3]:
        path = train_folder(config) / DENSEPOSE / name
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=rf"other data \(image-densepose of {first} and 2 more\); restore"):
        train(config)


def test_the_data_can_move_to_another_folder(config, tmp_path, configuration):
    shutil.move(config.data.root, tmp_path / "elsewhere")
    shutil.move(tmp_path / "elsewhere" / "train" / MATCHES, tmp_path / "matches")
    config.data.root, config.data.matches = str(tmp_path / "elsewhere"), str(tmp_path / "matches")
    assert metrics(run(config)) == metrics(run(configuration("straight", updates=4)))


def test_a_damaged_record_is_named(config):
    (Path(config.output) / "run.json").write_text('{"id": 1')
    with pytest.raises(InputError, match=r"run\.json: is damaged"):
        train(config)


@pytest.mark.parametrize(
    "entries",
    [
        {"pictures": None},
        {"pictures": {IMAGE: [1]}},
        {"pictures": {IMAGE: 4}},
        {"pairs": 4},
        {"matches": None},
        {"validation_pairs": {}},
    ],
)
def test_a_record_with_malformed_entries_counts_as_damaged(config, entries):
    path = Path(config.output) / "run.json"
    content = json.loads(path.read_text())
    content["data"] |= entries
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"run\.json: is damaged .*restore it from a copy"):
        train(config)
