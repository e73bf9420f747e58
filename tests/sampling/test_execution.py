"""Samplers, and how a pipeline runs; of the latter, only half precision and tiles change the results."""

from functools import partialmethod
from typing import Any

import diffusers
import pytest
import torch
from examples import generators, given
from torch import Tensor, nn

from siftvton.errors import UsageError
from siftvton.model import build
from siftvton.sampling import execution
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.execution import dtype_of, place, use_scheduler
from siftvton.sampling.pipeline import TryOnPipeline, guided_sampling, with_timesteps

SAMPLERS = ["DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
            "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
            "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler",
            "LMSDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler"]  # fmt: skip


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
                                  "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"])  # fmt: skip
def test_a_network_that_knows_the_latent_leads_every_sampler_to_it(
    pipeline: TryOnPipeline, name: str, prediction_type: str
):
    """Samplers scale the latents differently, but the network always sees them at the trained noise level."""
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


def sampler(name: str, spacing: str | None) -> Any:
    """A saved pipeline's configuration gives every sampler ``leading`` spacing; None: each keeps its own spacing."""
    config = dict(build.scheduler().config)
    if spacing:
        del config["_use_default_values"]
    return getattr(diffusers, name).from_config(config, clip_sample=False, lower_order_final=True)


def end_and_first_timestep(scheduler: Any, steps: int) -> tuple[float, float]:
    """The final squared error of a network that knows its latent, and the first timestep."""
    latent, start = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    alphas = build.scheduler().alphas_cumprod
    times: list[float] = []

    def predict(latents: Tensor, timestep: Tensor) -> tuple[Tensor, None]:
        times.append(float(timestep))
        alpha = alphas[int(timestep)]
        return (latents - alpha.sqrt() * latent) / (1 - alpha).sqrt(), None

    result = guided_sampling(scheduler, predict, start, steps, 1.0, generators(1))
    return float((result - latent).square().mean()), times[0]


@pytest.mark.parametrize("spacing", [None, "leading"], ids=["own_spacing", "leading"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_sampling_begins_near_the_timestep_of_the_start(name: str, spacing: str | None):
    scheduler = sampler(name, spacing)
    for steps in (1, 2, 4, 9, 50):
        error, first = end_and_first_timestep(scheduler, steps)
        assert 890 <= first <= 999, steps
        assert error < 0.01, steps
    for steps in (334, 501, 1000):
        fixed_stride = name in ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler")
        if (fixed_stride and steps < 1000) or (name == "DPMSolverSinglestepScheduler" and steps == 1000):
            with pytest.raises(UsageError, match=f"steps={steps}"):
                with_timesteps(scheduler, steps)
            continue
        times = with_timesteps(scheduler, steps).timesteps
        assert 890 <= times[0] <= 999, steps
        assert times[-1] <= 1 + 1000 / steps, steps
        assert len(times.unique()) >= steps


@pytest.mark.parametrize("name", ["DDIMScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler"])
def test_a_step_for_every_timestep_of_the_schedule_is_allowed(name: str):
    error, first = end_and_first_timestep(sampler(name, None), 1000)
    assert error < 0.01
    assert first == 999


def test_the_published_numbers_of_steps_keep_their_timesteps():
    for steps in (10, 20, 25, 30, 50, 100, 250, 500):
        published = build.scheduler()
        published.set_timesteps(steps)
        assert torch.equal(with_timesteps(build.scheduler(), steps).timesteps, published.timesteps)


@pytest.mark.parametrize(("steps", "allowed"), [(112, "111 or 113"), (600, "500 or 890"), (0, "1"), (1001, "1000")])
def test_a_refused_number_of_steps_names_the_nearest_allowed_ones(steps: int, allowed: str):
    with pytest.raises(UsageError, match=rf"^steps={steps}: PNDMScheduler cannot divide .*; use {allowed}$"):
        with_timesteps(build.scheduler(), steps)


def test_an_unknown_sampler_is_refused_with_the_allowed_ones(pipeline: TryOnPipeline):
    """Not allowed are a sampler with another scaling of the latents, and one with its own noise generator."""
    with pytest.raises(UsageError, match=f"scheduler=Plms is not allowed; use one of {', '.join(SAMPLERS)}$"):
        use_scheduler(pipeline, "Plms")


@pytest.mark.parametrize(
    "name", ["DDPMScheduler", "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler"]
)
def test_each_image_draws_the_noise_of_every_step_from_its_own_generator(name: str):
    """The network predicts no noise, so the latents show the sampler's own noise at full strength."""
    scheduler = getattr(diffusers, name).from_config(build.scheduler().config, clip_sample=False)
    start = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    def sampled(latents: Tensor, *seeds: int) -> Tensor:
        return guided_sampling(scheduler, lambda x, t: (torch.zeros_like(x), None), latents, 4, 1.0, generators(*seeds))

    together = sampled(start, 1, 2)
    torch.testing.assert_close(sampled(start[1:], 2), together[1:])
    torch.testing.assert_close(sampled(start[:1], 1), together[:1])
    assert (sampled(start[:1], 3) - together[:1]).abs().mean() > 0.1 * together.abs().mean()


def test_the_context_is_projected_once(pipeline: TryOnPipeline):
    """Its projections do not change during sampling, and they are not kept for the next pictures."""
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


def smooth(height: int, width: int) -> dict[str, Tensor]:
    """Arguments for a pipeline: pictures without sharp edges, to be painted everywhere."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, height // 16, width // 16, generator=draw) * 2 - 1
    pictures = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(-1, 1)
    values = dict(zip(("image", "agnostic", "densepose", "garment"), pictures[:, None], strict=True))
    return values | {"garment_224": torch.zeros(1, 3, 224, 224), "keep_mask": torch.zeros(1, 1, height, width)}


def test_tiles_are_decoded_near_the_whole_and_nothing_is_encoded_in_tiles(
    pipeline: TryOnPipeline, monkeypatch: pytest.MonkeyPatch
):
    """A picture of 128 × 96 has 6 tiles of 64 pixels. The error is 3 levels; with diffusers' default of 32 it is 7."""
    monkeypatch.setattr("siftvton.sampling.execution.SAMPLE_SIZE", 64)
    calls: list[nn.Module] = []
    for part in (pipeline.vae.encoder, pipeline.vae.decoder):
        part.register_forward_hook(lambda module, given, out: calls.append(module))
    whole = pipeline(**smooth(128, 96), generators=generators(1), steps=2)
    assert calls == [pipeline.vae.encoder] * 3 + [pipeline.vae.decoder]
    calls.clear()
    place(pipeline, ExecutionConfig(device="cpu", vae_tiling=True))
    tiled = pipeline(**smooth(128, 96), generators=generators(1), steps=2)
    assert calls == [pipeline.vae.encoder] * 3 + [pipeline.vae.decoder] * 6
    assert (tiled.float() - whole.float()).abs().mean() < 4


def test_a_tile_has_512_pixels(pipeline: TryOnPipeline):
    """As in Stable Diffusion. Once, a 512 × 384 picture was decoded in 352 tiles of 4 × 4 latent cells."""
    with torch.device("meta"):
        assert build.full_autoencoder().config.sample_size == 512
    pipeline.vae = build.autoencoder([8, 8, 8, 8], blocks_per_level=1, norm_groups=8)
    place(pipeline, ExecutionConfig(device="cpu", vae_tiling=True))
    sizes = []
    pipeline.vae.decoder.register_forward_hook(lambda module, given, out: sizes.append(tuple(given[0].shape[2:])))
    with torch.no_grad():
        pipeline.vae.decode(torch.zeros(1, 4, 64, 48))
        pipeline.vae.decode(torch.zeros(1, 4, 80, 24))
    assert sizes == [(64, 48), (64, 24), (32, 24)]


def test_channels_last_changes_the_memory_layout_of_all_networks(pipeline: TryOnPipeline):
    place(pipeline, ExecutionConfig(device="cpu", channels_last=True))
    for part in (pipeline.unet, pipeline.garment_encoder, pipeline.vae):
        kernels = [
            module.weight for module in part.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
        assert kernels
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
        assert not any(kernel.is_contiguous() for kernel in kernels if kernel.shape[1] > 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_results_in_half_precision_are_close(pipeline: TryOnPipeline, dtype: torch.dtype):
    plain = pipeline(**given(1), generators=generators(1), steps=2)
    result = pipeline.to(dtype)(**given(1), generators=generators(1), steps=2)
    assert (result.int() - plain.int()).abs().float().mean() < 8


def test_offload_without_a_gpu_is_refused(pipeline: TryOnPipeline):
    with pytest.raises(UsageError, match="offload=true requires a GPU"):
        place(pipeline, ExecutionConfig(device="cpu", offload=True))


@pytest.mark.parametrize("name", ["meta", "hpu", "nonsense"])
def test_a_device_that_holds_no_values_is_refused(pipeline: TryOnPipeline, name: str):
    with pytest.raises(UsageError, match=f"device={name} is not available"):
        place(pipeline, ExecutionConfig(device=name))


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_computes_in_bfloat16_samples_in_it(monkeypatch, supported: bool, dtype: torch.dtype):
    monkeypatch.setattr(execution, "device_of", lambda _name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert dtype_of(ExecutionConfig()) == dtype
    assert dtype_of(ExecutionConfig(dtype="float16")) == torch.float16


def test_a_cpu_samples_in_float32():
    assert dtype_of(ExecutionConfig(device="cpu")) == torch.float32
