"""Memory on a GPU: the peaks of training and sampling are the counted ones, and offloading frees the GPU."""

import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import generators, given
from gpu_steps import random_batch

from siftvton.correspondence import Correspondences
from siftvton.devices import set_up_gpu
from siftvton.evaluation.attention_maps import mean_maps
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.execution import place
from siftvton.sampling.pipeline import TryOnPipeline

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from cases import SIZES, Case, Size
from memory import GB, count_sampling, count_training, measure_sampling, measure_training

pytestmark = pytest.mark.gpu

LIBRARIES = 0.3  # GB, the workspaces of libraries, which the arithmetic does not count


@pytest.fixture(autouse=True)
def set_up(device: torch.device) -> None:
    """As the commands do."""
    set_up_gpu(device)


@pytest.fixture
def size(device: torch.device) -> Size:
    return SIZES["full" if device.type == "cuda" else "toy"]


def require_memory(device: torch.device, needed: float) -> None:
    """Skip the test if the GPU has too little free memory, in GB."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0] / GB
        if free < needed:
            pytest.skip(f"requires {needed:.0f} GB of free GPU memory; there are {free:.0f} GB")


@pytest.mark.parametrize(
    ("case", "images"),
    [
        (Case(checkpointing=True), 1),
        (Case(checkpointing=True), 8),
        (Case(), 8),
        (Case(trainable="lora", checkpointing=True), 8),
    ],
    ids=lambda value: getattr(value, "title", value),
)
def test_training_takes_the_counted_memory(device: torch.device, size: Size, case: Case, images: int, record_property):
    if case.trainable == "lora":
        pytest.importorskip("peft")
    if device.type == "cpu" and not case.checkpointing:
        pytest.skip("autocast on a CPU keeps activations in another format")
    counted = count_training(case, size, images)["total"]
    require_memory(device, 1.2 * counted + 1)
    (found,) = measure_training(case, size, device, [images])
    assert "error" not in found
    record_property("peak over counted, GB", f"{found['peak']:.3f} over {counted:.3f}")
    assert 0.9 * counted < found["peak"] < 1.1 * counted + LIBRARIES


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_sampling_takes_the_counted_memory(device: torch.device, size: Size, dtype: torch.dtype, record_property):
    counted = count_sampling(size, 1, dtype)["total"]
    require_memory(device, 1.2 * counted + 1)
    (found,) = measure_sampling(size, device, dtype)
    record_property("peak over counted, GB", f"{found['peak']:.3f} over {counted:.3f}")
    assert 0.9 * counted < found["peak"] < 1.1 * counted + LIBRARIES


def test_offloaded_parts_are_on_the_gpu_only_while_they_work(cuda: torch.device, pipeline: TryOnPipeline):
    expected = pipeline.to(cuda)(**given(2), generators=generators(1, 2), steps=2)
    pipeline.to("cpu")
    place(pipeline, ExecutionConfig(device=str(cuda), offload=True))
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for _ in range(2):  # also after a first call
        assert {parameter.device.type for part in parts for parameter in part.parameters()} == {"cpu"}
        found = pipeline(**given(2), generators=generators(1, 2), steps=2)
        assert (found.cpu().int() - expected.cpu().int()).abs().max() <= 1
    assert {parameter.device.type for part in parts for parameter in part.parameters()} == {"cpu"}


def test_the_attention_of_an_offloaded_pipeline_is_that_on_a_cpu(cuda: torch.device, pipeline: TryOnPipeline):
    batch, point = random_batch(1, (32, 48)), np.array([[20.0, 16.0]])
    layers = pipeline.network().hooked_layers("all")
    arguments = batch, Correspondences(point, point, (32, 48)), layers, [300], 0
    expected = mean_maps(pipeline, *arguments)
    place(pipeline, ExecutionConfig(device=str(cuda), offload=True))
    found = mean_maps(pipeline, *arguments)
    assert np.abs(found - expected).sum() < 0.02
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {parameter.device.type for part in parts for parameter in part.parameters()} == {"cpu"}


def test_a_compiled_pipeline_draws_the_eager_pictures(
    device: torch.device, pipeline: TryOnPipeline, monkeypatch: pytest.MonkeyPatch
):
    if device.type == "cpu":  # the default backend takes minutes on a CPU
        monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    expected = pipeline.to(device)(**given(2), generators=generators(1, 2), steps=2)
    place(pipeline, ExecutionConfig(device=str(device), compile=True))
    found = pipeline(**given(2), generators=generators(1, 2), steps=2)
    assert (found.int() - expected.int()).abs().float().mean() < 1
