"""How a pipeline runs: sampler, device, memory layout, compilation. What it computes does not change."""

import torch
from diffusers import EDMEulerScheduler

from siftvton.config import ExecutionConfig
from siftvton.devices import named_device
from siftvton.errors import UsageError
from siftvton.pipeline import TryOnPipeline


def use_scheduler(pipeline: TryOnPipeline, name: str) -> None:
    """Sample by the diffusers scheduler of that class name, with the noise schedule the model was trained with.

    Raises:
        UsageError: diffusers has none of that name that fits.
    """
    # EDM's takes the network's input in another scaling.
    fitting = {kind.__name__: kind for kind in pipeline.scheduler.compatibles if kind is not EDMEulerScheduler}
    if name not in fitting:
        raise UsageError(f"scheduler={name}: allowed are {', '.join(sorted(fitting))}")
    try:
        # Some clip the latent to [−1, 1] by default, as if it were a picture.
        pipeline.scheduler = fitting[name].from_config({**pipeline.scheduler.config, "clip_sample": False})
    except ImportError as error:
        raise UsageError(f"scheduler={name}: {str(error).strip().splitlines()[0]}") from error


def place(pipeline: TryOnPipeline, config: ExecutionConfig, device: torch.device | None = None) -> None:
    """Move a pipeline to its device and set up what ``config`` asks for.

    Args:
        device: where ``config.device`` is null; None: a GPU where there is one.

    Raises:
        UsageError: this machine has not what is asked for.
    """
    device = named_device(config.device) if config.device or device is None else device
    if config.vae_slicing:
        pipeline.vae.enable_slicing()
    if config.vae_tiling:
        pipeline.vae.enable_tiling()
    if config.channels_last:
        for part in (pipeline.unet, pipeline.garment_encoder, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if config.offload:
        if device.type == "cpu":
            raise UsageError("execution.offload=true: wants a GPU to work beside the memory that it saves")
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if config.compile:
        for part in (pipeline.unet, pipeline.garment_encoder):
            part.compile()
