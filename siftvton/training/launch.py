"""Set up accelerate from the configuration alone."""

import os

from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, InitProcessGroupKwargs

from siftvton.devices import FSDP, PATIENCE, cpu_only, refuse_sharding, set_up_gpu
from siftvton.errors import UsageError, first_line
from siftvton.training import sharding


def accelerator_of(
    mixed_precision: str,
    accumulation: int = 1,
    cpu: bool = False,
    tracker: str | None = None,
    output: str | None = None,
    divides: bool = False,
) -> Accelerator:
    """An accelerator that follows the configuration and not accelerate's environment variables.

    ``ACCELERATE_GRADIENT_ACCUMULATION_STEPS`` and ``ACCELERATE_DYNAMO_BACKEND`` would override plain arguments, but
    not plugins.

    Args:
        accumulation: micro-batches per update.
        cpu: use the CPU even if there is a GPU.
        output: folder for the files of a tracker.
        divides: whether the caller can divide its network among processes (:mod:`siftvton.training.sharding`).

    Raises:
        UsageError: the environment requests something unsupported or contradicts the configuration, or this machine
            lacks the tracker or the precision.
    """
    refuse_sharding(but=FSDP if divides else None)
    plugin = sharding.requested_plugin(mixed_precision) if divides else None
    if (backend := os.environ.get("ACCELERATE_FP8_BACKEND", "NO")) != "NO":  # accelerate reads it at any precision
        raise UsageError(f"ACCELERATE_FP8_BACKEND={backend}: training in 8 bits is not supported; unset it")
    cpu = cpu or cpu_only()
    try:
        accelerator = Accelerator(
            mixed_precision=mixed_precision,
            # A process that keeps only shares has no room for whole gradients between micro-batches.
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=accumulation, sync_each_batch=plugin is not None
            ),
            fsdp_plugin=plugin,
            dynamo_backend="no",
            log_with=tracker,
            project_dir=output,
            cpu=cpu,
            dataloader_config=DataLoaderConfiguration(even_batches=False, non_blocking=True),
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=PATIENCE),
                # Gradients are kept once and not also in the buckets that are exchanged. All buffers are constants.
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False),
            ],
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise UsageError(
            f"accelerate cannot be set up ({first_line(error)}); correct train.tracker={tracker or 'null'} or "
            f"train.mixed_precision={mixed_precision}, or the environment variables of accelerate and the launcher, "
            "such as RANK, WORLD_SIZE and MASTER_ADDR"
        ) from error
    if plugin is not None and not accelerator.is_fsdp2:  # accelerate would go on without dividing anything
        raise UsageError(
            f"{FSDP}=true: accelerate divides a network only among processes with a GPU each; start several of them by "
            f"accelerate launch or torchrun, or unset {FSDP}"
        )
    if tracker and not accelerator.log_with:
        raise UsageError(
            f"train.tracker={tracker} is not installed; run: pip install {tracker}, or set train.tracker=null"
        )
    if (accelerator.device.type == "cpu") != cpu:
        raise UsageError(
            f"ACCELERATE_USE_CPU or ACCELERATE_TORCH_DEVICE selects {accelerator.device}, which contradicts the "
            "configuration; unset both, and set train.cpu=true to train on the CPU"
        )
    set_up_gpu(accelerator.device)
    assert accelerator.gradient_accumulation_steps == accumulation
    assert accelerator.mixed_precision == mixed_precision
    return accelerator
