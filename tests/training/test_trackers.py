"""Trackers that cannot be used are refused, where accelerate leaves them out without a word."""

import runpy
from pathlib import Path

import pytest

from siftvton.config import Train
from siftvton.errors import UsageError
from siftvton.training import trackers


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard"])
    trackers.require_tracker(None)
    trackers.require_tracker("tensorboard")
    trackers.require_tracker("all")
    with pytest.raises(UsageError, match=r"^train\.tracker=wandb: its package is not installed; pip install wandb"):
        trackers.require_tracker("wandb")
    with pytest.raises(UsageError, match=r"^train\.tracker=paper: allowed are .*wandb"):
        trackers.require_tracker("paper")
    monkeypatch.setattr(trackers, "get_available_trackers", list)
    with pytest.raises(UsageError, match=r"^train\.tracker=all: its package is not installed"):
        trackers.require_tracker("all")


def test_training_does_not_begin_without_its_tracker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trackers, "get_available_trackers", list)
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "train.py"))
    config = Train()
    config.train.tracker = "wandb"
    with pytest.raises(UsageError, match=r"^train\.tracker=wandb: its package is not installed"):
        script["main"](config)
