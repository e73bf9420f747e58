from pathlib import Path

import pytest
from hub_stand_in import COMMIT, REPOSITORIES, served

from siftvton.data.matcher_weights import weights_folder
from siftvton.errors import InputError, UsageError


def test_a_folder_is_returned_unchanged(tmp_path: Path) -> None:
    assert weights_folder(str(tmp_path)) == tmp_path


def test_both_files_of_a_commit_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "run.py": b"print(1)"}
    monkeypatch.setitem(REPOSITORIES, "owner/matcher", files)
    with served(tmp_path / "cache", monkeypatch):
        monkeypatch.chdir(tmp_path)
        folder = weights_folder(f"owner/matcher@{COMMIT}")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            name: files[name] for name in ("config.json", "model.safetensors")
        }
        with pytest.raises(InputError, match=r"^matcher_weights=owner/release@.* and .* has no config\.json in"):
            weights_folder(f"owner/release@{COMMIT}")


@pytest.mark.parametrize("source", ["owner/name", "owner/name@main", "none", f"hf://owner/name@{COMMIT}/file"])
def test_a_source_without_a_commit_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match=f"matcher_weights={source}: no such folder; .* give owner/name@commit"):
        weights_folder(source)
