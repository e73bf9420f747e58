"""Where weights lie: a path, or a Hugging Face repository, whose files are fetched once and kept in its cache.

And where they go: a repository of one's own.
"""

import re
from pathlib import Path

from huggingface_hub import create_repo, hf_hub_download, snapshot_download, upload_folder
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging

from siftvton.errors import InputError

logging.set_verbosity_error()  # a line for every attempt to reach the hub, else

PUBLISHED_FILE = "model.ckpt"  # what the releases call theirs
_REPOSITORY = re.compile(r"(?:hf://)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]+))?")
_FILE = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/@]+))?/(?P<file>.+)")


def local(source: str | Path) -> Path:
    """The path of what ``source`` names.

    Args:
        source: a path; or ``owner/name`` or ``owner/name@revision``, a repository that holds either a saved
            pipeline's folder or the file ``model.ckpt`` (``hf://owner/name`` where ``owner`` is also a folder here);
            or ``hf://owner/name@revision/file`` for another file of it.

    Raises:
        InputError: there is no such path, repository, revision or file, or the hub cannot be reached.
    """
    if Path(source).exists():
        return Path(source)
    one_file = _FILE.fullmatch(str(source))
    named = one_file or _REPOSITORY.fullmatch(str(source))
    missing = f"{source}: no such folder or file"
    if named is None:
        raise InputError(f"{missing}; checkpoints/README.md says where weights come from")
    if not str(source).startswith("hf://") and Path(source).parent.exists():
        raise InputError(f"{missing}; for a repository of that name on the Hugging Face hub, give hf://{source}")
    repository, revision = named["name"], named["revision"]
    file = one_file["file"] if one_file else None
    unreachable = "cannot be reached; give a path, or fetch the weights where there is a connection"
    cause: Exception
    try:
        if file:
            return Path(hf_hub_download(repository, file, revision=revision))
        return _pipeline_or_checkpoint(repository, revision)
    except LocalEntryNotFoundError as error:
        cause, reason = error, unreachable
    except EntryNotFoundError as error:
        cause, reason = error, f"has no {file or f'model_index.json nor {PUBLISHED_FILE}'} there"
    except RevisionNotFoundError as error:
        cause, reason = error, f"has no revision {revision} of it"
    except RepositoryNotFoundError as error:
        cause, reason = error, "has none of that name that can be read without logging in (hf auth login)"
    except HFValidationError as error:
        cause, reason = error, "allows no such name"
    except OSError as error:  # every other failure of a connection, and a full disk
        cause, reason = error, f"{unreachable} ({type(error).__name__})"
    raise InputError(f"{missing}, and the Hugging Face hub {reason}") from cause


def _pipeline_or_checkpoint(repository: str, revision: str | None) -> Path:
    try:
        hf_hub_download(repository, "model_index.json", revision=revision)
    except EntryNotFoundError as error:
        unasked = isinstance(error, LocalEntryNotFoundError)  # then the cache alone may still have the other
        return Path(hf_hub_download(repository, PUBLISHED_FILE, revision=revision, local_files_only=unasked))
    # No other kind of file is ever read, so none is fetched.
    return Path(snapshot_download(repository, revision=revision, allow_patterns=["*.json", "*.safetensors"]))


def claim(repository: str) -> None:
    """Make sure that there is a repository which may be written to; a new one is private.

    Raises:
        InputError: not logged in, not allowed, no such name, or the hub cannot be reached.
    """
    try:
        create_repo(repository, private=True, exist_ok=True)
    except Exception as error:  # the HTTP client's own as well, which depend on the hub library's version
        raise InputError(f"{_refused(repository, error)}; hf auth login logs in") from error


def push(folder: Path, repository: str) -> None:
    """Upload a saved pipeline's folder in one commit.

    Raises:
        InputError: the upload failed; the folder is as it was, and the line says how to try again.
    """
    try:
        upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # as above
        raise InputError(f"{_refused(repository, error)}; again by: hf upload {repository} {folder}") from error


def _refused(repository: str, error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{repository}: cannot be written to on the Hugging Face hub ({line})"
