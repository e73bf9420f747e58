"""Samplers, and how a pipeline runs: none of it changes what is computed, but half precision."""

from functools import partialmethod

import pytest
import torch
from examples import generators, given
from torch import Tensor

from siftvton.config import ExecutionConfig
from siftvton.errors import UsageError
from siftvton.execution import place, use_scheduler
from siftvton.model import build
from siftvton.pipeline import TryOnPipeline, guided_sampling


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
                                  "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"])  # fmt: skip
def test_a_network_that_knows_the_latent_is_followed_to_it(pipeline: TryOnPipeline, name: str, prediction_type: str):
    """Whatever the sampler's own scaling of the latents: the network sees them at the trained noise level."""
    pipeline.scheduler = build.scheduler(prediction_type)
    alphas = pipeline.scheduler.alphas_cumprod
    use_scheduler(pipeline, name)
    latent, start = torch.randn(2, 1, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    levels = []

    def predict(latents: Tensor, timestep: Tensor) -> tuple[Tensor, None]:
        alpha = alphas[int(timestep)]
        noise = (latents - alpha.sqrt() * latent) / (1 - alpha).sqrt()
        levels.append(float(noise.std()))
        return (noise if prediction_type == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * latent), None

    result = guided_sampling(pipeline.scheduler, predict, start, 20, 1.0, [torch.Generator().manual_seed(1)])
    assert (result - latent).square().mean() < 0.01
    assert all(0.7 < level < 1.3 for level in levels), levels


def test_other_samplers_end_near_plms(pipeline: TryOnPipeline):
    results = {}
    for name in ("PNDMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"):
        use_scheduler(pipeline, name)
        results[name] = pipeline(**given(1), generators=generators(1), steps=50).float()
    for name, result in results.items():
        assert (result - results["PNDMScheduler"]).abs().mean() < 12, name


def test_an_unknown_sampler_is_named(pipeline: TryOnPipeline):
    with pytest.raises(UsageError, match=r"scheduler=Plms: allowed are DDIMScheduler, .*PNDMScheduler"):
        use_scheduler(pipeline, "Plms")


def test_a_draw_at_every_step_is_each_images_own(pipeline: TryOnPipeline):
    use_scheduler(pipeline, "EulerAncestralDiscreteScheduler")
    together = pipeline(**given(2), generators=generators(1, 2), steps=3)
    alone = pipeline(**given(1), generators=generators(1), steps=3)
    assert (together[0].int() - alone[0].int()).abs().max() <= 1  # to rounding


def test_the_context_is_projected_once(pipeline: TryOnPipeline):
    """Its projections do not change over the steps; and nothing of them is kept for the next pictures."""
    projection = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v
    calls = []
    projection.register_forward_hook(lambda *_: calls.append(1))
    first = pipeline(**given(1), generators=generators(1), steps=4)
    assert len(calls) == 1
    with torch.no_grad():
        projection.weight.mul_(3)
    assert not torch.equal(pipeline(**given(1), generators=generators(1), steps=4), first)


@pytest.mark.parametrize("setting", ["compile", "channels_last", "vae_slicing"])
def test_the_result_does_not_depend_on_how_it_runs(
    pipeline: TryOnPipeline, setting: str, monkeypatch: pytest.MonkeyPatch
):
    # The default backend also writes and compiles C++, which takes minutes.
    captured = partialmethod(torch.nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", captured)
    plain = pipeline(**given(2), generators=generators(1, 2), steps=2)
    place(pipeline, ExecutionConfig(device="cpu", **{setting: True}))
    result = pipeline(**given(2), generators=generators(1, 2), steps=2)
    assert (result.int() - plain.int()).abs().max() <= 1  # to rounding


def test_tiles_are_decoded_where_they_are_asked_for(pipeline: TryOnPipeline):
    plain = pipeline(**given(1), generators=generators(1), steps=2)
    place(pipeline, ExecutionConfig(device="cpu", vae_tiling=True))
    tiled = pipeline(**given(1), generators=generators(1), steps=2)  # a tile of the tiny autoencoder has 32 pixels
    assert tiled.shape == plain.shape
    assert not torch.equal(tiled, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(pipeline: TryOnPipeline, dtype: torch.dtype):
    plain = pipeline(**given(1), generators=generators(1), steps=2)
    result = pipeline.to(dtype)(**given(1), generators=generators(1), steps=2)
    assert (result.int() - plain.int()).abs().float().mean() < 8


def test_offload_without_a_gpu_is_refused(pipeline: TryOnPipeline):
    with pytest.raises(UsageError, match="offload=true: wants a GPU"):
        place(pipeline, ExecutionConfig(device="cpu", offload=True))
