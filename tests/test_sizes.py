"""Nothing knows the published 512×384: files of one size, matches of another, training and sampling at a third."""

from pathlib import Path

import numpy as np
import pytest
import torch
from examples import generators
from torch.nn import functional

from siftvton.correspondence import Correspondences, write_matches
from siftvton.data.dataset import TryOnDataset, collate
from siftvton.data.layouts.base import MATCHES
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import matches_path
from siftvton.model import build
from siftvton.model.inputs import noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.toy.world.write import write_world
from siftvton.training.config import SupervisionConfig
from siftvton.training.step import step_losses


@pytest.mark.parametrize("size", [(1024, 768), (256, 384)])
def test_a_step_and_a_sample(pipeline: TryOnPipeline, tmp_path: Path, size: tuple[int, int]):
    write_world(tmp_path, train_pairs=1, test_pairs=2, height=256, width=192, workers=1)
    pairs = VitonHD(tmp_path).split("train").pairs("paired")
    matches = Correspondences(np.array([[190.0, 224.0]]), np.array([[186.0, 195.0]]), (512, 384))
    folder = tmp_path / "train" / MATCHES
    write_matches(matches_path(folder, pairs[0].person), matches)
    dataset = TryOnDataset(VitonHD(tmp_path).split("train"), pairs, *size, matches=folder, matches_frame=(512, 384))
    batch = collate([dataset[0, 0]])
    assert batch.image.shape == batch.garment.shape == (1, 3, *size)

    pipeline.vae = build.autoencoder([8, 8, 8, 8], blocks_per_level=1, norm_groups=8)  # stride 8, as the published
    network = TryOnNetwork(**{n: p for n, p in pipeline.components.items() if n not in ("vae", "scheduler")})
    inputs = noised(pipeline.vae, pipeline.scheduler, batch, seed=0, dropout=0.0)
    assert inputs.sample.shape == (1, 13, size[0] // 8, size[1] // 8)
    supervision = SupervisionConfig(max_timestep=999, layers="all")
    with step_losses(network, network, pipeline.scheduler, batch, inputs, supervision, 5.0) as losses:
        losses.total.mean().backward()
    assert losses.attention["sift"] > 0
    queries = network.unet.get_submodule(network.unet.hooked_layers("all")[-1]).to_q.weight
    assert queries.grad.abs().max() > 0

    pictures = {name: getattr(batch, name) for name in ("image", "agnostic", "densepose", "garment", "keep_mask")}
    result = pipeline(**pictures, garment_224=batch.garment_224, generators=generators(1), steps=1)
    assert result.shape == (1, 3, *size)
    kept = functional.interpolate(batch.keep_mask, size) == 1
    photo = ((batch.image + 1) * 127.5 + 0.5).floor().to(torch.uint8)
    assert torch.equal(result[kept.expand_as(result)], photo[kept.expand_as(photo)])
