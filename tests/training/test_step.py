"""One micro-batch: the inputs of the network, and the images that each loss applies to."""

from dataclasses import replace

import pytest
import torch

from siftvton.data.dataset import TryOnBatch, collate
from siftvton.model import build
from siftvton.model import inputs as inputs_module
from siftvton.model.inputs import Noised, keep_mask_at, noised
from siftvton.model.network import TryOnNetwork
from siftvton.training import validation
from siftvton.training.config import SupervisionConfig
from siftvton.training.loop import _Run, training_set
from siftvton.training.step import step_losses


@pytest.fixture
def batch(configuration) -> TryOnBatch:
    config = configuration(supervision={"atv_weight": 0.01})
    config.data.augment = False
    dataset = training_set(config)
    return collate([dataset[0, 0], dataset[0, 1]])


@pytest.fixture
def network(pipeline) -> TryOnNetwork:
    return TryOnNetwork(
        **{name: getattr(pipeline, name) for name in pipeline.components if name not in ("vae", "scheduler")}
    )


def test_draws_are_keyed_by_seed_epoch_and_index(pipeline, batch: TryOnBatch):
    later = replace(batch, key=[(1, index) for _, index in batch.key])
    first, again, epoch = (
        noised(pipeline.vae, build.scheduler(), each, 0, 0.1).target for each in (batch, batch, later)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, epoch)
    assert not torch.equal(first, noised(pipeline.vae, build.scheduler(), batch, 1, 0.1).target)
    assert not torch.equal(first[0], first[1])


def test_a_noise_offset_shifts_each_channel_and_leaves_all_other_draws_as_they_are(pipeline, batch: TryOnBatch):
    plain, shifted, doubled = (
        noised(pipeline.vae, build.scheduler(), batch, 0, 0.1, noise_offset=offset) for offset in (0.0, 0.1, 0.2)
    )
    shift = shifted.target - plain.target
    torch.testing.assert_close(shift, shift[..., :1, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert len(shift[..., 0, 0].unique()) == len(batch) * 4
    torch.testing.assert_close(doubled.target - plain.target, 2 * shift, rtol=0, atol=1e-6)
    alpha = build.scheduler().alphas_cumprod[plain.timestep].view(-1, 1, 1, 1)
    torch.testing.assert_close(shifted.sample[:, :4] - plain.sample[:, :4], (1 - alpha).sqrt() * shift)
    assert torch.equal(shifted.sample[:, 4:], plain.sample[:, 4:])
    assert torch.equal(shifted.garment_latent, plain.garment_latent)
    assert torch.equal(shifted.timestep, plain.timestep)


def test_the_draws_of_a_noise_offset_depend_on_the_item_alone(pipeline, batch: TryOnBatch, configuration):
    config = configuration()
    config.data.augment = False
    dataset = training_set(config)
    together = noised(pipeline.vae, build.scheduler(), batch, 0, 0.1, noise_offset=0.5)
    for row, key in enumerate(batch.key):
        alone = noised(pipeline.vae, build.scheduler(), collate([dataset[key]]), 0, 0.1, noise_offset=0.5)
        assert torch.equal(alone.target[0], together.target[row])


def test_the_sample_is_noisy_latent_agnostic_latent_keep_mask_densepose_latent(pipeline, batch: TryOnBatch):
    _without_posterior_noise(pipeline.vae)
    inputs = noised(pipeline.vae, build.scheduler(), batch, 0, 0.0)
    image, agnostic, densepose, garment = (
        0.18215 * pipeline.vae.encode(pictures).latent_dist.mean
        for pictures in (batch.image, batch.agnostic, batch.densepose, batch.garment)
    )
    alpha = build.scheduler().alphas_cumprod[inputs.timestep].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * image + (1 - alpha).sqrt() * inputs.target
    expected = torch.cat([noisy, agnostic, keep_mask_at(batch.keep_mask, image.shape[-2:]), densepose], dim=1)
    torch.testing.assert_close(inputs.sample, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inputs.garment_latent, garment, rtol=1e-4, atol=1e-4)


def test_v_is_the_target_for_a_v_prediction_schedule(pipeline, batch: TryOnBatch):
    epsilon, v = (noised(pipeline.vae, build.scheduler(kind), batch, 0, 0.0) for kind in ("epsilon", "v_prediction"))
    assert torch.equal(epsilon.sample, v.sample)
    alpha = build.scheduler().alphas_cumprod[v.timestep].view(-1, 1, 1, 1)
    noise = (1 - alpha).sqrt() * v.sample[:, :4] + alpha.sqrt() * v.target
    torch.testing.assert_close(noise, epsilon.target, rtol=1e-4, atol=1e-4)


def _losses(network, batch, timestep, keep, supervision, prediction_type="epsilon"):
    torch.manual_seed(5)
    size = (batch.image.shape[-2] // 4, batch.image.shape[-1] // 4)
    inputs = Noised(
        torch.randn(2, 13, *size),
        torch.randn(2, 4, *size),
        torch.randn(2, 4, *size),
        torch.tensor(timestep),
        torch.tensor(keep),
    )
    schedule = build.scheduler(prediction_type)
    with step_losses(network, network, schedule, batch, inputs, supervision, 5.0) as losses:
        return losses


def test_images_up_to_eta_are_supervised(network: TryOnNetwork, batch: TryOnBatch):
    losses = _losses(network, batch, [500, 501], [True, True], SupervisionConfig(max_timestep=500))
    assert losses.attention["sift"][0] > 0
    assert losses.attention["sift"][1] == 0


def test_the_attention_loss_is_the_mean_over_strides(network: TryOnNetwork, batch: TryOnBatch):
    losses = _losses(network, batch, [100, 200], [True, True], SupervisionConfig(layers="middle"))
    assert list(losses.sift_at) == [2, 1]  # coarsest first
    torch.testing.assert_close(losses.attention["sift"], (losses.sift_at[1] + losses.sift_at[2]) / 2)
    assert not torch.equal(losses.sift_at[1], losses.sift_at[2])


def test_dropped_images_have_no_attention_loss(network: TryOnNetwork, batch: TryOnBatch):
    losses = _losses(network, batch, [100, 100], [True, False], SupervisionConfig(atv_weight=0.01))
    for attention in (losses.attention["sift"], losses.attention["atv"]):
        assert attention[0] > 0
        assert attention[1] == 0


def test_the_losses_on_places_run_where_the_matches_do(network: TryOnNetwork, batch: TryOnBatch):
    config = SupervisionConfig(weight=0.0, place_weight=1.0, flow_weight=1.0, max_timestep=500)
    losses = _losses(network, batch, [500, 501], [True, True], config)
    dropped = _losses(network, batch, [500, 500], [True, False], config)
    for attention in (losses.attention, dropped.attention):
        for name in ("place", "flow"):
            assert attention[name][0] > 0
            assert attention[name][1] == 0
        assert attention["sift"].tolist() == [0, 0]
    alpha = build.scheduler().alphas_cumprod[[500, 501]]
    weight = (5 * (1 - alpha) / alpha).clamp(max=1)
    torch.testing.assert_close(
        losses.total, weight * losses.noise + losses.attention["place"] + losses.attention["flow"]
    )


def test_soft_references_change_only_the_losses_on_matches(network: TryOnNetwork, batch: TryOnBatch):
    hard, soft = (
        _losses(network, batch, [100, 100], [True, True], SupervisionConfig(match_sigma=sigma, place_weight=1.0))
        for sigma in (0.0, 4.0)
    )
    assert not torch.equal(hard.attention["sift"], soft.attention["sift"])
    assert torch.equal(hard.attention["place"], soft.attention["place"])
    assert torch.equal(hard.noise, soft.noise)


def test_the_total_is_the_weighted_sum(network: TryOnNetwork, batch: TryOnBatch):
    losses = _losses(network, batch, [0, 0], [True, True], SupervisionConfig(weight=0.5, atv_weight=0.01))
    alpha = build.scheduler().alphas_cumprod[0]
    weight = 5 * (1 - alpha) / alpha  # SNR(0) is above γ = 5
    torch.testing.assert_close(
        losses.total, weight * losses.noise + 0.5 * losses.attention["sift"] + 0.01 * losses.attention["atv"]
    )


def test_v_prediction_has_its_own_weight(network: TryOnNetwork, batch: TryOnBatch):
    losses = _losses(network, batch, [500, 999], [True, True], SupervisionConfig(weight=0), "v_prediction")
    alpha = build.scheduler().alphas_cumprod[[500, 999]]  # the SNR is below γ, so the weight is ᾱ
    torch.testing.assert_close(losses.total, alpha * losses.noise)


def test_timesteps_are_uniform_and_dropout_has_the_configured_rate(batch, pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs_module, "draw_latents", lambda vae, pictures, generators: torch.zeros(2, 4, 16, 12))
    timesteps, kept = [], []
    for epoch in range(500):
        batch.key[:] = [(epoch, 0), (epoch, 1)]
        inputs = noised(pipeline.vae, build.scheduler(), batch, seed=0, dropout=0.1)
        timesteps += inputs.timestep.tolist()
        kept += inputs.conditioned.tolist()
    assert min(timesteps) < 10
    assert max(timesteps) >= 990
    assert sum(timesteps) / 1000 == pytest.approx(499.5, abs=30)
    assert sum(kept) / 1000 == pytest.approx(0.9, abs=0.03)


def test_the_settings_of_the_paper_reach_the_optimiser_and_validation(configuration):
    run = _Run(configuration(weight_decay=0.01, learning_rate=1e-4))
    assert {group["weight_decay"] for group in run.learner.optimizer.param_groups} == {0.01}
    run.progress.update = 2  # after the warm-up
    assert run._learning_rate() == 1e-4
    assert validation.GUIDANCE == 1.5


def _without_posterior_noise(vae):
    with torch.no_grad():
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -30
