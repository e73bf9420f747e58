"""Features of whole pictures, whose distributions FID, KID and Fréchet distances compare.

Letters: N pictures, C latent channels, f the autoencoder's stride.
"""

import multiprocessing
from pathlib import Path

import numpy as np
import torch
from cleanfid.fid import get_files_features
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from siftvton.errors import InputError
from siftvton.evaluation.pictures import Pictures, PictureSet
from siftvton.model.loading import load_part

AUTOENCODER_WEIGHTS = "diffusion_pytorch_model.safetensors"
LATENT_GRID = 4  # cells a side that the autoencoder's latents are averaged to


class InceptionFeatures:
    """clean-fid's features of exactly the files given, each read in its own size; clean-fid makes them 299 × 299."""

    def __init__(self, network: nn.Module, batch_size: int, workers: int, device: torch.device) -> None:
        """``network`` comes from :func:`siftvton.evaluation.weights.load_inception`."""
        self.network = network
        self.batch_size = batch_size
        # clean-fid's data set holds local functions, which only a forked worker can take over
        self.workers = workers if multiprocessing.get_start_method() == "fork" else 0
        self.device = device

    def __call__(self, pictures: PictureSet) -> np.ndarray:
        """Returns (N, 2048) float32."""
        return get_files_features(
            [str(path) for path in pictures.paths],
            self.network,
            num_workers=self.workers,
            batch_size=self.batch_size,
            device=self.device,
            mode="clean",
            description=f"Inception features of {pictures.name}",
        )


class AutoencoderFeatures:
    """An autoencoder's posterior means, averaged over the cells of a 4 × 4 grid."""

    def __init__(
        self, autoencoder: AutoencoderKL, size: tuple[int, int], batch_size: int, workers: int, device: torch.device
    ) -> None:
        """``size`` is the height and width, in pixels, to resize to before encoding."""
        self.autoencoder = autoencoder
        self.size = size
        self.batch_size = batch_size
        self.workers = workers
        self.device = device

    @torch.no_grad()
    def __call__(self, pictures: PictureSet) -> np.ndarray:
        """Returns (N, 16·C) float32."""
        features = []
        loader = DataLoader(Pictures(pictures.paths, self.size), self.batch_size, num_workers=self.workers)
        for batch in tqdm(loader, desc=f"autoencoder features of {pictures.name}"):
            mean = self.autoencoder.encode(2 * batch.to(self.device) - 1).latent_dist.mode()  # (B, C, H/f, W/f)
            pooled = functional.adaptive_avg_pool2d(mean, LATENT_GRID)  # ................... (B, C, 4, 4)
            features.append(pooled.flatten(1).cpu().numpy())  # ............................. (B, 16·C)
        return np.concatenate(features)


def load_autoencoder(folder: str | Path, device: torch.device) -> AutoencoderKL:
    """A diffusers autoencoder from its folder; only safetensors, which hold no code.

    Raises:
        InputError: the folder or one of its files is missing or wrong.
    """
    try:
        return load_part(Path(folder), AutoencoderKL).to(device)
    except InputError as error:
        raise InputError(f"autoencoder={error}; scripts/train_autoencoder.py writes such a folder") from error
