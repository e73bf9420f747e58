"""Features of whole pictures; FID, KID and Fréchet distances compare their distributions.

Letters: N pictures, C latent channels, f the autoencoder's stride.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from cleanfid.fid import get_batch_features
from cleanfid.resize import build_resizer
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from siftvton.errors import InputError, naming
from siftvton.evaluation.pictures import Pictures, PictureSet
from siftvton.evaluation.shares import ALONE, Shares
from siftvton.files import read_image
from siftvton.model.inputs import Autoencoder, posterior
from siftvton.sampling.loading import load_part

AUTOENCODER_WEIGHTS = "diffusion_pytorch_model.safetensors"
LATENT_GRID = 4  # the autoencoder's latents are averaged to this many rows and columns


class InceptionPictures(Dataset[Tensor]):
    """Pictures read by :func:`read_image` and resized as clean-fid does: (3, 299, 299) float32 in [0, 255].

    clean-fid's own data set is not used because it ignores the EXIF orientation of a file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        # Built here, because clean-fid's resizer is a local function, which cannot be sent to a worker.
        resized = build_resizer("clean")(read_image(self.paths[index]))  # ............. (299, 299, 3)
        return torch.from_numpy(resized).permute(2, 0, 1)  # ........................... (3, 299, 299)


class InceptionFeatures:
    """clean-fid's Inception features of a set of pictures, each read in its own size and resized to 299 × 299."""

    def __init__(
        self, network: nn.Module, batch_size: int, workers: int, device: torch.device, shares: Shares = ALONE
    ) -> None:
        """``network`` comes from :func:`siftvton.evaluation.weights.load_inception`."""
        self.network = network
        self.batch_size = batch_size
        self.workers = workers
        self.device = device
        self.shares = shares

    def __call__(self, pictures: PictureSet) -> np.ndarray:
        """Returns (N, 2048) float32."""
        features = self.shares.of_batches(
            lambda batch: get_batch_features(batch, self.network, self.device),
            InceptionPictures(pictures.paths),
            self.batch_size,
            self.workers,
            f"Inception features of {pictures.name}",
        )
        return np.concatenate(features)


class AutoencoderFeatures:
    """An autoencoder's posterior means of a set of pictures, averaged to a 4 × 4 grid."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        size: tuple[int, int],
        batch_size: int,
        workers: int,
        device: torch.device,
        shares: Shares = ALONE,
    ) -> None:
        """``size`` is the (height, width), in pixels, to which pictures are resized before they are encoded."""
        self.autoencoder = autoencoder
        self.size = size
        self.batch_size = batch_size
        self.workers = workers
        self.device = device
        self.shares = shares

    def __call__(self, pictures: PictureSet) -> np.ndarray:
        """Returns (N, 16·C) float32."""
        features = self.shares.of_batches(
            self._of_batch,
            Pictures(pictures.paths, self.size),
            self.batch_size,
            self.workers,
            f"autoencoder features of {pictures.name}",
        )
        return np.concatenate(features)

    @torch.no_grad()
    def _of_batch(self, batch: Tensor) -> np.ndarray:
        mean = posterior(self.autoencoder, 2 * batch.to(self.device) - 1)[:, 0]  # .......... (B, C, H/f, W/f)
        pooled = functional.adaptive_avg_pool2d(mean, LATENT_GRID)  # ....................... (B, C, 4, 4)
        return pooled.flatten(1).cpu().numpy()  # ........................................... (B, 16·C)


def load_autoencoder(folder: str | Path, device: torch.device) -> AutoencoderKL:
    """Load a diffusers autoencoder from its folder. Only safetensors files are read, because they hold no code.

    Raises:
        InputError: the folder or one of its files is missing or wrong.
    """
    try:
        with naming("autoencoder", folder):
            return load_part(Path(folder), AutoencoderKL).to(device)
    except InputError as error:
        raise InputError(f"{error}; use a folder that scripts/train_autoencoder.py wrote") from error
