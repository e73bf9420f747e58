"""accelerate, set up by the configuration alone."""

import os

from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

from siftvton.devices import PATIENCE, cpu_only, refuse_sharding
from siftvton.errors import UsageError, first_line


def accelerator_of(
    mixed_precision: str,
    accumulation: int = 1,
    cpu: bool = False,
    tracker: str | None = None,
    output: str | None = None,
) -> Accelerator:
    """An accelerator that does what the configuration says, whatever accelerate's environment variables say.

    accelerate reads ``ACCELERATE_GRADIENT_ACCUMULATION_STEPS`` and ``ACCELERATE_DYNAMO_BACKEND`` before the plain
    arguments, but not before plugins.

    Args:
        cpu: use the CPU even where there is a GPU. output: the folder for a tracker's files.

    Raises:
        UsageError: the environment asks for what is not supported or contradicts the configuration; or this machine
            has no such tracker or precision.
    """
    refuse_sharding()
    if (backend := os.environ.get("ACCELERATE_FP8_BACKEND", "NO")) != "NO":  # read whatever the precision is
        raise UsageError(f"ACCELERATE_FP8_BACKEND={backend}: training in 8 bits is not supported; unset it")
    cpu = cpu or cpu_only()
    try:
        accelerator = Accelerator(
            mixed_precision=mixed_precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulation),
            dynamo_backend="no",
            log_with=tracker,
            project_dir=output,
            cpu=cpu,
            dataloader_config=DataLoaderConfiguration(even_batches=False),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise UsageError(
            f"accelerate cannot be set up ({first_line(error)}); correct train.tracker={tracker} or "
            f"train.mixed_precision={mixed_precision}, or the environment variables of accelerate and of the launcher, "
            "such as RANK, WORLD_SIZE and MASTER_ADDR"
        ) from error
    if tracker and not accelerator.log_with:
        raise UsageError(f"train.tracker={tracker}: is not installed; pip install {tracker}, or train.tracker=null")
    if (accelerator.device.type == "cpu") != cpu:
        raise UsageError(
            f"ACCELERATE_USE_CPU or ACCELERATE_TORCH_DEVICE chooses {accelerator.device}, which contradicts the "
            "configuration; unset them (train.cpu=true trains on the CPU)"
        )
    assert accelerator.gradient_accumulation_steps == accumulation
    assert accelerator.mixed_precision == mixed_precision
    return accelerator
