"""Frozen weights in half precision: the same losses and gradients, and exact weights in what is written."""

import copy

import pytest
import torch
from runs import run, weights
from safetensors.torch import load_file

from siftvton.model.network import TryOnNetwork
from siftvton.model.single_token import unused_parameters
from siftvton.sampling.loading import load, save
from siftvton.training import learner
from siftvton.training.frozen import Frozen, frozen_digest, halve_frozen, lay_out_autoencoder, place_frozen
from siftvton.training.state import select_trainable

CPU = torch.device("cpu")


@pytest.fixture
def network(pipeline) -> TryOnNetwork:
    network = pipeline.network()
    select_trainable(network, "finetune")
    return network


def _gradients(network: TryOnNetwork) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 13, 16, 12), (2, 4, 16, 12), (2, 3, 224, 224))
    sample, garment, picture = (torch.randn(shape, generator=draw) for shape in shapes)
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        prediction = network(sample, torch.tensor([10, 500]), garment, picture, torch.tensor([True, False]))
    prediction.float().square().mean().backward()
    return [prediction, *(each.grad for each in network.parameters() if each.grad is not None)]


def test_predictions_and_gradients_are_the_same_bits(network: TryOnNetwork):
    before = _gradients(network)
    exact = halve_frozen(network, torch.bfloat16)
    assert len(exact) > 20
    assert all(each.dtype == torch.bfloat16 for each in exact)
    assert all(each.dtype == torch.float32 for each in network.parameters() if each.requires_grad)
    after = _gradients(network)
    assert len(before) == len(after)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_is_written_is_exact(pipeline, network: TryOnNetwork, tmp_path):
    expected = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    frozen = Frozen(halve_frozen(network, torch.bfloat16), pipeline.vae)
    with frozen.in_full_precision():
        save(pipeline, tmp_path / "model")
    assert pipeline.unet.mid_block.resnets[0].conv1.weight.dtype == torch.bfloat16
    written = load(tmp_path / "model", None).unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in written.items())


def test_the_digest_covers_frozen_weights_that_have_an_effect(network: TryOnNetwork):
    before = frozen_digest(network)
    parameters = dict(network.named_parameters())
    changed = {}
    for name in ("unet.conv_out.weight", *unused_parameters(network), "unet.mid_block.resnets.0.conv1.weight"):
        parameters[name].data.add_(1)
        changed[name] = frozen_digest(network) != before
    assert [name for name, differs in changed.items() if differs] == ["unet.mid_block.resnets.0.conv1.weight"]
    select_trainable(network, "all")
    assert frozen_digest(network) is None, "a checkpoint holds all weights"


def test_nothing_changes_on_a_cpu(pipeline, network: TryOnNetwork):
    before = copy.deepcopy(network.state_dict())
    frozen = place_frozen(pipeline.vae, network, CPU, "bf16", cached=True)
    assert not frozen.exact
    assert all(value.dtype == before[name].dtype for name, value in network.state_dict().items())


def test_with_cached_latents_the_autoencoder_comes_for_validation_alone(pipeline, network: TryOnNetwork):
    """The meta device stands for a GPU; values do not come back from it, so only places are compared."""
    gpu = torch.device("meta")
    frozen = place_frozen(copy.deepcopy(pipeline.vae), network, gpu, "bf16", cached=True)
    assert frozen.vae.device == CPU
    assert pipeline.unet.mid_block.resnets[0].conv1.weight.dtype == torch.bfloat16
    assert frozen.needed_on == gpu
    assert place_frozen(pipeline.vae, network, gpu, "no", cached=False).needed_on is None


def test_in_bf16_on_a_cpu_the_autoencoder_has_its_channels_last_and_is_written_as_before(pipeline, tmp_path):
    expected = {name: value.clone() for name, value in pipeline.vae.state_dict().items()}
    picture = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    before = pipeline.vae.encode(picture).latent_dist.mean
    lay_out_autoencoder(pipeline.vae, CPU, "no")
    assert torch.equal(pipeline.vae.encode(picture).latent_dist.mean, before)
    lay_out_autoencoder(pipeline.vae, CPU, "bf16")
    weight = pipeline.vae.encoder.down_blocks[0].resnets[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pipeline.vae.encode(picture).latent_dist.mean, before, rtol=1e-4, atol=1e-4)
    save(pipeline, tmp_path / "model")
    written = load(tmp_path / "model", None).vae.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in written.items())


def test_a_run_that_stored_them_in_half_precision_continues_elsewhere_with_exact_weights(
    pipeline, configuration, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    """As on a GPU in bf16, and then on a CPU or by FSDP."""
    save(pipeline, tmp_path / "base")

    def config(updates: int):
        built = configuration(updates=updates, trainable="finetune", mixed_precision="bf16")
        built.model.pretrained, built.model.autoencoder = str(tmp_path / "base"), None
        return built

    with monkeypatch.context() as patched:
        patched.setattr(
            learner, "place_frozen", lambda vae, network, *_: Frozen(halve_frozen(network, torch.bfloat16), vae)
        )
        output = run(config(updates=2))
    stored = load_file(output / "checkpoints" / "update-0000002" / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in stored.values())
    run(config(updates=3))
    written = weights(output)
    assert all(
        torch.equal(value, written[f"unet.{name}"])
        for name, value in pipeline.unet.state_dict().items()
        if name.startswith(("mid_block", "encoder.down_blocks"))
    )
