"""The rename table: against diffusers' converters, against the manifest of the release, and in both directions."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from golden_weights import state_dict

from siftvton.model import build
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.published import from_published, is_dropped, to_published
from siftvton.model.unet import TryOnUNet

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = {"channels": (32, 64, 128, 128), "context_width": 64}


def shapes(parts: dict[str, torch.nn.Module]) -> dict[str, dict[str, torch.Size]]:
    return {part: {name: t.shape for name, t in module.state_dict().items()} for part, module in parts.items()}


@pytest.fixture(scope="module")
def tiny() -> dict[str, torch.Tensor]:
    return state_dict(GOLDEN / "tiny_manifest.json")


@pytest.fixture(scope="module")
def parts() -> dict[str, torch.nn.Module]:
    with torch.device("meta"):
        return {"unet": TryOnUNet(**TINY), "garment_encoder": GarmentEncoder(**TINY)}


def test_unet_names_are_those_of_diffusers_converter(tiny, parts):
    ours = from_published(tiny, shapes(parts))["unet"]
    config = {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": None}
    theirs = convert_ldm_unet_checkpoint(dict(tiny), config)
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name] if name in ours else ours[f"encoder.{name}"]), name
    hooked = [name for name in ours if name.startswith("garment_attention.")]
    assert len(theirs) + len(hooked) == len(ours)


def test_vae_names_are_those_of_diffusers_converter():
    manifest = json.loads((GOLDEN / "release_manifest.json").read_text())
    published = {  # each tensor repeats a different number, which is stored once
        name: torch.tensor(float(n)).expand(shape)
        for n, (name, shape) in enumerate(manifest.items())
        if name.startswith("first_stage_model.")
    }
    with torch.device("meta"):
        vae = build.full_autoencoder()
    theirs = convert_ldm_vae_checkpoint(published, {"down_block_types": [0] * 4, "up_block_types": [0] * 4})
    ours = from_published(published, shapes({"vae": vae}))["vae"]
    assert len(ours) == len(published)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name].reshape(tensor.shape)), name


def test_every_tensor_of_the_release_has_its_place():
    """At full size and strict in both directions, without any weights."""
    manifest = json.loads((GOLDEN / "release_manifest.json").read_text())
    with torch.device("meta"):
        released = {name: torch.empty(shape) for name, shape in manifest.items()}
        full = build.full_parts()
    converted = from_published(released, shapes(full))
    assert sum(len(tensors) for tensors in converted.values()) + sum(map(is_dropped, manifest)) == len(manifest)


def test_converting_back_gives_the_original(tiny, parts):
    ours = from_published(tiny, shapes(parts))
    back = to_published(ours, like=tiny)
    assert list(back) == list(tiny)
    assert all(torch.equal(back[name], tiny[name]) for name in tiny)
    zeros = to_published(ours, like={name: torch.zeros_like(t) for name, t in tiny.items()})
    assert all(torch.equal(zeros[name], tiny[name]) == (not is_dropped(name)) for name in tiny)


def test_the_context_blocks_take_the_value_third_of_the_published_projection():
    with torch.device("meta"):
        context = {"image_context": ImageContext(width=8, depth=1, context_width=4)}
    expected = shapes(context)
    published = {
        "learnable_vector": (1, 1, 4), "proj_out.weight": (4, 8), "proj_out.bias": (4,),
        "cond_stage_model.final_ln.weight": (8,), "cond_stage_model.final_ln.bias": (8,),
    }  # fmt: skip
    block = {
        "attn.c_qkv.weight": (24, 8), "attn.c_qkv.bias": (24,), "attn.c_proj.weight": (8, 8), "attn.c_proj.bias": (8,),
        "ln_1.weight": (8,), "ln_1.bias": (8,), "ln_2.weight": (8,), "ln_2.bias": (8,),
        "mlp.c_fc.weight": (32, 8), "mlp.c_fc.bias": (32,), "mlp.c_proj.weight": (8, 32), "mlp.c_proj.bias": (8,),
    }  # fmt: skip
    published |= {f"cond_stage_model.mapper.resblocks.0.{name}": shape for name, shape in block.items()}
    tensors = {name: torch.randn(shape) for name, shape in published.items()}
    ours = from_published(tensors, expected)
    qkv = tensors["cond_stage_model.mapper.resblocks.0.attn.c_qkv.weight"]
    value = ours["image_context"]["blocks.0.value.weight"]
    assert torch.equal(value, qkv[16:])
    assert value.untyped_storage().nbytes() == value.nbytes, "a part of a larger tensor cannot be resumed from"
    back = to_published(ours, like=tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    single = {**tensors, "cond_stage_model.mapper.resblocks.0.attn.c_qkv.weight": torch.tensor(1.0)}
    with pytest.raises(ValueError, match=r"of another shape: cond_stage_model.*c_qkv\.weight \[\], expected \[8, 8\]"):
        from_published(single, expected)


def test_a_missing_a_misshapen_and_an_unknown_tensor_are_named(tiny, parts):
    broken = dict(tiny)
    del broken["model.diffusion_model.out.2.bias"]
    broken["model.diffusion_model.out.0.bias"] = torch.zeros(7)
    broken["model.diffusion_model.extra"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=r"missing: .*out\.2\.bias; of another shape: .*out\.0\.bias.*; unexpected: .*extra"
    ):
        from_published(broken, shapes(parts))
