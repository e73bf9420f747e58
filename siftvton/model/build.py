"""The parts of a pipeline at given sizes, with random weights."""

from typing import Any

from diffusers import AutoencoderKL, PNDMScheduler
from transformers import CLIPVisionConfig, CLIPVisionModel

from siftvton.data.dataset import CLIP_SIZE
from siftvton.errors import UsageError
from siftvton.model.config import ModelConfig
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.unet import TryOnUNet

SAMPLE_SIZE = 512  # pixels, as in Stable Diffusion; diffusers derives the size of its tiles from it


def scheduler(prediction_type: str = "epsilon") -> PNDMScheduler:
    """PLMS with the noise schedule of Stable Diffusion: 1000 steps, β = linspace(√0.00085, √0.012)²."""
    return PNDMScheduler(
        prediction_type=prediction_type,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def autoencoder(
    channels: list[int], blocks_per_level: int, norm_groups: int, latent_channels: int = 4
) -> AutoencoderKL:
    """Stable Diffusion's autoencoder at the given sizes; each level except the last halves the picture."""
    return AutoencoderKL(
        block_out_channels=tuple(channels),
        layers_per_block=blocks_per_level,
        norm_num_groups=norm_groups,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        latent_channels=latent_channels,
        sample_size=SAMPLE_SIZE,
        scaling_factor=0.18215,
    )


def full_autoencoder() -> AutoencoderKL:
    """Stable Diffusion's autoencoder, KL-f8."""
    return autoencoder([128, 256, 512, 512], blocks_per_level=2, norm_groups=32)


def full_parts() -> dict[str, Any]:
    """The parts of the published model, by their names in the pipeline, without the scheduler."""
    vae = full_autoencoder()
    return {"vae": vae, **network_parts(ModelConfig(), vae.config.latent_channels)}


def network_parts(sizes: ModelConfig, latent_channels: int = 4) -> dict[str, Any]:
    """All parts except the autoencoder and the scheduler, by their names in the pipeline.

    Args:
        latent_channels: those of the autoencoder.

    Raises:
        UsageError: the sizes do not fit each other.
    """
    for width in sizes.channels:
        if width % sizes.heads or width % sizes.norm_groups:
            raise UsageError(
                f"model.channels={sizes.channels} is not allowed; use multiples of model.heads={sizes.heads} and of "
                f"model.norm_groups={sizes.norm_groups}"
            )
    if len(sizes.channels) < 2:
        raise UsageError(f"model.channels={sizes.channels} is not allowed; use two levels or more")
    if sizes.image_width % sizes.image_heads:
        raise UsageError(
            f"model.image_width={sizes.image_width} is not allowed; use a multiple of "
            f"model.image_heads={sizes.image_heads}"
        )
    shared = {
        "in_channels": 3 * latent_channels + 1,  # noisy, agnostic and DensePose latent, and the keep-mask
        "latent_channels": latent_channels,
        "channels": sizes.channels,
        "blocks_per_level": sizes.blocks_per_level,
        "heads": sizes.heads,
        "norm_groups": sizes.norm_groups,
        "context_width": sizes.context_width,
    }
    return {
        "image_encoder": CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=sizes.image_width,
                intermediate_size=4 * sizes.image_width,
                num_hidden_layers=sizes.image_layers,
                num_attention_heads=sizes.image_heads,
                patch_size=sizes.image_patch,
                image_size=CLIP_SIZE,
            )
        ),
        "image_context": ImageContext(sizes.image_width, sizes.context_blocks, sizes.context_width),
        "garment_encoder": GarmentEncoder(**shared),
        "unet": TryOnUNet(**shared),
    }
