"""Steps on a GPU: finite gradients, nothing that waits, the CPU's values, and the cost of supervision."""

from pathlib import Path
from statistics import median

import pytest
import torch
from examples import generators, given
from gpu_steps import Step, full_float32, no_waits, random_batch, seconds

from siftvton.devices import set_up_gpu
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.execution import dtype_of
from siftvton.sampling.loading import load
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import SupervisionConfig

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
TOY = Path(__file__).parents[2] / "checkpoints" / "toy"
TOY_SIZE = (128, 96)
IMAGES = {"cuda": 8, "cpu": 1}
ROUNDS = {"cuda": 15, "cpu": 1}


@pytest.fixture(autouse=True)
def set_up(device: torch.device) -> None:
    """As the commands do."""
    set_up_gpu(device)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_gradients_of_the_toy_network_are_finite_in_half_precision(
    device: torch.device, dtype: torch.dtype, checkpointing: bool
):
    """In bf16, cuDNN's attention returned NaN gradients for this network at this size; it must be off."""
    step = Step(load(TOY), device, random_batch(IMAGES[device.type], TOY_SIZE), dtype, checkpointing)
    losses = step.run()
    assert losses.total.isfinite().all()
    assert all(loss.isfinite().all() and loss.sum() > 0 for loss in losses.attention.values())
    gradients = step.gradients()
    assert len(gradients) > 100
    assert [name for name, gradient in gradients.items() if not gradient.isfinite().all()] == []
    if device.type == "cuda":
        assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_a_supervised_step_never_waits_for_the_gpu(
    device: torch.device, pipeline: TryOnPipeline, dtype: torch.dtype | None, checkpointing: bool
):
    step = Step(pipeline, device, random_batch(2, (32, 48)), dtype, checkpointing)
    step.run()  # libraries are loaded and kernels chosen, which may wait
    with no_waits(device):
        losses = step.run()
    assert all(loss.sum() > 0 for loss in losses.attention.values())
    assert step.gradients()


def test_what_waits_is_noticed(cuda: torch.device):
    with no_waits(cuda), pytest.raises(RuntimeError, match="synchronizing"):
        torch.ones(1, device=cuda).item()


def test_losses_and_gradients_are_those_of_a_cpu(device: torch.device, pipeline: TryOnPipeline):
    found = []
    with full_float32():
        for place in (CPU, device):
            step = Step(pipeline, place, random_batch(2, (32, 48)))
            losses = step.run()
            parts = [losses.total, *losses.attention.values()]
            gradients = {name: gradient.cpu().clone() for name, gradient in step.gradients().items()}
            found.append(([part.detach().cpu() for part in parts], gradients))
    (expected, those), (parts, ours) = found
    torch.testing.assert_close(parts, expected, rtol=1e-4, atol=1e-5)
    assert ours.keys() == those.keys()
    largest = max(gradient.norm() for gradient in those.values())
    assert [name for name, gradient in those.items() if (ours[name] - gradient).norm() > 1e-4 * largest] == []


def test_pictures_are_those_of_a_cpu(device: torch.device, pipeline: TryOnPipeline):
    with full_float32():
        expected = pipeline(**given(2), generators=generators(1, 2), steps=5)
        found = pipeline.to(device)(**given(2), generators=generators(1, 2), steps=5).cpu()
    assert (found.int() - expected.int()).abs().max() <= 2


def test_pictures_in_the_format_of_the_device_are_close_to_those_in_float32(
    device: torch.device, pipeline: TryOnPipeline
):
    expected = pipeline(**given(2), generators=generators(1, 2), steps=2)
    dtype = dtype_of(ExecutionConfig(device=str(device)))
    found = pipeline.to(device, dtype)(**given(2), generators=generators(1, 2), steps=2).cpu()
    assert (found.int() - expected.int()).abs().float().mean() < 8


def test_the_cost_of_supervision_is_reported(device: torch.device, record_property):
    """The loss of Eq. 2 on all layers, in bf16, as the shipped toy network was trained."""
    step, bare = (
        Step(
            load(TOY),
            device,
            random_batch(IMAGES[device.type], TOY_SIZE),
            torch.bfloat16,
            supervision=SupervisionConfig(weight=weight, max_timestep=999, layers="all"),
        )
        for weight in (1e-3, 0.0)
    )
    assert step.run().attention["sift"].sum() > 0
    assert bare.run().attention["sift"].sum() == 0
    times = [(seconds(step.run, device), seconds(bare.run, device)) for _ in range(ROUNDS[device.type])]
    record_property("supervised step, ms", f"{1000 * median(one for one, _ in times):.1f}")
    record_property("unsupervised step, ms", f"{1000 * median(other for _, other in times):.1f}")
    record_property("supervised over unsupervised, time", f"{median(one / other for one, other in times):.3f}")
