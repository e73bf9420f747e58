"""A local server that stands in for the Hugging Face hub."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_api

COMMIT = "0123456789" * 4
REPOSITORIES = {
    "owner/folder": {"model_index.json": b"{}", "unet/x.safetensors": b"unet", "unet/run.py": b"print(1)"},
    "owner/release": {"model.ckpt": b"release", "other.safetensors": b"other"},
    "owner/part": {"config.json": b"{}", "x.safetensors": b"part"},
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


@contextmanager
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let huggingface_hub use the server, and ``cache`` as its cache."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as own:
        threading.Thread(target=own.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{own.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(hf_api.api, "endpoint", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield
        own.shutdown()
