"""Weights on disk and on the Hugging Face hub: find them under a path or a repository name, and upload them.

Files from the hub are downloaded once and kept in its cache.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import (
    constants,
    create_repo,
    errors,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
    upload_folder,
)
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

logging.set_verbosity_error()  # otherwise every attempt to reach the hub prints a line

# The errors that huggingface_hub raises. Its HTTP client differs between versions, and with it their base class.
NO_CONNECTION: tuple[type[Exception], ...] = (OSError, getattr(errors, "HTTPError", OSError))
HUB_ERRORS: tuple[type[Exception], ...] = (
    *NO_CONNECTION,
    ValueError,
    RuntimeError,
    EntryNotFoundError,
    getattr(errors, "XetDownloadError", OSError),
)

PUBLISHED_FILE = "model.ckpt"  # the file name in the published releases
OWN_FOLDERS = ("checkpoints", "configs", "data", "outputs")  # in paths of the documentation; they need not exist
PIPELINE, PART = "model_index.json", "config.json"  # files that show what a repository holds
_REPOSITORY = re.compile(r"(?:hf://)?(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]+))?")
_FILE = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/@]+))?/(?P<file>.+)")


class HubError(InputError):
    """The hub does not give a file. The message begins with "the Hugging Face hub" and does not name the source."""


@dataclass(frozen=True)
class HubSource:
    """What a source on the hub names: a repository, or one file of it.

    Attributes:
        revision: a commit, branch or tag; None: the newest.
        file: the file's path in the repository; None: the repository.
        index: the file that shows that the repository holds a folder of weights.
    """

    repository: str
    revision: str | None
    file: str | None = None
    index: str = PIPELINE

    @property
    def address(self) -> str:
        """The address of its web page."""
        kind, file = ("blob", f"/{self.file}") if self.file else ("tree", "")
        return f"{constants.ENDPOINT}/{self.repository}/{kind}/{self.revision or 'main'}{file}"


def local(source: str | Path, index: str = PIPELINE) -> Path:
    """The local path of the weights that ``source`` names; downloads them from the hub if necessary.

    Args:
        source: one of
            a path;
            ``owner/name`` or ``owner/name@revision``, a repository that holds a saved pipeline or the file
            ``model.ckpt``; write ``hf://owner/name`` if ``owner`` is also a local folder or one of ``OWN_FOLDERS``;
            ``hf://owner/name@revision/file``, another file of a repository.
        index: ``PART`` if the repository holds a single part, such as an autoencoder, in place of a pipeline.

    Raises:
        InputError: the path, repository, revision or file does not exist, or cannot be downloaded or stored.
    """
    if os.path.lexists(source):
        return Path(source)
    named = on_hub(source)
    if named is None:
        raise InputError(f"{source}: no such folder or file; checkpoints/README.md says where to get weights")
    try:
        if named.file:
            return download(named)
        named = replace(named, index=index)
        with _refusals(named):
            return _folder_or_checkpoint(named)
    except HubError as error:
        raise InputError(f"{source}: no such folder or file, and {error}") from error


def on_hub(source: str | Path) -> HubSource | None:
    """What ``source``, which is not a local path, names on the hub; None if it cannot be a name there.

    Raises:
        InputError: the source may be a misspelt path, because its first part is a local folder or one of
            ``OWN_FOLDERS``.
    """
    named = _FILE.fullmatch(str(source)) or _REPOSITORY.fullmatch(str(source))
    if named is None:
        return None
    parent = Path(source).parent
    if not str(source).startswith("hf://") and (str(parent) in OWN_FOLDERS or os.path.exists(parent)):
        raise InputError(
            f"{source}: no such folder or file; for a repository of that name on the Hugging Face hub, give "
            f"hf://{source}"
        )
    return HubSource(named["repository"], named["revision"], named.groupdict().get("file"))


def download(named: HubSource) -> Path:
    """The local path of one file of a repository; downloads it if it is not in the cache.

    Raises:
        HubError: the file does not exist, or cannot be downloaded or stored.
    """
    assert named.file is not None, "only one file can be downloaded"
    with _refusals(named):
        return _file(named.repository, named.file, named.revision)


@contextmanager
def _refusals(named: HubSource) -> Iterator[None]:
    try:
        yield
    except HUB_ERRORS as error:
        raise HubError(f"the Hugging Face hub {_why_not(error, named)}") from error


def _why_not(error: Exception, named: HubSource) -> str:
    """Why the download failed, as a phrase that continues "the Hugging Face hub …"."""
    if isinstance(error, LocalEntryNotFoundError):
        cause: BaseException | None = error  # the first error is the reason; the library then looked into the cache
        while cause is not None and not isinstance(cause, HfHubHTTPError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            return _status(cause)
        return "cannot be reached; give a path, or download the weights on a machine with a connection"
    if isinstance(error, EntryNotFoundError):
        found = f"no {named.file}" if named.file else f"neither {named.index} nor {PUBLISHED_FILE}"
        return f"has {found} in that repository"
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {named.revision} of that repository"
    if isinstance(error, GatedRepoError):
        repository = f"{constants.ENDPOINT}/{named.repository}"
        return f"requires that you accept terms: do so at {repository}, then run: hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return "has no public repository of that name; to read a private one, run: hf auth login"
    if isinstance(error, HFValidationError):
        return "does not allow that name"
    if isinstance(error, HfHubHTTPError):
        return _status(error)
    if (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, (ConnectionError, TimeoutError))
    ):
        place = error.filename or constants.HF_HUB_CACHE
        return (
            f"cannot be used, because {place} cannot be written ({error.strerror}); "
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


def _file(repository: str, file: str, revision: str | None) -> Path:
    """Download one file, or find it in the cache.

    The library repeats its requests for half a minute if the hub's name is unknown, and for several minutes if the
    hub does not answer. A single request shows here whether it can be reached.

    Raises:
        LocalEntryNotFoundError: the file is not in the cache, and the hub cannot be reached.
        Other errors of ``HUB_ERRORS``: see ``hf_hub_download``.
    """
    if not isinstance(try_to_load_from_cache(repository, file, revision=revision), str):
        try:
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision))
        except HfHubHTTPError:
            pass  # it can be reached; the download raises this error again, or waits for a server that is busy
        except NO_CONNECTION as error:
            raise LocalEntryNotFoundError(first_line(error)) from error
    return Path(hf_hub_download(repository, file, revision=revision))


def _folder_or_checkpoint(named: HubSource) -> Path:
    repository, revision = named.repository, named.revision
    try:
        _file(repository, named.index, revision)
    except EntryNotFoundError as error:
        unreachable = isinstance(error, LocalEntryNotFoundError)  # then only the cache can hold the other file
        return Path(hf_hub_download(repository, PUBLISHED_FILE, revision=revision, local_files_only=unreachable))
    # Other kinds of files are never read, so they are not downloaded.
    return Path(snapshot_download(repository, revision=revision, allow_patterns=["*.json", "*.safetensors"]))


def claim(repository: str) -> None:
    """Make sure that the repository exists and can be written to; a new repository is private.

    Raises:
        InputError: not logged in, no permission, an invalid name, or the hub cannot be reached.
    """
    try:
        create_repo(repository, private=True, exist_ok=True)
    except HUB_ERRORS as error:
        raise InputError(f"{_refused(repository, error)}; to log in, run: hf auth login") from error


def push(folder: Path, repository: str) -> None:
    """Upload a saved pipeline's folder in one commit.

    Raises:
        InputError: the upload failed; the folder is unchanged, and the message says how to try again.
    """
    try:
        upload_folder(repo_id=repository, folder_path=folder)
    except HUB_ERRORS as error:
        raise InputError(f"{_refused(repository, error)}; try again with: hf upload {repository} {folder}") from error


def _refused(repository: str, error: Exception) -> str:
    return f"{repository}: cannot be written to on the Hugging Face hub ({first_line(error)})"
