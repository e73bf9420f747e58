"""Other autoencoders in place of a pipeline's own: fine-tuned ones under published names, and tiny ones."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from examples import batch_pictures, given, published_form, tiny_autoencoder
from safetensors.torch import save_file

from siftvton.draws import torch_generator
from siftvton.errors import InputError
from siftvton.model import build
from siftvton.model.inputs import draw_latents, posterior
from siftvton.model.published import PREFIXES
from siftvton.sampling.autoencoders import autoencoder_digest, load_autoencoder, use_autoencoder
from siftvton.sampling.execution import tile_decoding
from siftvton.sampling.loading import load, save
from siftvton.sampling.pipeline import TryOnPipeline


def small():
    return build.autoencoder([8, 16, 16], 1, 8)


@pytest.fixture
def published(pipeline: TryOnPipeline) -> dict[str, torch.Tensor]:
    """The tensors of the autoencoder under their published names, without the prefix of the whole model."""
    prefix = PREFIXES["vae"]
    tensors = published_form(pipeline)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_an_autoencoders_own_checkpoint_loads_without_its_training_losses(pipeline, published, tmp_path: Path, ending):
    """The form of StableVITON's fine-tuned autoencoder."""
    path = tmp_path / f"vae.{ending}"
    tensors = published | {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.ones(2)}
    save_file(tensors, path) if ending == "safetensors" else torch.save({"state_dict": tensors}, path)
    loaded = load_autoencoder(path, make=small).state_dict()
    own = pipeline.vae.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[name], value) for name, value in own.items())


def test_the_autoencoder_of_a_whole_published_checkpoint_loads(pipeline, tmp_path: Path):
    torch.save({"state_dict": published_form(pipeline)}, tmp_path / "model.ckpt")
    loaded = load_autoencoder(tmp_path / "model.ckpt", make=small)
    assert torch.equal(loaded.decoder.conv_out.weight, pipeline.vae.decoder.conv_out.weight)


def test_a_checkpoint_of_something_else_is_refused_in_one_line(published, tmp_path: Path):
    published.pop("decoder.conv_out.bias")
    torch.save(published, tmp_path / "vae.ckpt")
    with pytest.raises(
        InputError, match=r"vae\.ckpt: does not fit Stable Diffusion's autoencoder: missing: .*conv_out"
    ):
        load_autoencoder(tmp_path / "vae.ckpt", make=small)
    with pytest.raises(InputError, match="nowhere: no such folder or file"):
        load_autoencoder("nowhere")


@pytest.mark.parametrize("key", ["autoencoder", "model.autoencoder"])
def test_the_message_names_the_key_the_path_and_what_to_do(pipeline: TryOnPipeline, tmp_path: Path, key: str):
    save(pipeline, tmp_path / "model")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    said = {
        tmp_path / "nowhere": "no such folder or file; checkpoints/README.md says where to get weights",
        tmp_path
        / "model": f"is not the folder of an autoencoder, because it has no config.json; use {tmp_path}/model/vae",
        tmp_path: "is not the folder of an autoencoder, because it has no config.json; use one that diffusers wrote",
        tmp_path / "damaged": f"{tmp_path}/damaged/config.json: is not JSON .*; copy it again",
    }
    for path, expected in said.items():
        with pytest.raises(InputError, match=f"^{key}={path}: {expected}$"):
            use_autoencoder(pipeline, path, key)


def test_the_latents_of_a_tiny_autoencoder_are_scaled_already_and_have_no_deviation():
    vae, pictures = tiny_autoencoder(), batch_pictures(2)["image"]
    latents = vae.encode(pictures).latents
    drawn = draw_latents(vae, pictures, [torch_generator(0), torch_generator(1)])
    torch.testing.assert_close(drawn, latents)
    mean, deviation = posterior(vae, pictures).unbind(dim=1)
    assert torch.equal(mean, latents)
    assert not deviation.any()


def test_a_pipeline_dresses_with_a_tiny_autoencoder_and_is_saved_with_it(pipeline: TryOnPipeline, tmp_path: Path):
    tiny_autoencoder().save_pretrained(tmp_path / "tiny")
    use_autoencoder(pipeline, tmp_path / "tiny", "autoencoder")
    assert pipeline.stride == 16
    save(pipeline, tmp_path / "model")
    loaded = load(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    assert isinstance(loaded.vae, AutoencoderTiny)
    first, second = (dressed(each) for each in (pipeline, loaded))
    assert torch.equal(first, second)
    assert first.float().std() > 0


def dressed(pipeline: TryOnPipeline) -> torch.Tensor:
    return pipeline(**given(1), generators=[torch_generator(0)], steps=2)


def test_tiles_of_a_tiny_autoencoder_have_its_own_stride(monkeypatch: pytest.MonkeyPatch):
    vae = tiny_autoencoder()
    monkeypatch.setattr("siftvton.sampling.execution.SAMPLE_SIZE", 64)
    latents = torch.randn(1, 4, 24, 20, generator=torch_generator(0))
    with torch.no_grad():
        whole = vae.decode(latents).sample
        tile_decoding(vae)
        tiled = vae.decode(latents).sample
    assert tiled.shape == whole.shape == (1, 3, 96, 80)
    torch.testing.assert_close(tiled[..., :32, :32], whole[..., :32, :32])


def test_another_number_of_latent_channels_is_refused(pipeline: TryOnPipeline, tmp_path: Path):
    build.autoencoder([8, 8], 1, 8, latent_channels=6).save_pretrained(tmp_path / "six")
    with pytest.raises(InputError, match=r"autoencoder=.*six: has 6 latent channels, but the network has 4; use"):
        use_autoencoder(pipeline, tmp_path / "six", "autoencoder")


def test_the_data_type_of_the_pipeline_is_kept_and_the_digest_follows_the_weights(pipeline, tmp_path: Path):
    other = tiny_autoencoder()
    other.save_pretrained(tmp_path / "tiny")
    before = autoencoder_digest(tmp_path / "tiny")
    pipeline.to(torch.bfloat16)
    use_autoencoder(pipeline, tmp_path / "tiny", "autoencoder")
    assert pipeline.vae.dtype == torch.bfloat16
    other.decoder.layers[0].bias.data += 1
    other.save_pretrained(tmp_path / "tiny")
    assert autoencoder_digest(tmp_path / "tiny") != before
