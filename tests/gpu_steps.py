"""Supervised steps on a device, for the tests marked gpu."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from examples import random_matches
from torch import Tensor

from siftvton.data.dataset import TryOnBatch
from siftvton.data.pairs import Pair
from siftvton.model.inputs import Noised, noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import SupervisionConfig
from siftvton.training.step import StepLosses, step_losses

ALL_LOSSES = SupervisionConfig(
    weight=0.1, max_timestep=999, layers="all", atv_weight=0.001, place_weight=0.1, flow_weight=0.001, match_sigma=4
)
MATCHES = 9  # in each picture


def random_batch(images: int, size: tuple[int, int], seed: int = 0) -> TryOnBatch:
    """Random pictures on the CPU, painted in the middle."""
    draw = torch.Generator().manual_seed(seed)

    def picture() -> Tensor:
        return torch.rand(images, 3, *size, generator=draw) * 2 - 1

    worn = torch.zeros(images, 1, *size)
    worn[..., size[0] // 4 : 3 * size[0] // 4, size[1] // 4 : 3 * size[1] // 4] = 1
    return TryOnBatch(
        image=picture(),
        agnostic=picture(),
        densepose=picture(),
        keep_mask=1 - worn,
        garment=picture(),
        worn_mask=worn,
        matches=[random_matches(MATCHES, size, index) for index in range(images)],
        pair=[Pair(f"{index}.jpg", f"{index}.jpg") for index in range(images)],
        key=[(0, index) for index in range(images)],
    )


class Step:
    """A training step of a pipeline's network, which it can repeat.

    Attributes:
        network: the network, on the device, in training mode.
        inputs: the noised inputs.
    """

    def __init__(
        self,
        pipeline: TryOnPipeline,
        device: torch.device,
        batch: TryOnBatch,
        dtype: torch.dtype | None = None,
        checkpointing: bool = False,
        supervision: SupervisionConfig = ALL_LOSSES,
    ) -> None:
        """
        Args:
            dtype: number format of autocast; None: float32 without autocast.
        """
        self.device, self.dtype, self.supervision = device, dtype, supervision
        self.scheduler, self.batch = pipeline.scheduler, batch.to(device)
        self.network: TryOnNetwork = pipeline.network().to(device).train().requires_grad_(True)
        if checkpointing:
            self.network.enable_gradient_checkpointing()
        self.inputs: Noised = noised(pipeline.vae.to(device), self.scheduler, self.batch, seed=0, dropout=0.0)

    def run(self) -> StepLosses:
        """Run forward and backward pass; the gradients are in the network."""

        def network(*inputs: Tensor) -> Tensor:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                return self.network(*inputs).float()

        self.network.zero_grad()
        given = self.network, self.scheduler, self.batch, self.inputs, self.supervision, 5.0
        with step_losses(network, *given) as losses:
            losses.total.mean().backward()
        return losses

    def gradients(self) -> dict[str, Tensor]:
        return {name: each.grad for name, each in self.network.named_parameters() if each.grad is not None}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that ``work`` takes: by events on a GPU, which do not count the CPU's time around it."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


@contextmanager
def no_waits(device: torch.device) -> Iterator[None]:
    """Inside the block, an operation that makes the CPU wait for the GPU is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def full_float32() -> Iterator[None]:
    """Inside the block, a GPU computes with the whole mantissa of float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def all_finite(values: dict[str, float]) -> bool:
    return all(map(math.isfinite, values.values()))
