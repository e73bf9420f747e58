"""The published networks behind FID, KID and LPIPS: found, fetched, checked and loaded.

Each is named by a configuration key, or else is in PyTorch's cache (``$TORCH_HOME/hub/checkpoints``), or else is
downloaded to there. Inception's file is a program, so it is loaded only if its SHA-256 is the published one or one
that the user allows. AlexNet's holds tensors alone, and is read as such.
"""

import http.client
import os
import pickle
import shutil
import socket
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from cleanfid.downloads_helper import check_download_inception, inception_url
from cleanfid.inception_torchscript import InceptionV3W
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _NoTrainLpips
from torchvision.models import AlexNet_Weights

from siftvton.errors import InputError, first_line
from siftvton.files import sha256
from siftvton.model.finite import first_not_finite
from siftvton.model.unpickling import BROKEN, read_tensors
from siftvton.model.weight_files import require_floats, require_regular, shown

CLEAN_FID_CACHE = Path("/tmp")  # where clean-fid's own functions put Inception
CONNECTION_TIMEOUT = 20  # seconds


class MissingWeightsError(InputError):
    """A published file is not on this machine and could not be fetched; what it is for cannot be computed."""


@dataclass(frozen=True)
class PublishedFile:
    key: str  # the configuration key that names a local copy
    name: str
    url: str
    digest: str  # SHA-256, or its first digits where its publisher states no more
    fetch: Callable[[Path], object]  # download into a folder


def _fetch_inception(folder: Path) -> None:
    check_download_inception(str(folder))


def _fetch_alexnet(folder: Path) -> None:
    torch.hub.download_url_to_file(ALEXNET.url, str(folder / ALEXNET.name))


# The SHA-256 as k-diffusion (github.com/crowsonkb/k-diffusion, k_diffusion/evaluation.py, for the same address) and
# H2CEvaluator (github.com/LeoXing1996/H2CEvaluator, H2CEvaluator/fid.py) state it independently of each other.
# torch-fidelity's and pytorch-fid's files of similar names are others: they hold weights, this one is a program.
INCEPTION = PublishedFile(
    "inception",
    "inception-2015-12-05.pt",
    inception_url,
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    _fetch_inception,
)
ALEXNET = PublishedFile(
    "alexnet", "alexnet-owt-7be5be79.pth", AlexNet_Weights.IMAGENET1K_V1.url, "7be5be79", _fetch_alexnet
)


def locate(file: PublishedFile, given: str | None) -> Path:
    """The path of a published network's weights on this machine, after a download if need be.

    Args:
        given: the file that the configuration names, whose content is not compared with the published one;
            None: look in the caches.

    Raises:
        MissingWeightsError: it is in no cache and cannot be downloaded.
        InputError: the named file cannot be read, or a cached one is not the published one.
    """
    if given is not None:
        try:
            return require_regular(Path(given))
        except InputError as error:
            raise InputError(f"{file.key}={error}; required is {file.name} from {file.url}") from error
    target = cache_folder() / file.name
    try:
        if target.is_file():
            if not is_published(file, target):
                raise InputError(
                    f"{target}: SHA-256 begins with {sha256(target)[:8]}, not {file.digest[:8]}; delete the file, "
                    f"or name it by {file.key}=<file> if you want to use it"
                )
            return target
        # Everybody may write to the other cache, so a file in it counts only if it is the published one.
        other = CLEAN_FID_CACHE / file.name
        if other.is_file() and is_published(file, other):
            return other
        _download(file, target)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise MissingWeightsError(
            f"weights missing: {file.name} could not be downloaded ({first_line(error)}); "
            f"get {file.url} and put it at {target}, or name it by {file.key}=<file>"
        ) from error
    return target


def _download(file: PublishedFile, target: Path) -> None:
    """Fetch into a folder of an unpredictable name, check, and only then move to ``target``.

    Raises:
        OSError, RuntimeError: there is no connection, the folder cannot be written to, or other content came.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder, _timeout(CONNECTION_TIMEOUT):
        file.fetch(Path(folder))
        fetched = Path(folder) / file.name
        if not is_published(file, fetched):
            raise RuntimeError(f"what came has a SHA-256 that begins with {sha256(fetched)[:8]}, not {file.digest[:8]}")
        os.replace(fetched, target)


def is_published(file: PublishedFile, path: Path) -> bool:
    """Whether ``path`` holds the published content."""
    return sha256(path).startswith(file.digest)


def cache_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def load_inception(path: Path, device: torch.device, allowed: str | None = None) -> nn.Module:
    """clean-fid's feature network from its TorchScript file: (B, 3, 299, 299) in [0, 255] to (B, 2048).

    Args:
        allowed: the SHA-256 of another file than the published one that may be loaded, since TorchScript is a program.

    Raises:
        InputError: the file is neither the published nor the allowed one, or is not such a network.
    """
    with TemporaryDirectory() as folder:  # clean-fid's loader looks for the published name in a folder
        copy = Path(folder) / INCEPTION.name  # nobody else can change it between the check and the loading
        shutil.copyfile(require_regular(path), copy)
        digest = sha256(copy)
        if digest not in (INCEPTION.digest, (allowed or "").lower()):
            raise InputError(
                f"{path}: is not the published network; nothing was run. Get {INCEPTION.url}, "
                f"or allow this program, if you trust it, by {INCEPTION.key}_sha256={digest}"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # PyTorch would have TorchScript given up
                network = InceptionV3W(folder, download=False).to(device).eval()
            with torch.no_grad():
                network(torch.zeros(1, 3, 299, 299, device=device))
        except (RuntimeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: not a TorchScript network from 299×299 pictures to 2048 features ({first_line(error)}); "
                f"required is {INCEPTION.name} from {INCEPTION.url}"
            ) from error
    return network


def load_lpips(path: Path, device: torch.device) -> nn.Module:
    """TorchMetrics' LPIPS network with the AlexNet of ``path``; its linear heads come with TorchMetrics.

    Raises:
        InputError: the file is not a state dictionary of torchvision's AlexNet, or holds NaN or infinite values.
    """
    network = _NoTrainLpips(net="alex", pnet_rand=True)  # the public class downloads AlexNet, as a full pickle
    ours = network.net.state_dict()
    theirs = {f"features.{name.partition('.')[2]}": name for name in ours}  # slice1.0.bias <- features.0.bias
    state = {key: value for key, value in _read_state(path).items() if not key.startswith("classifier.")}
    wrong = sorted(
        key
        for key in theirs.keys() | state.keys()
        if key not in theirs or key not in state or state[key].shape != ours[theirs[key]].shape
    )
    if wrong:
        found = f"{shown(wrong[0])} is missing, unexpected or of another shape"
        raise InputError(f"{path}: not torchvision's AlexNet: {found}; {_WANTED}")
    require_floats(path, state)
    broken = first_not_finite(state.items())
    if broken is not None:
        raise InputError(f"{path}: {broken} holds values that are NaN or infinite; {_WANTED}")
    network.net.load_state_dict({theirs[key]: value for key, value in state.items()})
    return network.to(device)


_WANTED = f"required is {ALEXNET.name} from {ALEXNET.url}"


def _read_state(path: Path) -> dict[str, Tensor]:
    require_regular(path)
    try:
        if zipfile.is_zipfile(path):
            state = read_tensors(path)
        else:  # PyTorch's older format
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, *BROKEN) as error:
        raise InputError(f"{path}: not a file of tensors ({shown(first_line(error))}); {_WANTED}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{path}: not a state dictionary; {_WANTED}")
    return state


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """The libraries' downloaders take no timeout; without one a silent network holds them for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
