"""Weights are fetched at one revision, and their digest is compared."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import COMMIT, served

from siftvton.errors import InputError
from siftvton.files import sha256
from siftvton.hub import local
from siftvton.reproduction import weights
from siftvton.reproduction.config import Target
from siftvton.reproduction.weights import fetch


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with served(tmp_path / "cache", monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield


@pytest.mark.parametrize(
    ("source", "pinned"),
    [
        ("owner/release", f"hf://owner/release@{COMMIT}"),
        ("owner/release@v1", f"hf://owner/release@{COMMIT}"),
        ("hf://owner/release/other.safetensors", f"hf://owner/release@{COMMIT}/other.safetensors"),
    ],
)
def test_the_first_run_records_revision_and_digest(hub, tmp_path: Path, source: str, pinned: str):
    first = fetch(Target(source), "sift_vton", tmp_path / "out")
    assert (first.revision, first.pinned) == (COMMIT, pinned)
    assert first.sha256 == sha256(first.path)
    assert json.loads((tmp_path / "out" / "weights.json").read_text())["sha256"] == first.sha256
    again = fetch(Target(source), "sift_vton", tmp_path / "out")
    assert (again.pinned, again.sha256) == (pinned, first.sha256)
    assert "weights.json" in again.checked


def test_later_runs_ask_for_the_recorded_revision(hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fetch(Target("owner/release"), "sift_vton", tmp_path / "out")
    asked = []
    monkeypatch.setattr(weights, "local", lambda source: asked.append(source) or local(source))
    fetch(Target("owner/release"), "sift_vton", tmp_path / "out")
    assert asked == [f"hf://owner/release@{COMMIT}"]


def test_a_folder_of_the_hub_is_found(hub, tmp_path: Path):
    found = fetch(Target("owner/folder"), "sift_vton", tmp_path / "out")
    assert found.pinned == f"hf://owner/folder@{COMMIT}"
    assert Path(found.path).is_dir()


def test_a_stated_digest_is_compared(tmp_path: Path):
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"weights")
    found = fetch(Target(str(file), sha256=sha256(file).upper()), "stableviton", tmp_path / "out")
    assert (found.revision, found.pinned) == (None, str(file))
    assert found.checked == "stableviton.sha256, from the configuration"


def test_another_digest_than_the_stated_one_is_one_line(tmp_path: Path):
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"weights")
    with pytest.raises(InputError) as error:
        fetch(Target(str(file), sha256="d4e44bc5" * 8), "stableviton", tmp_path / "out")
    assert str(error.value) == (
        f"{file}: its SHA-256 begins with {sha256(file)[:8]}, but stableviton.sha256 says d4e44bc5; delete it and get "
        "it again, or correct stableviton.sha256"
    )
    assert not (tmp_path / "out").exists()


def test_another_file_than_in_the_first_run_is_one_line(tmp_path: Path):
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"weights")
    fetch(Target(str(file)), "sift_vton", tmp_path / "out")
    file.write_bytes(b"others")
    with pytest.raises(InputError, match=r"weights\.json says .*; delete it and get it again, or use another output$"):
        fetch(Target(str(file)), "sift_vton", tmp_path / "out")


def test_a_record_of_other_weights_is_refused(tmp_path: Path):
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_bytes(b"weights")
    fetch(Target(str(tmp_path / "a.ckpt")), "sift_vton", tmp_path / "out")
    with pytest.raises(InputError, match=r"belongs to the weights .*a\.ckpt, not .*b\.ckpt; use another output"):
        fetch(Target(str(tmp_path / "b.ckpt")), "sift_vton", tmp_path / "out")


@pytest.mark.parametrize("content", ["[]", '{"source": "x"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.json").write_text(content)
    with pytest.raises(InputError, match=r"weights\.json: is not a record of weights; delete it and run again"):
        fetch(Target(str(tmp_path)), "sift_vton", tmp_path / "out")
