"""The keys and values that are allowed in the configuration file of a pipeline part.

The loaders of the libraries act on more keys than the sizes of a network. Some of these keys name code to download
and run (``attn_implementation``, ``auto_map``, ``quantization_config``). Therefore the libraries never read a
configuration file themselves: a part is built only from settings that passed these rules.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusers import AutoencoderKL, AutoencoderTiny, PNDMScheduler
from transformers import CLIPVisionConfig, CLIPVisionModel

from siftvton.data.dataset import CLIP_SIZE
from siftvton.errors import InputError
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.unet import TryOnUNet
from siftvton.weight_files import read_json, shown


class Rule(NamedTuple):
    allows: Callable[[Any], bool]
    words: str  # names the allowed values, for messages


def _whole(lowest: int, highest: int) -> Rule:
    def allows(value: Any) -> bool:
        return type(value) is int and lowest <= value <= highest

    return Rule(allows, f"a whole number from {lowest} to {highest}")


def _number(lowest: float, highest: float) -> Rule:
    def allows(value: Any) -> bool:  # false for NaN
        return type(value) in (int, float) and lowest <= value <= highest

    return Rule(allows, f"a number from {lowest:g} to {highest:g}")


def _one_of(*values: Any) -> Rule:
    def allows(value: Any) -> bool:
        return any(type(value) is type(each) and value == each for each in values)

    return Rule(allows, " or ".join(map(json.dumps, values)))


def _list_of(rule: Rule, longest: int) -> Rule:
    def allows(value: Any) -> bool:
        return type(value) is list and 1 <= len(value) <= longest and all(map(rule.allows, value))

    return Rule(allows, f"a list of 1 to {longest}, each {rule.words}")


YES_OR_NO = _one_of(True, False)
TEXT = Rule(lambda value: value is None or isinstance(value, str), "text")
# Far above the sizes of any real model; without limits, a wrong number could build layers for hours.
WIDTH = _whole(1, 65_536)
LEVELS = 8
BLOCKS = _whole(1, 16)
LAYERS = _whole(1, 128)
CHANNELS = _list_of(WIDTH, LEVELS)

NETWORK = {
    "in_channels": WIDTH,
    "latent_channels": WIDTH,
    "channels": CHANNELS,
    "blocks_per_level": BLOCKS,
    "heads": WIDTH,
    "norm_groups": WIDTH,
    "context_width": WIDTH,
}
ALLOWED: dict[type, dict[str, Rule]] = {
    AutoencoderKL: {
        "in_channels": _one_of(3),
        "out_channels": _one_of(3),
        "down_block_types": _list_of(_one_of("DownEncoderBlock2D"), LEVELS),
        "up_block_types": _list_of(_one_of("UpDecoderBlock2D"), LEVELS),
        "block_out_channels": CHANNELS,
        "layers_per_block": BLOCKS,
        "act_fn": _one_of("silu"),
        "latent_channels": WIDTH,
        "norm_num_groups": WIDTH,
        "sample_size": WIDTH,
        "scaling_factor": _number(1e-6, 1e6),
        "shift_factor": _one_of(None),  # no code here applies one
        "latents_mean": _one_of(None),
        "latents_std": _one_of(None),
        "force_upcast": YES_OR_NO,
        "use_quant_conv": YES_OR_NO,
        "use_post_quant_conv": YES_OR_NO,
        "mid_block_add_attention": YES_OR_NO,
    },
    AutoencoderTiny: {
        "in_channels": _one_of(3),
        "out_channels": _one_of(3),
        "encoder_block_out_channels": CHANNELS,
        "decoder_block_out_channels": CHANNELS,
        "num_encoder_blocks": _list_of(BLOCKS, LEVELS),
        "num_decoder_blocks": _list_of(BLOCKS, LEVELS),
        "act_fn": _one_of("relu"),
        "upsample_fn": _one_of("nearest"),
        "upsampling_scaling_factor": _one_of(2),
        "latent_channels": WIDTH,
        "latent_magnitude": _number(1e-6, 1e6),  # this and the shift only for latents that are stored as pictures
        "latent_shift": _number(-1e6, 1e6),
        "scaling_factor": _number(1e-6, 1e6),
        "shift_factor": _number(0, 0),  # no code here applies one
        "force_upcast": YES_OR_NO,
    },
    CLIPVisionModel: {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "projection_dim": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": WIDTH,
        "num_channels": _one_of(3),
        "image_size": _one_of(CLIP_SIZE),
        "patch_size": _whole(1, CLIP_SIZE),
        "hidden_act": _one_of("quick_gelu", "gelu"),
        "layer_norm_eps": _number(1e-12, 1e-2),
        "attention_dropout": _number(0, 1),
        "initializer_range": _number(0, 1),
        "initializer_factor": _number(0, 100),
    },
    ImageContext: {"width": WIDTH, "depth": _whole(0, 128), "context_width": WIDTH},
    GarmentEncoder: NETWORK,
    TryOnUNet: NETWORK,
    PNDMScheduler: {
        "num_train_timesteps": _one_of(1000),
        "beta_start": _number(1e-8, 0.999),
        "beta_end": _number(1e-8, 0.999),
        "beta_schedule": _one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
        "trained_betas": _one_of(None),
        "skip_prk_steps": _one_of(True),  # PLMS; False is a slower start by Runge-Kutta steps
        "set_alpha_to_one": YES_OR_NO,
        "prediction_type": _one_of("epsilon", "v_prediction"),
        "timestep_spacing": _one_of("linspace", "leading", "trailing"),
        "steps_offset": _whole(0, 1),
    },
}
# Keys that must be given: the weights' shapes do not show them, or the libraries' defaults belong to another model.
REQUIRED: dict[type, tuple[str, ...]] = {
    AutoencoderKL: (
        "block_out_channels",
        "down_block_types",
        "up_block_types",
        "layers_per_block",
        "latent_channels",
        "norm_num_groups",
        "scaling_factor",
    ),
    AutoencoderTiny: (
        "encoder_block_out_channels",
        "decoder_block_out_channels",
        "num_encoder_blocks",
        "num_decoder_blocks",
        "latent_channels",
        "scaling_factor",
    ),
    CLIPVisionModel: ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size"),
    ImageContext: tuple(ALLOWED[ImageContext]),
    GarmentEncoder: tuple(NETWORK),
    TryOnUNet: tuple(NETWORK),
    PNDMScheduler: (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "skip_prk_steps",
        "set_alpha_to_one",
        "steps_offset",
        "prediction_type",
    ),
}
# Keys that say where a file comes from. They are checked, then ignored.
DIFFUSERS_NOTES = {"_diffusers_version": TEXT, "_name_or_path": TEXT}
DTYPE = _one_of(None, "float32", "float16", "bfloat16")
NOTES: dict[type, dict[str, Rule]] = {
    CLIPVisionModel: {
        "_name_or_path": TEXT,
        "architectures": Rule(lambda value: value in (None, ["CLIPVisionModel"]), '["CLIPVisionModel"]'),
        "model_type": _one_of("clip_vision_model"),
        "transformers_version": TEXT,
        "dtype": DTYPE,
        "torch_dtype": DTYPE,  # written by transformers 4
        "dropout": _number(0, 0),
    },
    AutoencoderTiny: {**DIFFUSERS_NOTES, "block_out_channels": CHANNELS},  # the decoder's
    PNDMScheduler: {**DIFFUSERS_NOTES, "clip_sample": _one_of(False)},  # clip_sample is in Stable Diffusion's file
}


def read_settings(path: Path, kind: type) -> dict[str, Any]:
    """Read and check the settings of a part of class ``kind``.

    Raises:
        InputError: a key is unknown or missing, a value is not allowed, or two values do not fit each other.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {shown(json.dumps(content))}; a JSON object with the settings is required")
    rules, defaults = ALLOWED[kind], _defaults(kind)
    notes = NOTES.get(kind, DIFFUSERS_NOTES) | {"_class_name": _one_of(kind.__name__)}
    for key, value in content.items():
        rule = rules.get(key) or notes.get(key)
        if rule is None and key in defaults:  # a newer library version may add keys; their defaults change nothing
            rule = _one_of(defaults[key])
        if rule is None:
            raise InputError(f"{path}: {shown(key)} is not a known key; the known keys are {', '.join(rules)}")
        if not rule.allows(value):
            raise InputError(f"{path}: {shown(key)}={shown(json.dumps(value))} is not allowed; use {rule.words}")
    missing = [key for key in REQUIRED[kind] if key not in content]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}; copy the folder again")
    settings = {
        key: float(value) if type(value) is int and type(defaults[key]) is float else value
        for key, value in content.items()
        if key in defaults and key not in notes
    }
    problem = _misfit(kind, {**defaults, **settings})
    if problem:
        raise InputError(f"{path}: {problem}")
    return settings


def _defaults(kind: type) -> dict[str, Any]:
    if kind is CLIPVisionModel:
        return CLIPVisionConfig().to_dict()
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def _misfit(kind: type, settings: Mapping[str, Any]) -> str | None:
    """A description of two settings that do not fit each other; None if all fit."""
    if kind in (TryOnUNet, GarmentEncoder):
        if len(settings["channels"]) < 2:
            return f"channels={list(settings['channels'])} has too few levels; use 2 or more"
        required = 3 * settings["latent_channels"] + 1  # noisy, agnostic and DensePose latent, and the mask
        if settings["in_channels"] != required:
            return (
                f"in_channels={settings['in_channels']} does not fit latent_channels={settings['latent_channels']}; "
                f"use 3·latent_channels + 1 = {required}"
            )
        return _indivisible(settings, "channels", ("heads", "norm_groups"))
    if kind is CLIPVisionModel:
        return _indivisible(settings, "hidden_size", ("num_attention_heads",))
    if kind is AutoencoderKL:
        levels = len(settings["block_out_channels"])
        for key in ("down_block_types", "up_block_types"):
            if len(settings[key]) != levels:
                return (
                    f"{key} has {len(settings[key])} entries, but block_out_channels has {levels}; "
                    "use the same number for both"
                )
        return _indivisible(settings, "block_out_channels", ("norm_num_groups",))
    if kind is AutoencoderTiny:
        return _levels_differ(settings)
    if kind is PNDMScheduler and settings["beta_start"] > settings["beta_end"]:
        return f"beta_start={settings['beta_start']} is above beta_end={settings['beta_end']}; use a lower beta_start"
    return None


def _levels_differ(settings: Mapping[str, Any]) -> str | None:
    """A description of two lists of a tiny autoencoder that do not have an entry for each level; None if all have."""
    first = "encoder_block_out_channels"
    for key in ("num_encoder_blocks", "decoder_block_out_channels", "num_decoder_blocks"):
        if len(settings[key]) != len(settings[first]):
            return (
                f"{key} has {len(settings[key])} entries, but {first} has {len(settings[first])}; use the same number "
                "for both"
            )
    return None


def _indivisible(settings: Mapping[str, Any], widths: str, divisors: tuple[str, ...]) -> str | None:
    found = settings[widths]
    for width in [found] if isinstance(found, int) else found:
        for divisor in divisors:
            if width % settings[divisor]:
                return (
                    f"{widths}: {width} is not a multiple of {divisor}={settings[divisor]}; "
                    f"use multiples of {settings[divisor]}"
                )
    return None
