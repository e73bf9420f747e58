from contextlib import nullcontext

import pytest
import torch
from examples import PIPELINE_SIZE as SIZE
from examples import generators, given

from siftvton.sampling.pipeline import NotFiniteError, TryOnPipeline, guided_sampling


def test_a_result_does_not_depend_on_the_other_images_of_the_batch(pipeline: TryOnPipeline):
    together = pipeline(**given(2), generators=generators(1, 2), steps=3)
    alone = pipeline(**{n: v[1:] for n, v in given(2).items()}, generators=generators(2), steps=3)
    assert together.shape == (2, 3, *SIZE)
    assert together.dtype == torch.uint8
    assert (together[1].int() - alone[0].int()).abs().max() <= 1  # to rounding


def test_kept_pixels_are_the_photo_and_painted_pixels_are_not(pipeline: TryOnPipeline):
    values = given(1)
    result = pipeline(**values, generators=generators(1), steps=2)
    photo = ((values["image"] + 1) * 127.5 + 0.5).floor().to(torch.uint8)
    kept = (values["keep_mask"] == 1).expand_as(photo)
    assert torch.equal(result[kept], photo[kept])
    assert not torch.equal(result[~kept], photo[~kept])
    bare = pipeline(**values, generators=generators(1), steps=2, paste_back=False)
    painted = (values["keep_mask"] == 0).expand_as(photo)
    assert torch.equal(bare[painted], result[painted])
    assert not torch.equal(bare[kept], photo[kept])


def test_the_noise_comes_from_the_generators(pipeline: TryOnPipeline):
    first, again, other = (pipeline(**given(1), generators=generators(seed), steps=2) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_result_depends_on_the_garment(pipeline: TryOnPipeline):
    values = given(1)
    plain = pipeline(**values, generators=generators(1), steps=2)
    values["garment"] = values["garment"].flip(-1)
    assert not torch.equal(pipeline(**values, generators=generators(1), steps=2), plain)


def test_one_batch_of_both_passes_equals_two_passes(pipeline: TryOnPipeline, monkeypatch: pytest.MonkeyPatch):
    """ε = ε_u + guidance·(ε_c − ε_u), with each ε from a separate pass."""
    once = pipeline(**given(2), generators=generators(1, 2), steps=3, guidance=3.0)
    forward = pipeline.unet.forward

    def separately(sample, timestep, context, garment=(), garment_scale=None):
        half = len(sample) // 2
        dressed = forward(sample[:half], timestep[:half], context[:half], garment)
        return torch.cat([dressed, forward(sample[half:], timestep[half:], context[half:])])

    monkeypatch.setattr(pipeline.unet, "forward", separately)
    monkeypatch.setattr(
        "siftvton.sampling.pipeline.token_constant", lambda *_: nullcontext()
    )  # two tokens take turns here
    twice = pipeline(**given(2), generators=generators(1, 2), steps=3, guidance=3.0)
    assert (once.int() - twice.int()).abs().max() <= 1


def test_guidance_of_one_is_the_conditional_pass_alone(pipeline: TryOnPipeline):
    one = pipeline(**given(1), generators=generators(1), steps=3, guidance=1)
    nearly = pipeline(**given(1), generators=generators(1), steps=3, guidance=1 + 1e-6)
    assert (one.int() - nearly.int()).abs().max() <= 1


def test_the_channels_and_the_start_are_the_published_ones(pipeline: TryOnPipeline, monkeypatch: pytest.MonkeyPatch):
    """13 channels in order; the start is the agnostic latent noised to t = 999, and the first call is at 981."""
    values, seen = given(1), []

    def marked(vae, pictures, generators):
        kind = next(name for name in ("agnostic", "densepose", "garment") if torch.equal(values[name], pictures))
        return torch.full((1, 4, 8, 12), {"agnostic": 2.0, "densepose": 3.0, "garment": 4.0}[kind])

    def forward(sample, timestep, context, garment=(), garment_scale=None):
        seen.append((sample, timestep))
        return torch.zeros(len(sample), 4, 8, 12)

    monkeypatch.setattr("siftvton.sampling.pipeline.draw_latents", marked)
    monkeypatch.setattr(pipeline.unet, "forward", forward)
    pipeline(**values, generators=generators(1), steps=50)
    sample, timestep = seen[0]
    latent, agnostic, mask, densepose = sample[:1].split([4, 4, 1, 4], dim=1)
    alpha = pipeline.scheduler.alphas_cumprod[999]
    noise = torch.randn(4, 8, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(latent[0], alpha.sqrt() * 2.0 + (1 - alpha).sqrt() * noise)
    assert timestep.tolist() == [981, 981]
    assert (agnostic == 2).all()
    assert (densepose == 3).all()
    assert mask[0, 0, 0, 0] == pytest.approx(1)
    assert mask[0, 0, 4, 6] == pytest.approx(0, abs=1e-6)


def test_the_two_starts_differ(pipeline: TryOnPipeline):
    agnostic = pipeline(**given(1), generators=generators(1), steps=2)
    noise = pipeline(**given(1), generators=generators(1), steps=2, start="noise")
    assert not torch.equal(agnostic, noise)
    with pytest.raises(ValueError, match="start=photo is not allowed; use agnostic or noise"):
        pipeline(**given(1), generators=generators(1), start="photo")


def test_a_size_off_the_stride_is_refused(pipeline: TryOnPipeline):
    values = {n: v[..., :40] if n != "garment_224" else v for n, v in given(1).items()}
    with pytest.raises(ValueError, match="multiples of 16"):
        pipeline(**values, generators=generators(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_result_that_is_not_finite_is_refused_and_the_others_are_kept(pipeline: TryOnPipeline, value: float):
    values = given(3)
    fine = pipeline(**values, generators=generators(1, 2, 3), steps=2)
    values["densepose"][1] = value
    with pytest.raises(NotFiniteError, match=r"^image 1 of the batch of 3: the result is NaN or infinite") as caught:
        pipeline(**values, generators=generators(1, 2, 3), steps=2)
    assert caught.value.images == (1,)
    assert (caught.value.results[[0, 2]].int() - fine[[0, 2]].int()).abs().max() <= 1  # to rounding


def test_weights_guidance_and_half_precision_that_overflow_give_no_picture(pipeline: TryOnPipeline):
    with pytest.raises(NotFiniteError, match="image 0, 1 of the batch of 2"):
        pipeline(**given(2), generators=generators(1, 2), steps=2, guidance=float("inf"))
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.weight.mul_(1e6)  # beyond float16's 65504
    assert pipeline(**given(1), generators=generators(1), steps=2).shape == (1, 3, 32, 48)
    with pytest.raises(NotFiniteError):
        pipeline.to(torch.float16)(**given(1), generators=generators(1), steps=2)
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError):
        pipeline.to(torch.float32)(**given(1), generators=generators(1), steps=2)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
def test_any_number_of_steps_ends(pipeline: TryOnPipeline, steps: int):
    result = guided_sampling(pipeline.scheduler, lambda x, t: (0.1 * x, None), torch.ones(1, 4, 2, 2), steps, 1.0)
    assert torch.isfinite(result).all()


def test_latents_are_divided_by_the_scaling_factor_before_decoding(
    pipeline: TryOnPipeline, monkeypatch: pytest.MonkeyPatch
):
    latent = 3 * torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("siftvton.sampling.pipeline.guided_sampling", lambda *_: 0.18215 * latent)
    result = pipeline(**given(1), generators=generators(1), paste_back=False)
    with torch.no_grad():
        decoded = pipeline.vae.decode(latent).sample.clamp(-1, 1)
    assert (result - ((decoded + 1) * 127.5)).abs().max() <= 1
