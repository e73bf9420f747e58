"""Device mistakes, found without a GPU: PyTorch's fake tensors say "cuda" and refuse to be mixed with the CPU's.

They hold no values. So what depends on a value is replaced: the sampler's loop by one prediction, and the choice of the
images that are supervised. Autograd's backward pass and autocast do not work on them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from examples import batch_pictures, generators, given, random_matches
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from siftvton.data.dataset import TryOnBatch
from siftvton.data.pairs import Pair
from siftvton.evaluation.attention_error import layer_errors
from siftvton.evaluation.attention_maps import at_timestep
from siftvton.model import build
from siftvton.model.inputs import noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.supervision import ReferenceAttention
from siftvton.training.config import SupervisionConfig
from siftvton.training.step import step_losses

FRAME = (32, 48)


@contextmanager
def on_cuda(pipeline: TryOnPipeline) -> Iterator[None]:
    """The pipeline's weights say "cuda"; tensors that are made meanwhile are the CPU's unless they say otherwise."""
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):
        for part in pipeline.components.values():
            for module in part.modules() if isinstance(part, nn.Module) else ():
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        module._parameters[name] = nn.Parameter(torch.empty_like(parameter, device="cuda"))
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = torch.empty_like(buffer, device="cuda")
        yield


@pytest.fixture
def batch() -> TryOnBatch:
    return TryOnBatch(
        **batch_pictures(2),
        worn_mask=torch.ones(2, 1, *FRAME),
        matches=[random_matches(9, FRAME), random_matches(5, FRAME)],
        pair=[Pair("a.jpg", "a.jpg"), Pair("b.jpg", "b.jpg")],
        key=[(0, 0), (0, 1)],
    )


def losses_on_cuda(pipeline: TryOnPipeline, batch: TryOnBatch) -> list[Tensor]:
    """What a training step gives, its draws on the CPU as ever."""
    supervision = SupervisionConfig(
        weight=0.1, max_timestep=999, layers="all", atv_weight=0.001, place_weight=0.1, flow_weight=0.001
    )
    with on_cuda(pipeline):
        batch = batch.to("cuda")
        inputs = noised(pipeline.vae, pipeline.scheduler, batch, seed=0, dropout=0.1)
        network = pipeline.network()
        with step_losses(network, network, pipeline.scheduler, batch, inputs, supervision, 5.0) as losses:
            return [
                losses.total,
                losses.noise,
                *losses.attention.values(),
                *losses.sift_at.values(),
            ]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_training_step(
    pipeline: TryOnPipeline, batch: TryOnBatch, prediction_type: str, monkeypatch: pytest.MonkeyPatch
):
    """Network and every attention loss."""
    monkeypatch.setattr(ReferenceAttention, "where", lambda reference, active: reference)
    pipeline.scheduler = build.scheduler(prediction_type)
    losses = losses_on_cuda(pipeline, batch)
    assert {loss.device.type for loss in losses} == {"cuda"}
    assert losses[0].requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_sampling(pipeline: TryOnPipeline, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    """Pictures and generators on the CPU, as scripts and readers hand them over."""
    predictions: list[Tensor] = []

    def one_step(scheduler: Any, predict: Any, latents: Tensor, *_: Any) -> Tensor:
        predictions.extend(predict(latents, torch.tensor(981, device=latents.device)))
        return latents

    monkeypatch.setattr("siftvton.sampling.pipeline.guided_sampling", one_step)
    monkeypatch.setattr("siftvton.sampling.pipeline.not_finite", lambda pictures: [])
    with on_cuda(pipeline.to(dtype)):
        result = pipeline(**given(2), generators=generators(1, 2))
    assert result.shape == (2, 3, *FRAME)
    assert {tensor.device.type for tensor in (result, *predictions)} == {"cuda"}
    assert {prediction.dtype for prediction in predictions} == {torch.float32}


def test_the_attention_measure(pipeline: TryOnPipeline, batch: TryOnBatch):
    layers = pipeline.unet.hooked_layers("all")
    with on_cuda(pipeline):
        inputs = at_timestep(pipeline, batch, 450, seed=0)
        places = [lambda _grid, matches=matches: matches for matches in batch.matches]
        errors, _ = layer_errors(pipeline.network(), batch.to("cuda"), inputs, places, layers)
    assert inputs.sample.device.type == "cuda"
    assert errors.shape == (len(layers), 2, 5)


@pytest.mark.parametrize("left", ["constant", "timestep"])
def test_a_tensor_that_is_left_on_the_cpu_is_found(
    pipeline: TryOnPipeline, batch: TryOnBatch, left: str, monkeypatch: pytest.MonkeyPatch
):
    """Keeps these tests able to fail."""
    monkeypatch.setattr(ReferenceAttention, "where", lambda reference, active: reference)
    forward = TryOnNetwork.forward

    def mistaken(network: TryOnNetwork, sample: Tensor, timestep: Tensor, *given: Tensor) -> Tensor:
        if left == "constant":
            return forward(network, sample * torch.ones(1, 13, 1, 1), timestep, *given)
        return forward(network, sample, timestep.cpu(), *given)

    monkeypatch.setattr(TryOnNetwork, "forward", mistaken)
    with pytest.raises(RuntimeError, match="at least two devices"):
        losses_on_cuda(pipeline, batch)
