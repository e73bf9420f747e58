"""The numbers that `train.py --dry-run` prints about a run."""

import pytest

from siftvton.training.arithmetic import arithmetic


def test_images_updates_epochs_and_matches(configuration, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    config = configuration(supervision={"max_timestep": 499}, updates=10, batch_size=2, accumulation=4, dropout=0.2)
    assert arithmetic(config).splitlines() == [
        "2 images × 4 micro-batches × 3 processes = 24 images per update",
        "4 training pairs: 0.2 updates per epoch; 10 updates = 60.0 epochs, 240 images",
        "12.0 matches per image; 100% of the images have matches, 40% are supervised on average",
    ]


def test_one_of_each_is_in_the_singular(configuration):
    config = configuration(updates=1, batch_size=1, accumulation=1)
    config.data.max_pairs = 1
    assert arithmetic(config).splitlines()[:2] == [
        "1 image × 1 micro-batch × 1 process = 1 image per update",
        "1 training pair: 1.0 updates per epoch; 1 update = 1.0 epochs, 1 image",
    ]


def test_data_that_cannot_be_counted_are_named(configuration):
    config = configuration()
    config.data.matches = "nowhere"
    assert "nowhere" in arithmetic(config).splitlines()[2]
    config.data.root = "elsewhere"
    assert arithmetic(config).splitlines()[1].startswith("data.root=elsewhere: no such folder")


def test_max_pairs_are_counted(configuration):
    config = configuration(updates=2)
    config.data.max_pairs = 1
    assert arithmetic(config).splitlines()[1].startswith("1 training pair: 0.5 updates per epoch; 2 updates = 4.0")
