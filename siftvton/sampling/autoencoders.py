"""Put another autoencoder in place of a pipeline's own.

The fine-tuned one of StableVITON is a checkpoint with Stable Diffusion's original names. A tiny autoencoder
(:class:`diffusers.AutoencoderTiny`, TAESD) decodes many times faster, with less detail; its latents are those of Stable
Diffusion after scaling, so its own scaling factor is 1.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from siftvton.errors import InputError, naming
from siftvton.files import sha256
from siftvton.hub import PART, local
from siftvton.model import build, published
from siftvton.model.inputs import Autoencoder
from siftvton.sampling.loading import fill, load_autoencoder_part, read_checkpoint
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.weight_files import SAFETENSORS, require_regular

TRAINING_ONLY = "loss."  # the discriminator and the perceptual loss, in checkpoints of an autoencoder's own training


def load_autoencoder(
    source: str | Path,
    dtype: torch.dtype | None = torch.float32,
    make: Callable[[], AutoencoderKL] = build.full_autoencoder,
) -> Autoencoder:
    """Load an autoencoder.

    Args:
        source: a folder that diffusers wrote, with an ``AutoencoderKL`` or an ``AutoencoderTiny``; or a ``.ckpt`` or
            ``.safetensors`` file with Stable Diffusion's original names, of the autoencoder alone or of a whole model;
            either a path or a name on the hub, see :func:`siftvton.hub.local`.
        dtype: converts the weights to this data type; None: keeps the stored one.
        make: makes the autoencoder that such a file holds; default: Stable Diffusion's.

    Raises:
        InputError: the source is missing or damaged, has other shapes, or holds NaN or infinite values.
    """
    path = local(source, PART)
    if path.is_dir():
        if not (path / PART).exists():
            found = path / "vae" if (path / "vae" / PART).is_file() else "one that diffusers wrote"
            raise InputError(f"{source}: is not the folder of an autoencoder, because it has no {PART}; use {found}")
        return load_autoencoder_part(path, dtype)
    prefix = published.PREFIXES["vae"]
    tensors = read_checkpoint(path)
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not own:
        own = {prefix + name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING_ONLY)}
    with torch.device("meta"):
        autoencoder = make()
    shapes = {"vae": {name: tensor.shape for name, tensor in autoencoder.state_dict().items()}}
    levels = len(autoencoder.config.block_out_channels)
    try:
        renamed = published.from_published(own, shapes, vae_levels=levels)
    except ValueError as error:
        raise InputError(f"{source}: does not fit Stable Diffusion's autoencoder: {error}") from error
    fill(autoencoder, renamed["vae"], path, dtype)
    return autoencoder


def use_autoencoder(pipeline: TryOnPipeline, source: str | Path, key: str) -> None:
    """Put another autoencoder in place of the pipeline's own, in the same data type.

    Args:
        source: as for :func:`load_autoencoder`.
        key: the configuration key that names the source, for the message.

    Raises:
        InputError: the autoencoder cannot be read, or has another number of latent channels.
    """
    with naming(key, source):
        autoencoder = load_autoencoder(source, pipeline.vae.dtype)
    found, required = autoencoder.config.latent_channels, pipeline.unet.config.latent_channels
    if found != required:
        raise InputError(
            f"{key}={source}: has {found} latent channels, but the network has {required}; use an autoencoder with "
            f"{required}"
        )
    pipeline.register_modules(vae=autoencoder)


def autoencoder_digest(source: str | Path) -> str:
    """SHA-256 of the weights of an autoencoder; it distinguishes two trainings under the same path."""
    path = local(source, PART)
    files = sorted(path.glob(f"*{SAFETENSORS}")) if path.is_dir() else [path]
    return hashlib.sha256("".join(sha256(require_regular(file)) for file in files).encode()).hexdigest()
