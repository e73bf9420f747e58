"""Weights from the hub by name; a local server stands in for the hub."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import OWN, served, written
from huggingface_hub import constants, hf_api

from siftvton import hub
from siftvton.errors import InputError
from siftvton.hub import PART, claim, local, push


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with served(tmp_path / "cache", monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield


def test_a_path_is_returned_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "hf_hub_download", None)
    assert local(tmp_path) == tmp_path


@pytest.mark.parametrize("source", ["owner/release", "owner/release@v1", "hf://owner/release"])
def test_the_checkpoint_of_a_release_is_found(server, source: str):
    path = local(source)
    assert path.name == "model.ckpt"
    assert path.read_bytes() == b"release"


@pytest.mark.parametrize("source", ["hf://owner/release/other.safetensors", "hf://owner/release@v1/other.safetensors"])
def test_one_file_is_found(server, source: str):
    assert local(source).read_bytes() == b"other"


def test_the_folder_of_a_pipeline_is_downloaded_without_programs(server):
    folder = local("owner/folder@v1")
    assert (folder / "unet" / "x.safetensors").read_bytes() == b"unet"
    assert not (folder / "unet" / "run.py").exists()


def test_the_folder_of_a_part_is_downloaded_if_a_part_is_asked_for(server):
    assert (local("owner/part", PART) / "x.safetensors").read_bytes() == b"part"
    with pytest.raises(InputError, match=r"has neither model_index\.json nor model\.ckpt"):
        local("owner/part")
    with pytest.raises(InputError, match=r"has neither config\.json nor model\.ckpt"):
        local("owner/empty", PART)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("owner/none", "has no public repository of that name"),
        ("owner/release@v2", "has no revision v2 of that repository"),
        ("owner/empty", r"has neither model_index\.json nor model\.ckpt in that repository"),
        ("hf://owner/release/no.ckpt", r"has no no\.ckpt in that repository"),
        ("hf://owner/a..b", "does not allow that name"),
    ],
)
def test_what_the_hub_does_not_have_is_named(server, source: str, message: str):
    with pytest.raises(InputError, match=f"^{source}: no such folder or file, and the Hugging Face hub {message}"):
        local(source)


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("owner/gated", "requires that you accept terms: do so at http.*/owner/gated, then run: hf auth login"),
        ("owner/token", "answers 401: it does not accept your token"),
        ("owner/busy", "answers 429: too many requests"),
        ("owner/down", "answers 503: try again later"),
    ],
)
@pytest.mark.parametrize("file", ["", "/other.safetensors"])
def test_a_refusal_of_the_hub_is_reported_with_its_reason(
    server, monkeypatch, repository: str, message: str, file: str
):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the library waits between attempts
    with pytest.raises(InputError, match=f"the Hugging Face hub {message}"):
        local(f"hf://{repository}{file}")


@pytest.mark.parametrize("source", ["owner/release", "owner/folder", "hf://owner/release/other.safetensors"])
def test_a_cache_that_cannot_be_written_is_named(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match=r"file.* cannot be written \(.*set HF_HOME to another folder$"):
        local(source)


def test_a_full_disk_is_named(server, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hub, "hf_hub_download", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); free some space"):
        local("owner/release")


def test_a_path_that_no_system_allows_is_an_error_of_one_line():
    for source in ("x" * 5000, "a\0b", "x" * 300 + "/y"):
        with pytest.raises(InputError, match="no such folder or file"):
            local(source)


@pytest.mark.parametrize("source", ["owner/release", "owner/folder", "hf://owner/release/other.safetensors"])
def test_a_missing_connection_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="hub cannot be reached; give a path"):
        local(source)


def _unreachable(monkeypatch: pytest.MonkeyPatch, cache: Path, address: str) -> list[float]:
    """Put the hub at an address where nothing answers; return the list of the library's waits, in seconds."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    return waits


@pytest.mark.parametrize("source", ["owner/name", "owner/name@v1", "hf://owner/name/other.safetensors"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-name.invalid"])
def test_a_hub_that_cannot_be_reached_is_not_waited_for(tmp_path, monkeypatch, source: str, address: str):
    waits = _unreachable(monkeypatch, tmp_path, address)
    with pytest.raises(InputError, match=f"^{source}: no such folder or file, and the Hugging Face hub cannot be rea"):
        local(source)
    assert waits == []


def test_files_in_the_cache_are_found_if_the_hub_cannot_be_reached(server, tmp_path, monkeypatch):
    sources = ("owner/release", "owner/folder", "hf://owner/release/other.safetensors")
    fetched = [local(source) for source in sources]
    waits = _unreachable(monkeypatch, tmp_path / "cache", "http://127.0.0.1:9")
    assert [local(source) for source in sources] == fetched
    assert waits == []


def test_downloaded_files_are_found_without_a_connection(server, monkeypatch: pytest.MonkeyPatch):
    sources = ("owner/release", "owner/folder", "hf://owner/release/other.safetensors")
    fetched = [local(source) for source in sources]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [local(source) for source in sources] == fetched


def test_a_path_that_cannot_be_a_repository_is_never_requested(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "hf_hub_download", None)
    with pytest.raises(InputError, match=r"^outputs/train/model: no such folder or file; checkpoints/README\.md"):
        local("outputs/train/model")


def test_a_missing_name_in_an_existing_folder_is_not_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "hf_hub_download", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    with pytest.raises(InputError, match=r"^outputs/modle: no such folder or file; .* give hf://outputs/modle$"):
        local("outputs/modle")


@pytest.mark.parametrize("source", ["outputs/base", "checkpoints/sift-vton", "data/toy@v1"])
def test_a_folder_of_the_documentation_is_not_an_owner(tmp_path, monkeypatch: pytest.MonkeyPatch, source: str):
    monkeypatch.setattr(hub, "hf_hub_download", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{source}: no such folder or file; .* give hf://{source}$"):
        local(source)


def test_a_folder_is_pushed_to_a_repository(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    written.clear()
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "unet" / "config.json").write_text("{}")
    claim(OWN)
    push(tmp_path / "model", OWN)
    assert written == {"unet/config.json": b"{}"}


def test_a_refused_upload_is_an_error_of_one_line(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match=f"^{OWN}: cannot be written to on the .*401.*to log in, run: hf auth login$"):
        claim(OWN)
    with pytest.raises(
        InputError, match=f"^{OWN}: cannot be written to on the .*401.*try again with: hf upload {OWN} .*model$"
    ):
        push(tmp_path / "model", OWN)
    monkeypatch.setattr(hf_api.api, "endpoint", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=f"^{OWN}: cannot be written to on the .*to log in, run: hf auth login$"):
        claim(OWN)
