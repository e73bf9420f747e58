"""Configuration files of pipeline parts: known keys with allowed values load; all else is an error of one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, AutoencoderTiny, PNDMScheduler
from examples import tiny_autoencoder
from transformers import CLIPVisionConfig, CLIPVisionModel

from siftvton.errors import InputError
from siftvton.model import build
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.settings import ALLOWED, REQUIRED, read_settings
from siftvton.model.unet import TryOnUNet

KINDS = list(ALLOWED)
WRONG: list[Any] = [
    None, True, 0, -1, 2, 10**30, 1.5, float("nan"), float("inf"), "", "owner/name", [], {}, [None], [0], [-1], [1.5],
    ["x"], [[1]], [16] * 9, {"a": 1},
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(sizes) -> dict[type, dict[str, Any]]:
    """The configuration of each kind, as the library writes it."""
    parts = build.network_parts(sizes)
    parts["vae"] = build.autoencoder([8, 16, 16], 1, 8)
    parts["preview"] = tiny_autoencoder()
    configs = {type(part): json.loads(part.to_json_string()) for name, part in parts.items() if name != "image_encoder"}
    configs[CLIPVisionModel] = json.loads(parts["image_encoder"].config.to_json_string())
    configs[PNDMScheduler] = json.loads(build.scheduler().to_json_string())
    return configs


def read(path: Path, content: Any, kind: type) -> dict[str, Any]:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_settings(path, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_written_by_the_library_is_read_completely(tmp_path: Path, whole, kind: type):
    settings = read(tmp_path / "config.json", whole[kind], kind)
    built = kind(CLIPVisionConfig(**settings)) if kind is CLIPVisionModel else kind(**settings)
    again = built.config.to_json_string() if kind is CLIPVisionModel else built.to_json_string()
    assert json.loads(again) == whole[kind]
    assert set(ALLOWED[kind]) <= set(whole[kind]), "no rule is for a key that does not exist"


@pytest.mark.parametrize("kind", KINDS)
def test_every_wrong_value_is_one_line_that_names_file_and_key(tmp_path: Path, whole, kind: type):
    """In the libraries, these values cause tracebacks, take terabytes, or silently change the results."""
    refused = 0
    for key, rule in ALLOWED[kind].items():
        for value in WRONG:
            if rule.allows(value):
                continue
            with pytest.raises(InputError, match=rf"config\.json: {key}=.* is not allowed; use ") as caught:
                read(tmp_path / "config.json", whole[kind] | {key: value}, kind)
            assert "\n" not in str(caught.value)
            refused += 1
    assert refused > 15 * len(ALLOWED[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_required_key_is_named(tmp_path: Path, whole, kind: type):
    for key in REQUIRED[kind]:
        lacking = {name: value for name, value in whole[kind].items() if name != key}
        with pytest.raises(InputError, match=rf"config\.json: has no {key}; copy"):
            read(tmp_path / "config.json", lacking, kind)


CODE = {
    "attn_implementation": "owner/kernel",
    "_attn_implementation": "owner/kernel",
    "auto_map": {"AutoModel": "owner/name--module.Class"},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "use_kernels": True,
    "trust_remote_code": True,
    "a\n\x1b[31mb": 1,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", CODE)
def test_a_key_that_may_name_code_is_refused(tmp_path: Path, whole, kind: type, key: str):
    with pytest.raises(InputError, match=rf"config\.json: {re.escape(key) if key.isprintable() else '.a'}") as caught:
        read(tmp_path / "config.json", whole[kind] | {key: CODE[key]}, kind)
    assert "is not a known key; the known keys are " in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["_class_name", "architectures", "model_type", "dtype", "torch_dtype"])
def test_a_file_that_describes_another_kind_is_refused(tmp_path: Path, whole, kind: type, key: str):
    for value in ("DDIMScheduler", ["Other"], {"a": 1}, 3):
        with pytest.raises(InputError, match=rf"config\.json: {key}"):
            read(tmp_path / "config.json", whole[kind] | {key: value}, kind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"owner/name"', 'holds "owner/name"; a JSON object'),
        ("[]", r"holds \[\]; a JSON object"),
        ("null", "holds null; a JSON object"),
        ("", "the file is empty"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"heads": ' + "9" * 5000 + "}", "is not JSON"),
        ("<!DOCTYPE html><html></html>", "is a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is a Git LFS pointer.*git lfs pull"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named(tmp_path: Path, content: str, message: str):
    with pytest.raises(InputError, match=rf"config\.json: {message}"):
        read(tmp_path / "config.json", content, PNDMScheduler)


def test_a_byte_order_mark_is_read(tmp_path: Path, whole):
    marked = "\ufeff" + json.dumps(whole[ImageContext])
    assert read(tmp_path / "config.json", marked, ImageContext)["width"] == 16


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (TryOnUNet, {"heads": 3}, "channels: 16 is not a multiple of heads=3"),
        (GarmentEncoder, {"norm_groups": 5}, "channels: 16 is not a multiple of norm_groups=5"),
        (TryOnUNet, {"channels": [16]}, r"channels=\[16\] has too few levels"),
        (TryOnUNet, {"in_channels": 12}, "in_channels=12 does not fit latent_channels=4; use .* = 13"),
        (CLIPVisionModel, {"num_attention_heads": 3}, "hidden_size: 16 is not a multiple of num_attention_heads=3"),
        (
            AutoencoderKL,
            {"block_out_channels": [8, 16]},
            "down_block_types has 3 entries, but block_out_channels has 2",
        ),
        (AutoencoderKL, {"norm_num_groups": 5}, "block_out_channels: 8 is not a multiple of norm_num_groups=5"),
        (
            AutoencoderTiny,
            {"num_decoder_blocks": [1, 1]},
            "num_decoder_blocks has 2 entries, but encoder_block_out_channels has 3",
        ),
        (PNDMScheduler, {"beta_start": 0.5}, "beta_start=0.5 is above beta_end=0.012"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named(tmp_path: Path, whole, kind, change, message):
    with pytest.raises(InputError, match=rf"config\.json: {message}"):
        read(tmp_path / "config.json", whole[kind] | change, kind)


def test_a_key_that_a_library_added_is_read_where_it_changes_nothing(tmp_path: Path, whole):
    assert read(tmp_path / "config.json", whole[CLIPVisionModel] | {"output_attentions": False}, CLIPVisionModel)
    with pytest.raises(InputError, match="output_attentions=true is not allowed; use false"):
        read(tmp_path / "config.json", whole[CLIPVisionModel] | {"output_attentions": True}, CLIPVisionModel)


def test_stable_diffusions_own_files_are_read(tmp_path: Path):
    """The files from its repository on the hub, with keys that no class here accepts."""
    scheduler = {
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
        "trained_betas": None, "clip_sample": False,
    }  # fmt: skip
    settings = read(tmp_path / "scheduler_config.json", scheduler, PNDMScheduler)
    assert (PNDMScheduler(**settings).alphas_cumprod == build.scheduler().alphas_cumprod).all()
    autoencoder = {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu",
        "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3,
        "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 512,
        "up_block_types": ["UpDecoderBlock2D"] * 4, "scaling_factor": 0.18215,
    }  # fmt: skip
    assert read(tmp_path / "config.json", autoencoder, AutoencoderKL)["sample_size"] == 512
