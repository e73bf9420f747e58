"""The folders of golden values: the small files kept here and, if ``SIFTVTON_GOLDEN`` is set, the folder it names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDERS = [Path(__file__).parents[1] / "golden"]
if "SIFTVTON_GOLDEN" in os.environ:
    FOLDERS.append(Path(os.environ["SIFTVTON_GOLDEN"]))


@pytest.fixture(params=FOLDERS, ids=["kept", "SIFTVTON_GOLDEN"][: len(FOLDERS)])
def golden(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """``golden(name)`` is the path of a golden file or folder; the test is skipped if it does not exist."""

    def path(name: str) -> Path:
        if not (request.param / name).exists():
            pytest.skip(f"{name} is not among the kept golden files; set SIFTVTON_GOLDEN to a folder that has it")
        return request.param / name

    return path


@pytest.fixture
def photos() -> Path:
    """The folder of real pictures that ``SIFTVTON_PHOTOS`` names, which are licensed and not kept here."""
    if "SIFTVTON_PHOTOS" not in os.environ:
        pytest.skip("real pictures are not kept here; set SIFTVTON_PHOTOS to the folder that has them")
    return Path(os.environ["SIFTVTON_PHOTOS"])
