"""The published networks behind FID, KID and LPIPS: found, fetched, checked and loaded. No file can run Python code.

Each is named by a configuration key, else lies in PyTorch's cache (``$TORCH_HOME/hub/checkpoints``), else is
downloaded to there.
"""

import os
import pickle
import socket
import warnings
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

from siftvton.errors import InputError
from siftvton.files import sha256

CLEAN_FID_CACHE = Path("/tmp")  # where clean-fid's own functions put Inception
CONNECTION_TIMEOUT = 20  # seconds


class MissingWeightsError(InputError):
    """A published file is not on this machine and could not be fetched; what it is for cannot be computed."""


@dataclass(frozen=True)
class PublishedFile:
    key: str  # the configuration key that names a local copy
    name: str
    url: str
    digest: str | None  # the first digits of its SHA-256 where its publisher states them
    fetch: Callable[[Path], None]


def _fetch_inception(target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as folder:  # clean-fid would take up a broken download again
        fetched = check_download_inception(folder)
        torch.jit.load(fetched, map_location="cpu")
        os.replace(fetched, target)


def _fetch_alexnet(target: Path) -> None:
    torch.hub.download_url_to_file(ALEXNET.url, str(target), hash_prefix=ALEXNET.digest)


INCEPTION = PublishedFile("inception", "inception-2015-12-05.pt", inception_url, None, _fetch_inception)
ALEXNET = PublishedFile(
    "alexnet", "alexnet-owt-7be5be79.pth", AlexNet_Weights.IMAGENET1K_V1.url, "7be5be79", _fetch_alexnet
)


def locate(file: PublishedFile, given: str | None) -> Path:
    """Where a published network's weights lie on this machine, after a download if need be.

    Args:
        given: the file that the configuration names, whose content is not compared with the published one;
            None: look in the caches.

    Raises:
        MissingWeightsError: it is nowhere and cannot be downloaded.
        InputError: the named file does not exist, or a cached one is not the published one.
    """
    if given is not None:
        if not Path(given).is_file():
            raise InputError(f"{file.key}={given}: no such file; wanted {file.name} from {file.url}")
        return Path(given)
    target = cache_folder() / file.name
    cached = [path for path in (target, CLEAN_FID_CACHE / file.name) if path.is_file()]
    if cached:
        if is_published(file, cached[0]) is False:
            raise InputError(
                f"{cached[0]}: SHA-256 begins with {sha256(cached[0])[:8]}, not {file.digest}; delete the file, "
                f"or name it by {file.key}=<file> if it is meant"
            )
        return cached[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _timeout(CONNECTION_TIMEOUT):
            file.fetch(target)
    except (OSError, RuntimeError) as error:
        raise MissingWeightsError(
            f"weights missing: {file.name} could not be downloaded ({_first_line(error)}); "
            f"get {file.url} and put it at {target}, or name it by {file.key}=<file>"
        ) from error
    return target


def is_published(file: PublishedFile, path: Path) -> bool | None:
    """Whether ``path`` holds the published content; None where its publisher states no digest."""
    return sha256(path).startswith(file.digest) if file.digest else None


def cache_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def load_inception(path: Path, device: torch.device) -> nn.Module:
    """clean-fid's feature network from its TorchScript file: (B, 3, 299, 299) in [0, 255] to (B, 2048).

    Raises:
        InputError: the file is not such a network.
    """
    try:
        with TemporaryDirectory() as folder:  # clean-fid's loader wants a folder that holds the published name
            (Path(folder) / INCEPTION.name).symlink_to(path.resolve())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # PyTorch would have TorchScript given up
                network = InceptionV3W(folder, download=False).to(device).eval()
        with torch.no_grad():
            network(torch.zeros(1, 3, 299, 299, device=device))
    except (RuntimeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a TorchScript network from 299×299 pictures to 2048 features ({_first_line(error)}); "
            f"wanted {INCEPTION.name} from {INCEPTION.url}"
        ) from error
    return network


def load_lpips(path: Path, device: torch.device) -> nn.Module:
    """TorchMetrics' LPIPS network with the AlexNet of ``path``; its linear heads come with TorchMetrics.

    Raises:
        InputError: the file is not a state dictionary of torchvision's AlexNet.
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
        raise InputError(
            f"{path}: not torchvision's AlexNet: {wrong[0]} is missing, unexpected or of another shape; "
            f"wanted {ALEXNET.name} from {ALEXNET.url}"
        )
    network.net.load_state_dict({theirs[key]: value for key, value in state.items()})
    return network.to(device)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a file of tensors ({_first_line(error)}); wanted {ALEXNET.name} from {ALEXNET.url}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: not a state dictionary; wanted {ALEXNET.name} from {ALEXNET.url}")
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
