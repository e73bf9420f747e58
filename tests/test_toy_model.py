"""The shipped toy weights: their size, and that they still do what their card says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from siftvton.data.synthetic.garments import sample_garment
from siftvton.data.synthetic.persons import sample_person
from siftvton.data.synthetic.render import render
from siftvton.model.loading import load_part

TOY = Path(__file__).parents[1] / "checkpoints" / "toy"


def test_the_autoencoder_is_as_small_as_its_card_says():
    vae = load_part(TOY / "vae", AutoencoderKL)
    assert sum(parameter.numel() for parameter in vae.parameters()) == 681_911
    assert sum(path.stat().st_size for path in TOY.rglob("*") if path.is_file()) < 2e6
    assert "_name_or_path" not in json.loads((TOY / "vae" / "config.json").read_text())


@torch.no_grad()
def test_it_keeps_garments_that_it_never_saw():
    vae = load_part(TOY / "vae", AutoencoderKL)
    pictures = [render(sample_person(0, "test", i), sample_garment(0, "test", i), 128, 96).garment for i in range(6)]
    garments = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    error = (vae.decode(vae.encode(garments).latent_dist.mean).sample.clamp(-1, 1) - garments) / 2
    psnr = -10 * error.square().mean(dim=(1, 2, 3)).log10()
    assert psnr.mean().item() == pytest.approx(30.1, abs=0.3)
