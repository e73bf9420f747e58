"""A model with a tenth of the width: every garment feature, both predictions, both attention losses."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from golden_weights import state_dict
from torch import Tensor

from benchmarks import plain
from siftvton.correspondence import Correspondences
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.published import from_published
from siftvton.model.unet import TryOnUNet
from siftvton.supervision import ReferenceAttention, regularise, supervise

SIZES = {"channels": (32, 64, 128, 128), "heads": 8, "context_width": 64}
FRAME = (512, 384)
LOSS_TIMESTEP = 300


@pytest.fixture
def case(golden):
    values = {name: torch.from_numpy(array) for name, array in np.load(golden("tiny_unet.npz")).items()}
    unet, encoder = TryOnUNet(**SIZES).eval(), GarmentEncoder(**SIZES).eval()
    parts = {"unet": unet, "garment_encoder": encoder}
    shapes = {part: {name: t.shape for name, t in module.state_dict().items()} for part, module in parts.items()}
    weights = from_published(state_dict(golden("tiny_manifest.json")), shapes)
    for part, module in parts.items():
        module.load_state_dict(weights[part])
    return values, unet, encoder


def difference(ours: Tensor, golden: Tensor) -> float:
    """max |ours − golden|, divided by the standard deviation of the golden array."""
    return float((ours - golden).abs().max() / golden.std())


@pytest.mark.parametrize("form", ["ours", "plain"])
@torch.no_grad()
def test_features_and_predictions(case, form: str):
    """Tests our form and the plain dataflow that the benchmarks compare it with."""
    values, unet, encoder = case
    given = (values["timesteps"], values["image_context"])
    unused = plain.UnusedStages(encoder) if form == "plain" else None
    with plain.processors(unet, encoder, fused=False, shortcut=False) if unused else nullcontext():
        features = plain.garment_features(encoder, unused, values["sample"], values["garment_latent"], *given)
        predictions = plain.guided_predictions(unet, values["sample"], *given, values["image_context"], features)
    found = {}
    for n, feature in enumerate(features):
        golden = values[f"garment_feature_{n}"]
        found[f"garment_feature_{n}"] = difference(feature[:, :: feature.shape[1] // golden.shape[1]], golden)
    for name, prediction in zip(("noise_pred", "noise_pred_without_garment"), predictions, strict=True):
        found[name] = difference(prediction, values[name])
    print(found)
    assert len(features) == 9
    assert all(value < 1e-4 for value in found.values()), found


@torch.no_grad()
def test_attention_losses(case, golden):
    values, unet, encoder = case
    timestep = torch.full((2,), LOSS_TIMESTEP)
    features = encoder(values["sample"], values["garment_latent"], timestep, values["image_context"])
    matches = json.loads(golden("reference.json").read_text())["matches"]
    batch = [Correspondences(*np.array(item, dtype=float).swapaxes(0, 1), FRAME) for item in matches]
    reference = ReferenceAttention.from_correspondences(batch)
    mask = torch.nn.functional.interpolate(values["worn_mask"][:, None].float(), values["sample"].shape[-2:])
    with (
        supervise(unet, reference, unet.hooked_layers("middle")) as middle,
        supervise(unet, reference, unet.hooked_layers("all")) as everywhere,
        plain.dense_supervision(unet, batch, unet.hooked_layers("middle")) as dense,
        regularise(unet, mask, FRAME, [unet.variation_layer()]) as variation,
    ):
        unet(values["sample"], timestep, values["image_context"], features)
        found = {
            "sift_loss_middle_layers": middle.loss(),
            "sift_loss_all_layers": everywhere.loss(),
            "atv_loss": variation.loss(),
        }
        plainly = dense.loss()
    torch.testing.assert_close(plainly.double(), values["sift_loss_middle_layers"], rtol=1e-3, atol=0)
    for name, loss in found.items():
        print(name, float((loss.double() - values[name]).abs().max()))
        torch.testing.assert_close(loss.double(), values[name], rtol=1e-3, atol=0)
