"""The published model at full size. Needs about 15 GB and a few minutes; run with --slow and SIFTVTON_GOLDEN."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import state_dict
from torch import Tensor

from siftvton.sampling.loading import from_published
from siftvton.sampling.pipeline import TryOnPipeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded() -> dict[Path, TryOnPipeline]:
    """The pipeline of the last requested manifest; only one fits into memory."""
    return {}


@pytest.fixture
def case(golden, loaded) -> tuple[dict[str, Tensor], TryOnPipeline]:
    values = {name: torch.from_numpy(array) for name, array in np.load(golden("full_unet.npz")).items()}
    manifest = golden("release_manifest.json")
    if manifest not in loaded:
        loaded.clear()
        loaded[manifest] = from_published(state_dict(manifest), manifest)
    return values, loaded[manifest]


def close(ours: Tensor, golden: Tensor) -> None:
    found = float((ours - golden).abs().max() / golden.std())
    print(f"{found:.1e}")
    assert found < 1e-3


@torch.no_grad()
def test_conditional_prediction(case):
    values, pipeline = case
    given = (values["timestep"], values["image_context"])
    features = pipeline.garment_encoder(values["sample"], values["garment_latent"], *given)
    close(pipeline.unet(values["sample"], *given, features), values["noise_pred"])


@torch.no_grad()
def test_unconditional_prediction(case):
    values, pipeline = case
    learned = pipeline.image_context.unconditional.expand(len(values["sample"]), 1, -1)
    close(pipeline.unet(values["sample"], values["timestep"], learned), values["noise_pred_uncond"])


@torch.no_grad()
def test_image_context(case):
    values, pipeline = case
    pooled = pipeline.image_encoder(values["clip_pixels"].float()).pooler_output
    close(pipeline.image_context.embed(pooled).flatten(), values["image_embedding"].flatten())
    close(pipeline.image_context(pooled).flatten(), values["image_context"].flatten())


@torch.no_grad()
def test_autoencoder(case):
    values, pipeline = case
    posterior = pipeline.vae.encode(values["vae_image"]).latent_dist
    close(posterior.mean, values["vae_mean"])
    close(posterior.logvar, values["vae_logvar"])
    close(pipeline.vae.decode(values["vae_latent"]).sample, values["vae_decoded"])
