"""A file of settings for a reproduction at toy size, and a way to run it as the command does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from stand_ins import HEIGHT, WIDTH

from siftvton.cli import load
from siftvton.reproduction.config import Reproduce

PAIRS = 3


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Keys of all commands; any SSIM from 0 on is within the tolerance."""
    path = tmp_path / "settings.yaml"
    figures = {
        "row": "a stand-in",
        "published": {"ssim": 0.9},
        "tolerance": {"ssim": 1.0},
        "reason": {"ssim": "a test"},
    }
    size = {"height": HEIGHT, "width": WIDTH, "matches_frame": [HEIGHT, WIDTH]}
    train = {"updates": 4, "batch_size": 1, "accumulation": 1, "mixed_precision": "no", "cpu": True}
    train |= {"workers": 0, "validate_every": 0, "validation_pictures": 1, "validation_steps": 2}
    content = {
        "settings": str(path),
        "data": {"root": str(tmp_path / "data"), "validation_pairs": 1, **size},
        "pairs": PAIRS,
        "preview": 0,
        "workers": 1,
        "steps": 2,
        "batch_size": 2,
        "format": "png",
        "device": "cpu",
        "execution": {"device": "cpu"},
        "supervision": {"layers": "all"},
        "train": train,
        "sift_vton": {"checkpoint": "owner/weights", **figures},
        "stableviton": {"checkpoint": "owner/weights", **figures, "sampling": "guidance=1"},
        "trained": figures,
        "output": str(tmp_path / "out"),
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def configuration(settings: Path) -> Callable[..., Reproduce]:
    """``configuration("key=value", ...)``."""
    return lambda *keys: load(Reproduce, settings, keys)
