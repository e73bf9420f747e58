"""The shipped toy weights: they have the size and the quality that their card states."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from siftvton.commands.attention_error import AttentionError, attention_error
from siftvton.data.config import HeldOutData
from siftvton.sampling.loading import load
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import render
from siftvton.toy.world.write import write_world

TOY = Path(__file__).parents[2] / "checkpoints" / "toy"
PARAMETERS = {
    "vae": 1_546_119,
    "unet": 3_141_820,
    "garment_encoder": 539_520,
    "image_encoder": 300_096,
    "image_context": 46_016,
}


@pytest.fixture(scope="module")
def toy() -> TryOnPipeline:
    return load(TOY)


def test_the_network_is_as_small_as_its_card_says(toy: TryOnPipeline):
    counts = {name: sum(p.numel() for p in getattr(toy, name).parameters()) for name in PARAMETERS}
    assert counts == PARAMETERS
    assert sum(path.stat().st_size for path in TOY.rglob("*") if path.is_file()) < 12e6


def test_the_folders_do_not_contain_the_path_where_they_were_made():
    for path in TOY.rglob("*.json"):
        assert "_name_or_path" not in json.loads(path.read_text()), path


@torch.no_grad()
def test_the_autoencoder_reconstructs_garments_that_it_never_saw(toy: TryOnPipeline):
    pictures = [render(sample_person(0, "test", i), sample_garment(0, "test", i), 128, 96).garment for i in range(6)]
    garments = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    decoded = toy.vae.decode(toy.vae.encode(garments).latent_dist.mean).sample.clamp(-1, 1)
    psnr = -10 * ((decoded - garments) / 2).square().mean(dim=(1, 2, 3)).log10()
    assert psnr.mean().item() == pytest.approx(32.6, abs=0.3)


def test_the_hooked_layers_look_where_they_should(tmp_path: Path):
    write_world(tmp_path / "data", train_pairs=1, test_pairs=4, exact_map=True, workers=1)
    config = AttentionError(
        checkpoint=str(TOY),
        data=HeldOutData(root=str(tmp_path / "data"), height=128, width=96),
        layers="all",
        timesteps=[250],
        output=str(tmp_path / "attention"),
    )
    attention_error(config)
    measured = json.loads((tmp_path / "attention" / "attention_error.json").read_text())
    assert measured["attention_error_px"]["value"] == pytest.approx(44.7, abs=1.0)
