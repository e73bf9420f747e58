"""Where weights are: a path, or a Hugging Face repository, whose files are fetched once and kept in its cache.

And where they go: a repository of one's own.
"""

import os
import re
from pathlib import Path

from huggingface_hub import constants, create_repo, errors, hf_hub_download, snapshot_download, upload_folder
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging

from siftvton.errors import InputError, first_line

logging.set_verbosity_error()  # a line for every attempt to reach the hub, else

# What the hub's library raises. Its HTTP client depends on its version, and so does the base of the client's errors.
HUB_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    RuntimeError,
    EntryNotFoundError,
    *(getattr(errors, name) for name in ("HTTPError", "XetDownloadError") if hasattr(errors, name)),
)

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
        InputError: there is no such path, repository, revision or file, or it cannot be fetched or stored.
    """
    if os.path.lexists(source):
        return Path(source)
    one_file = _FILE.fullmatch(str(source))
    named = one_file or _REPOSITORY.fullmatch(str(source))
    missing = f"{source}: no such folder or file"
    if named is None:
        raise InputError(f"{missing}; checkpoints/README.md says where to get weights")
    if not str(source).startswith("hf://") and os.path.exists(Path(source).parent):
        raise InputError(f"{missing}; for a repository of that name on the Hugging Face hub, give hf://{source}")
    repository, revision = named["name"], named["revision"]
    file = one_file["file"] if one_file else None
    try:
        if file:
            return Path(hf_hub_download(repository, file, revision=revision))
        return _pipeline_or_checkpoint(repository, revision)
    except HUB_ERRORS as error:
        reason = _why_not(error, repository, revision, file or f"model_index.json nor {PUBLISHED_FILE}")
        raise InputError(f"{missing}, and the Hugging Face hub {reason}") from error


def _why_not(error: Exception, repository: str, revision: str | None, files: str) -> str:
    """What the hub does instead of giving the files, in words that follow "the hub"."""
    if isinstance(error, LocalEntryNotFoundError):
        cause: BaseException | None = error  # what came first, before its library looked into the cache
        while cause is not None and not isinstance(cause, HfHubHTTPError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            return _status(cause)
        return "cannot be reached; give a path, or fetch the weights where there is a connection"
    if isinstance(error, EntryNotFoundError):
        return f"has no {files} there"
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision} of it"
    if isinstance(error, GatedRepoError):
        return f"asks for its terms to be accepted: do so at {constants.ENDPOINT}/{repository}, then run: hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return "has none of that name that can be read without logging in (hf auth login)"
    if isinstance(error, HFValidationError):
        return "allows no such name"
    if isinstance(error, HfHubHTTPError):
        return _status(error)
    if (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, (ConnectionError, TimeoutError))
    ):
        place = error.filename or constants.HF_HUB_CACHE
        return (
            f"cannot be copied from: {place} cannot be written ({error.strerror}); "
            "free some space, or set HF_HOME to another folder"
        )
    return f"cannot be reached ({first_line(error)}); try again, or give a path"


def _status(error: HfHubHTTPError) -> str:
    code = error.response.status_code
    remedy = {
        401: "it does not accept your token, so run: hf auth login",
        403: "your account may not read it",
        429: "too many requests, so try again later or run: hf auth login",
    }.get(code, "try again later")
    return f"answers {code}: {remedy}"


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
    except HUB_ERRORS as error:
        raise InputError(f"{_refused(repository, error)}; hf auth login logs in") from error


def push(folder: Path, repository: str) -> None:
    """Upload a saved pipeline's folder in one commit.

    Raises:
        InputError: the upload failed; the folder is as it was, and the line says how to try again.
    """
    try:
        upload_folder(repo_id=repository, folder_path=folder)
    except HUB_ERRORS as error:
        raise InputError(f"{_refused(repository, error)}; try again with: hf upload {repository} {folder}") from error


def _refused(repository: str, error: Exception) -> str:
    return f"{repository}: cannot be written to on the Hugging Face hub ({first_line(error)})"
