"""Fetch published weights, and make sure that they are the expected ones."""

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from siftvton.errors import InputError
from siftvton.files import is_file, read_json, sha256, write_json
from siftvton.hub import local, on_hub
from siftvton.reproduction.config import Target
from siftvton.sampling.loading import weights_digest

RECORD = "weights.json"  # file in the output folder: what the first run found


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    Attributes:
        source: what the configuration names.
        path: the local file or folder.
        revision: the commit on the hub that they come from; None: unknown, or not from the hub.
        sha256: of the file; of a folder, the digest of its files' digests.
        checked: what the digest was compared with.
    """

    source: str
    path: str
    revision: str | None
    sha256: str
    checked: str

    @property
    def pinned(self) -> str:
        """The source at the revision that was found."""
        return _at(self.source, self.revision)


def fetch(target: Target, key: str, output: Path) -> Weights:
    """Find or download the weights, and compare their digest.

    The first call in an output folder writes ``RECORD``. Later calls fetch the recorded revision and compare with the
    recorded digest.

    Args:
        target: names the weights.
        key: the configuration's section, for messages.

    Raises:
        InputError: the weights are missing, cannot be downloaded, or are not the expected ones; or the record is
            damaged.
    """
    assert target.checkpoint, f"{key}.checkpoint is null"
    source, record = target.checkpoint, output / RECORD
    before = _read(record) if is_file(record) else None
    if before is not None and before.source != source:
        raise InputError(f"{record}: belongs to the weights {before.source}, not {source}; use another output")
    path = local(source if before is None else before.pinned)
    digest = weights_digest(path) if path.is_dir() else sha256(path)
    checked = "nothing: no digest is published, and this was the first run"
    _require(path, digest, target.sha256, f"{key}.sha256", f"correct {key}.sha256")
    _require(path, digest, before.sha256 if before else None, str(record), "use another output")
    if target.sha256:
        checked = f"{key}.sha256, from the configuration"
    elif before is not None:
        checked = f"{RECORD}, from the first run"
    found = Weights(source, str(path), _revision(path), digest, checked)
    if before is None:
        write_json(record, asdict(found))
    return found


def _require(path: Path, digest: str, expected: str | None, by: str, otherwise: str) -> None:
    """Raise InputError if the digest is not the expected one; None: any is."""
    if expected and digest != expected.lower():
        raise InputError(
            f"{path.resolve()}: its SHA-256 begins with {digest[:8]}, but {by} says {expected[:8]}; delete it and get "
            f"it again, or {otherwise}"
        )


def _at(source: str, revision: str | None) -> str:
    """The same source at a revision on the hub; the source itself if it is a path or no revision is known."""
    named = None if revision is None or os.path.lexists(source) else on_hub(source)
    if named is None:
        return source
    return f"hf://{named.repository}@{revision}" + (f"/{named.file}" if named.file else "")


def _revision(path: Path) -> str | None:
    """The commit in a path of the hub's cache, ``…/snapshots/<commit>/…``; None for other paths."""
    before, found, after = path.as_posix().rpartition("/snapshots/")
    return after.partition("/")[0] if found and Path(before).name.startswith("models--") else None


def _read(record: Path) -> Weights:
    content = read_json(record)
    names = [entry.name for entry in fields(Weights)]
    if not isinstance(content, dict) or sorted(content) != sorted(names):
        raise InputError(f"{record}: is not a record of weights; delete it and run again")
    revision = content["revision"]
    return Weights(**{name: str(content[name]) for name in names} | {"revision": revision and str(revision)})
