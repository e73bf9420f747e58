"""The published networks that FID, KID and LPIPS need: find, download, check and load their files.

A configuration key may name a file. Without it, PyTorch's cache (``$TORCH_HOME/hub/checkpoints``) is searched, and a
file that is not there is downloaded to it. Inception's file is a program, so it is loaded only if its SHA-256 is the
published one or one that the user allows. AlexNet's file is read as tensors only, so it cannot run code.
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
from siftvton.finite import first_not_finite
from siftvton.model.unpickling import BROKEN, read_tensors
from siftvton.weight_files import require_floats, require_regular, shown

CLEAN_FID_CACHE = Path("/tmp")  # clean-fid's own functions store Inception here
CONNECTION_TIMEOUT = 20  # seconds


class MissingWeightsError(InputError):
    """A published file is not on this machine and cannot be downloaded; the metrics that need it are skipped."""


@dataclass(frozen=True)
class PublishedFile:
    key: str  # the configuration key by which a user names a local copy
    name: str
    url: str
    digest: str  # SHA-256, or its first digits if the publisher gives only those
    fetch: Callable[[Path], object]  # downloads the file into a folder


def _fetch_inception(folder: Path) -> None:
    check_download_inception(str(folder))


def _fetch_alexnet(folder: Path) -> None:
    torch.hub.download_url_to_file(ALEXNET.url, str(folder / ALEXNET.name))


# Two projects state this SHA-256 independently: k-diffusion (github.com/crowsonkb/k-diffusion,
# k_diffusion/evaluation.py, for the same address) and H2CEvaluator (github.com/LeoXing1996/H2CEvaluator,
# H2CEvaluator/fid.py). torch-fidelity and pytorch-fid have files with similar names, but those hold only weights.
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
    """Find a published network's weights on this machine; download them if they are missing.

    Args:
        given: the file that the configuration names, which may differ from the published one; None: look in the
            caches.

    Raises:
        MissingWeightsError: the file is in no cache and cannot be downloaded.
        InputError: the named file cannot be read, or a cached file is not the published one.
    """
    if given is not None:
        try:
            return require_regular(Path(given))
        except InputError as error:
            raise InputError(f"{file.key}={error}; use {file.name} from {file.url}") from error
    target = cache_folder() / file.name
    try:
        if target.is_file():
            if not is_published(file, target):
                raise InputError(
                    f"{target}: its SHA-256 begins with {sha256(target)[:8]}, not {file.digest[:8]}; delete the file, "
                    f"or use it all the same by {file.key}=<file>"
                )
            return target
        # Everybody may write to clean-fid's cache, so a file there is used only if it is the published one.
        other = CLEAN_FID_CACHE / file.name
        if other.is_file() and is_published(file, other):
            return other
        _download(file, target)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise MissingWeightsError(
            f"weights missing: {file.name} could not be downloaded ({first_line(error)}); "
            f"get {file.url} and put it at {target}, or use {file.key}=<file>"
        ) from error
    return target


def _download(file: PublishedFile, target: Path) -> None:
    """Download into a folder with an unpredictable name, check the file, and only then move it to ``target``.

    Raises:
        OSError, RuntimeError: there is no connection, the folder cannot be written to, or the content is wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder, _timeout(CONNECTION_TIMEOUT):
        file.fetch(Path(folder))
        fetched = Path(folder) / file.name
        if not is_published(file, fetched):
            raise RuntimeError(f"the SHA-256 of the download begins with {sha256(fetched)[:8]}, not {file.digest[:8]}")
        os.replace(fetched, target)


def is_published(file: PublishedFile, path: Path) -> bool:
    """Whether ``path`` is the published file, by its SHA-256."""
    return sha256(path).startswith(file.digest)


def cache_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def load_inception(path: Path, device: torch.device, allowed: str | None = None) -> nn.Module:
    """Load clean-fid's feature network from its TorchScript file: (B, 3, 299, 299) in [0, 255] to (B, 2048).

    Args:
        allowed: SHA-256 of another file that may be loaded. A TorchScript file is a program, so others are refused.

    Raises:
        InputError: the file is neither the published nor the allowed one, or it holds another kind of network.
    """
    with TemporaryDirectory() as folder:  # clean-fid's loader looks for the published name in a folder
        copy = Path(folder) / INCEPTION.name  # a private copy cannot be changed between check and loading
        shutil.copyfile(require_regular(path), copy)
        digest = sha256(copy)
        if digest not in (INCEPTION.digest, (allowed or "").lower()):
            raise InputError(
                f"{path}: is a program, and not the published one, so it was not run; get {INCEPTION.url}, or, if you "
                f"trust this file, use {INCEPTION.key}_sha256={digest}"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # PyTorch warns that TorchScript is deprecated
                network = InceptionV3W(folder, download=False).to(device).eval()
            with torch.no_grad():
                network(torch.zeros(1, 3, 299, 299, device=device))
        except (RuntimeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: not a TorchScript network from 299×299 pictures to 2048 features ({first_line(error)}); "
                f"use {INCEPTION.name} from {INCEPTION.url}"
            ) from error
    return network


def load_lpips(path: Path, device: torch.device, maps: bool = False) -> nn.Module:
    """Load TorchMetrics' LPIPS network with the AlexNet in ``path``; the linear heads come with TorchMetrics.

    Args:
        path: file of torchvision's AlexNet.
        device: where to put the network.
        maps: let the network return a value for each pixel, not one for the picture.

    Raises:
        InputError: the file is not a state dictionary of torchvision's AlexNet, or holds NaN or infinite values.
    """
    network = _NoTrainLpips(
        net="alex", pnet_rand=True, spatial=maps
    )  # the public class would download AlexNet as a full pickle
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
        raise InputError(f"{path}: not torchvision's AlexNet: {found}; {_USE_ALEXNET}")
    require_floats(path, state)
    broken = first_not_finite(state.items())
    if broken is not None:
        raise InputError(f"{path}: {broken} holds values that are NaN or infinite; {_USE_ALEXNET}")
    network.net.load_state_dict({theirs[key]: value for key, value in state.items()})
    return network.to(device)


_USE_ALEXNET = f"use {ALEXNET.name} from {ALEXNET.url}"


def _read_state(path: Path) -> dict[str, Tensor]:
    in_zip_format = zipfile.is_zipfile(require_regular(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch warns of pickles that it did not write
            state = read_tensors(path) if in_zip_format else torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, *BROKEN) as error:
        # For its older format, PyTorch advises to load the file without protection, so its words are not repeated.
        reason = shown(first_line(error)) if in_zip_format else "PyTorch did not write it, or it holds other objects"
        raise InputError(f"{path}: not a file of tensors ({reason}); {_USE_ALEXNET}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{path}: not a state dictionary; {_USE_ALEXNET}")
    return state


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Set a timeout for connections: the libraries' downloaders have none and could wait for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
