"""How a pipeline runs: sampler, device, memory layout, compilation.

Of these, only the sampler, half precision and tiles change the results.
"""

import torch
from diffusers import AutoencoderTiny, DPMSolverSDEScheduler, EDMEulerScheduler

from siftvton.devices import device_of, ready_device
from siftvton.errors import UsageError
from siftvton.model.build import SAMPLE_SIZE
from siftvton.model.inputs import Autoencoder
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.pipeline import TryOnPipeline

# EDM's sampler scales the network's input differently. The SDE solver draws noise from its own generator, so a picture
# would depend on its batch and could not be reproduced.
UNFIT = (EDMEulerScheduler, DPMSolverSDEScheduler)


def use_scheduler(pipeline: TryOnPipeline, name: str) -> None:
    """Sample by another diffusers scheduler, with the noise schedule that the model was trained with.

    Args:
        name: the class name of the scheduler.

    Raises:
        UsageError: diffusers has no compatible scheduler of that name.
    """
    fitting = {kind.__name__: kind for kind in pipeline.scheduler.compatibles if kind not in UNFIT}
    if name not in fitting:
        raise UsageError(f"scheduler={name} is not allowed; use one of {', '.join(sorted(fitting))}")
    # Some schedulers clip the latent to [−1, 1] by default, as if it were a picture. The single-step DPM-Solver needs a
    # lower order at the end; unless this is set, it prints a warning at every call.
    settings = {**pipeline.scheduler.config, "clip_sample": False, "lower_order_final": True}
    pipeline.scheduler = fitting[name].from_config(settings)


def dtype_of(config: ExecutionConfig) -> torch.dtype:
    """The number format that ``config`` names, for its device.

    Raises:
        UsageError: the requested device is not available.
    """
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    on_gpu = device_of(config.device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if on_gpu else torch.float32


def place(pipeline: TryOnPipeline, config: ExecutionConfig) -> None:
    """Move a pipeline to its device and set it up as ``config`` says.

    Raises:
        UsageError: the requested device is not available.
    """
    device = ready_device(config.device)
    if config.vae_slicing:
        pipeline.vae.enable_slicing()
    if config.vae_tiling:
        tile_decoding(pipeline.vae)
    if config.channels_last:
        for part in (pipeline.unet, pipeline.garment_encoder, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if config.offload:
        if device.type == "cpu":
            raise UsageError("execution.offload=true requires a GPU; set it to false on a CPU")
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if config.compile:
        for part in (pipeline.unet, pipeline.garment_encoder):
            part.compile()


def tile_decoding(vae: Autoencoder) -> None:
    """Decode pictures larger than 512 × 512 pixels in tiles of this size, which overlap by a quarter.

    The pipeline still encodes pictures in one piece. The size is set here because older model folders do not store it
    in their configuration and would get diffusers' default of 32 pixels.
    """
    vae.tile_sample_min_size = SAMPLE_SIZE
    stride = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_latent_min_size = SAMPLE_SIZE // stride
    if isinstance(vae, AutoencoderTiny):
        vae.spatial_scale_factor = stride  # diffusers assumes 8
    vae.enable_tiling()
