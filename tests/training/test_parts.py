"""The parts of a training that its configuration names."""

import shutil
from pathlib import Path

import pytest
from diffusers import AutoencoderTiny
from examples import tiny_autoencoder
from runs import metrics, run, weights

from siftvton.data.layouts.base import IMAGE
from siftvton.errors import InputError, UsageError
from siftvton.model import build
from siftvton.sampling.loading import load
from siftvton.training.loop import train
from siftvton.training.parts import model_parts, training_set


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


def test_a_named_autoencoder_takes_the_place_of_the_pretrained_one(configuration, tmp_path: Path):
    config = configuration("base", updates=1)
    base = run(config) / "model"
    tiny_autoencoder().save_pretrained(tmp_path / "tiny")
    config = configuration("swapped", updates=2, validate_every=2)
    config.model.pretrained, config.model.autoencoder = str(base), None
    own, *_ = model_parts(config)
    config.model.autoencoder = str(tmp_path / "tiny")
    swapped, network, _ = model_parts(config)
    assert type(own) is not type(swapped) is AutoencoderTiny
    start = weights(base.parent)
    assert all((network.state_dict()[name] == value).all() for name, value in start.items())
    output = run(config)
    assert all(entry["sift"] > 0 for entry in metrics(output))
    assert isinstance(load(output / "model").vae, AutoencoderTiny)
    config.model.autoencoder = None
    with pytest.raises(UsageError, match=r"model\.autoencoder: .*tiny -> null"):
        train(config)


def test_an_autoencoder_with_other_latents_is_refused(configuration, tmp_path: Path):
    config = configuration("base", updates=1)
    config.model.pretrained = str(run(config) / "model")
    build.autoencoder([8, 16], 1, 8, latent_channels=6).save_pretrained(tmp_path / "six")
    config.model.autoencoder, config.output = str(tmp_path / "six"), str(tmp_path / "other")
    with pytest.raises(InputError, match=r"model\.autoencoder=.*six: has 6 latent channels, but the network has 4"):
        train(config)
    assert not (tmp_path / "other").exists()
