"""How a pipeline runs: sampler, device, memory layout, compilation. Only half precision and tiles change results."""

import torch
from diffusers import AutoencoderKL, DPMSolverSDEScheduler, EDMEulerScheduler

from siftvton.devices import device_of
from siftvton.errors import UsageError
from siftvton.model.build import SAMPLE_SIZE
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.pipeline import TryOnPipeline

# EDM's takes the network's input in another scaling. The SDE solver draws its noise from a generator of its own, so
# that a picture would depend on its batch and on chance.
UNFIT = (EDMEulerScheduler, DPMSolverSDEScheduler)


def use_scheduler(pipeline: TryOnPipeline, name: str) -> None:
    """Sample by the diffusers scheduler of that class name, with the noise schedule the model was trained with.

    Raises:
        UsageError: diffusers has no scheduler of that name that fits.
    """
    fitting = {kind.__name__: kind for kind in pipeline.scheduler.compatibles if kind not in UNFIT}
    if name not in fitting:
        raise UsageError(f"scheduler={name} is not allowed; use one of {', '.join(sorted(fitting))}")
    # Some clip the latent to [−1, 1] by default, as if it were a picture. DPM-Solver's single-step form requires a
    # lower order at the end, and says so at every call unless it is set.
    settings = {**pipeline.scheduler.config, "clip_sample": False, "lower_order_final": True}
    pipeline.scheduler = fitting[name].from_config(settings)


def place(pipeline: TryOnPipeline, config: ExecutionConfig) -> None:
    """Move a pipeline to its device and set up what ``config`` asks for.

    Raises:
        UsageError: the requested device is not available.
    """
    device = device_of(config.device)
    if config.vae_slicing:
        pipeline.vae.enable_slicing()
    if config.vae_tiling:
        tile_decoding(pipeline.vae)
    if config.channels_last:
        for part in (pipeline.unet, pipeline.garment_encoder, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if config.offload:
        if device.type == "cpu":
            raise UsageError("execution.offload=true requires a GPU; leave it out on a CPU")
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if config.compile:
        for part in (pipeline.unet, pipeline.garment_encoder):
            part.compile()


def tile_decoding(vae: AutoencoderKL) -> None:
    """Decode pictures larger than 512 × 512 pixels in tiles of that size that overlap by a quarter.

    The pipeline encodes in one piece all the same. The size is set here too, since folders that were written before
    it was part of their configuration have diffusers' default of 32 pixels.
    """
    vae.tile_sample_min_size = SAMPLE_SIZE
    vae.tile_latent_min_size = SAMPLE_SIZE // 2 ** (len(vae.config.block_out_channels) - 1)
    vae.enable_tiling()
