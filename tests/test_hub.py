"""Weights from the hub by name; a local server stands in for the hub."""

import base64
import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_api

from siftvton import hub
from siftvton.errors import InputError
from siftvton.hub import claim, local, push

COMMIT = "0123456789" * 4
REPOSITORIES = {
    "owner/folder": {"model_index.json": b"{}", "unet/x.safetensors": b"unet", "unet/run.py": b"print(1)"},
    "owner/release": {"model.ckpt": b"release", "other.safetensors": b"other"},
    "owner/empty": {"README.md": b""},
}
OWN = "owner/own"
REFUSED = {
    "owner/gated": (403, "GatedRepo"),
    "owner/token": (401, ""),
    "owner/busy": (429, ""),
    "owner/down": (503, ""),
}
written: dict[str, bytes] = {}  # path -> content, in `OWN`


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        api = parts[0] == "api"
        name = "/".join(parts[2:4] if api else parts[:2])
        revision, rest = ("".join(parts[5:6]), []) if api else (parts[3], parts[4:])
        files = REPOSITORIES.get(name, {})
        error = ""
        if not files:
            error = "RepoNotFound"
        elif revision not in ("main", "v1", COMMIT):
            error = "RevisionNotFound"
        elif not api and "/".join(rest) not in files:
            error = "EntryNotFound"
        status, error = REFUSED.get(name, (404 if error else 200, error))
        content = b""
        if api and status == 200:
            tree = [{"type": "file", "path": file, "size": len(files[file]), "oid": COMMIT} for file in files]
            about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            content = json.dumps(tree if parts[4] == "tree" else about).encode()
        elif status == 200:
            content = files["/".join(rest)]
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        """Accept requests that create a repository or a commit; `written` holds the files."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        url = f"http://{self.headers['Host']}/{OWN}"
        if "Bearer" not in self.headers.get("Authorization", ""):
            self.send_response(401)
            answer: dict = {"error": "Invalid username or password."}
        else:
            self.send_response(200)
            answer = {"url": url, "name": OWN}
            if "/preupload/" in self.path:
                files = json.loads(content)["files"]
                answer = {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            elif "/commit/" in self.path:
                answer = {"commitUrl": f"{url}/commit/{COMMIT}", "commitOid": COMMIT}
                for line in map(json.loads, content.splitlines()):
                    if line["key"] == "file":
                        written[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        body = json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as own:
        threading.Thread(target=own.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{own.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(hf_api.api, "endpoint", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield
        own.shutdown()


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
