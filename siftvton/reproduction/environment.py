"""What a stage ran on: versions, device, seed and the code's commit."""

import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

from siftvton.evaluation.evaluation import LIBRARIES
from siftvton.key_values import ROOT

OURS = ("siftvton", "diffusers", "transformers", "accelerate")


def environment() -> dict[str, Any]:
    """Return versions, device and commit of this process."""
    return {
        "device": device_name(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {library: version(library) for library in (*OURS, *LIBRARIES)},
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "commit": commit(),
    }


def device_name() -> str:
    """The GPU's name and memory, or that there is none."""
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    return f"CPU, threads: {torch.get_num_threads()}"


def commit() -> str | None:
    """The commit of the checkout that this code runs from, with a note on changes; None: not a checkout, or no git."""
    if not (ROOT / ".git").exists():  # an installed package may be inside another project's checkout
        return None
    try:
        head, changed = (
            subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}, with changes" if changed else head
