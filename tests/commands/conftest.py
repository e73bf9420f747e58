"""The sample of two pairs, in a folder of the test, and a folder for its matches."""

import shutil
from pathlib import Path

import pytest
from preprocess_sample import SAMPLE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two drawn pairs, a_00 and b_00, with DensePose, agnostic mask and parsing."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "data"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "matches"
