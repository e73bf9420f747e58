"""The network's inputs for one unpaired test item agree with those of the published loader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from siftvton.data.dataset import TryOnDataset, collate
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.model.inputs import keep_mask_at


def test_inputs(golden: Callable[[str], Path]) -> None:
    expected = np.load(golden("vitonhd_sample.npz"))
    root = golden("vitonhd_sample")
    height, width = expected["image"].shape[:2]
    pairs = VitonHD(root).split("test").pairs("unpaired")
    item = TryOnDataset(VitonHD(root).split("test"), pairs, height, width)[0]

    for name, tensor in (
        ("image", item.image),
        ("agnostic", item.agnostic),
        ("densepose", item.densepose),
        ("cloth", item.garment),
    ):
        levels = tensor.add(1).mul(127.5).permute(1, 2, 0).numpy()
        assert np.abs(levels - expected[name]).max() <= 1, name
    assert np.abs(item.keep_mask[0].numpy() * 255 - expected["keep_mask"].squeeze()).max() <= 1

    keep_mask_latent = torch.from_numpy(expected["keep_mask_latent"].squeeze())
    small = keep_mask_at(item.keep_mask[None], keep_mask_latent.shape)[0, 0]
    torch.testing.assert_close(small, keep_mask_latent, rtol=0, atol=1e-3)
    garment_224 = torch.from_numpy(expected["cloth_224"].astype(np.float32).squeeze())
    torch.testing.assert_close(collate([item]).garment_224[0], garment_224, rtol=0, atol=1e-3)
