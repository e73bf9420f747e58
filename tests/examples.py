"""Inputs that several tests need."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from siftvton.correspondence import Correspondences
from siftvton.model.published import PREFIXES, published_name, to_published
from siftvton.sampling.lora import save_update
from siftvton.sampling.pipeline import TryOnPipeline


def random_matches(count: int, frame: tuple[int, int], seed: int = 0) -> Correspondences:
    """``count`` random matches in a frame of (height, width) pixels."""
    points = np.random.default_rng(seed).random((2, count, 2)) * np.array([frame[1], frame[0]])
    return Correspondences(points[0], points[1], frame)


def write_update(pipeline: TryOnPipeline, folder: Path, projection: str = "to_q") -> None:
    """Write random updates of rank 2 for one projection of all hooked layers, large enough to change the attention."""
    draw = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in pipeline.unet.hooked_layers("all"):
        name = f"unet.{layer}.{projection}"
        size = pipeline.unet.get_submodule(f"{layer}.{projection}").weight.shape
        tensors[f"{name}.lora_A.weight"] = torch.randn(2, size[1], generator=draw)
        tensors[f"{name}.lora_B.weight"] = torch.randn(size[0], 2, generator=draw)
    save_update(tensors, 2, 4, folder)


PIPELINE_SIZE = (32, 48)


def given(images: int = 2) -> dict[str, torch.Tensor]:
    """Random arguments for a pipeline call with up to three images."""
    torch.manual_seed(3)
    pictures = {
        name: torch.rand(3, 3, *PIPELINE_SIZE) * 2 - 1 for name in ("image", "agnostic", "densepose", "garment")
    }
    mask = torch.ones(3, 1, *PIPELINE_SIZE)
    mask[:, :, 8:24, 8:40] = 0
    mask[:, :, 24:28] = 0.5
    pictures |= {"garment_224": torch.rand(3, 3, 224, 224) * 2 - 1, "keep_mask": mask}
    return {name: value[:images] for name, value in pictures.items()}


def batch_pictures(images: int = 2) -> dict[str, torch.Tensor]:
    """The pictures of :func:`given` that a batch holds."""
    return {name: value for name, value in given(images).items() if name != "garment_224"}


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def published_form(pipeline: TryOnPipeline) -> dict[str, torch.Tensor]:
    """The pipeline's tensors as in a published checkpoint, with CLIP's names as transformers 4 wrote them."""
    ours = {part: getattr(pipeline, part).state_dict() for part in PREFIXES}
    like = {}
    for part, tensors in ours.items():
        for name, tensor in tensors.items():
            shape = list(tensor.shape)
            if part == "image_context" and ".value." in name:
                shape[0] *= 3  # also queries and keys
            if part == "vae" and ".attentions." in name and tensor.ndim == 2:
                shape += [1, 1]
            like[published_name(part, name, vae_levels=3)] = torch.full(shape, 0.5)
    return to_published(ours, like, vae_levels=3)


def tiny_autoencoder(levels: int = 3) -> AutoencoderTiny:
    """A random autoencoder of TAESD's class, with stride 2 ** (levels − 1)."""
    torch.manual_seed(0)
    channels, blocks = (8,) * levels, (1,) * levels
    return AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
    ).eval()
