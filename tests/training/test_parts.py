"""The parts of a training that its configuration names."""

import shutil
from pathlib import Path

import pytest
from runs import run

from siftvton.data.layouts.base import IMAGE
from siftvton.errors import InputError, UsageError
from siftvton.training.loop import train
from siftvton.training.parts import training_set


def test_max_pairs_uses_the_first_pairs_and_requires_only_their_files(configuration, tmp_path: Path):
    config = configuration(updates=2)
    shutil.copytree(config.data.root, tmp_path / "data")
    config.data.root = str(tmp_path / "data")
    pairs = training_set(config).pairs
    for pair in pairs[2:]:
        (tmp_path / "data" / "train" / IMAGE / pair.person).unlink()
    with pytest.raises(InputError, match="no such file"):
        train(config)
    config.data.max_pairs = 2
    assert training_set(config).pairs == pairs[:2]
    run(config)
    config.data.max_pairs = 1
    with pytest.raises(UsageError, match=r"data\.max_pairs: 2 -> 1"):
        train(config)


def test_more_max_pairs_than_there_are_means_all(configuration):
    config = configuration()
    pairs = training_set(config).pairs
    config.data.max_pairs = 1000
    assert training_set(config).pairs == pairs
