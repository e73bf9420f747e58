"""Find the weights of a matcher on this machine or on the Hugging Face hub."""

import os
import re
from dataclasses import replace
from pathlib import Path

from siftvton.errors import InputError, UsageError
from siftvton.hub import HubError, download, on_hub

FILES = ("config.json", "model.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def weights_folder(source: str) -> Path:
    """Return the folder with ``FILES`` that ``source`` names; download them if it is a repository.

    Args:
        source: a folder, or ``owner/name@commit``. The commit is required, so that the weights cannot change.

    Raises:
        UsageError: the source is neither a folder nor such a name.
        InputError: the files cannot be downloaded.
    """
    if os.path.isdir(source):
        return Path(source)
    named = on_hub(source)
    if named is None or named.file or not _COMMIT.fullmatch(named.revision or ""):
        raise UsageError(
            f"matcher_weights={source}: no such folder; for the Hugging Face hub, give owner/name@commit with all 40 "
            "digits of the commit"
        )
    try:
        paths = [download(replace(named, file=name)) for name in FILES]
    except HubError as error:
        raise InputError(f"matcher_weights={source}: is not on this machine, and {error}") from error
    return paths[0].parent
