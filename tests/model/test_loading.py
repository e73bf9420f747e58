import json
from pathlib import Path

import pytest
import torch
from examples import published_form
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError
from siftvton.model import build
from siftvton.model.loading import from_published, load, read_checkpoint, save
from siftvton.pipeline import TryOnPipeline


@pytest.fixture
def folder(pipeline: TryOnPipeline, tmp_path: Path) -> Path:
    save(pipeline, tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_pipeline_comes_back_whole(pipeline: TryOnPipeline, folder: Path):
    loaded = load(folder)
    assert loaded.stride == pipeline.stride == 16
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            ours = getattr(loaded, name).state_dict()
            assert all(torch.equal(ours[key], value) for key, value in part.state_dict().items()), name
        else:
            assert torch.equal(getattr(loaded, name).alphas_cumprod, part.alphas_cumprod)
    assert not any(path.name.startswith(".") for path in folder.parent.iterdir())


def test_a_missing_source_is_named():
    with pytest.raises(InputError, match="nowhere: no such folder or file"):
        load("nowhere")


def test_a_folder_without_a_part_is_named(folder: Path):
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(InputError, match=r"unet/config\.json: no such file"):
        load(folder)


def test_weights_of_another_shape_are_named(folder: Path):
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"channels": [16, 32, 64]}))
    with pytest.raises(
        InputError, match=r"unet: the weights do not fit config\.json: .*\[32, 32, 3, 3\], expected \[64, "
    ):
        load(folder)


def test_truncated_weights_are_named(folder: Path):
    path = folder / "garment_encoder" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.safetensors: damaged or not a safetensors file"):
        load(folder)


def test_a_missing_weight_is_not_made_up(folder: Path):
    """Loaders fill gaps with random weights and a warning."""
    path = folder / "image_context" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("norm.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"image_context.*norm\.weight"):
        load(folder)


def test_a_class_named_in_a_folder_is_not_imported(folder: Path):
    """What is loaded is fixed here, whatever model_index.json says."""
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["antigravity", "Anything"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert type(load(folder).unet).__name__ == "TryOnUNet"


def test_a_published_checkpoint_computes_what_its_weights_say(pipeline: TryOnPipeline, sizes, tmp_path: Path):
    """Guards a NaN from CLIP: its position indices are in no checkpoint, and were left unset."""
    torch.save({"state_dict": published_form(pipeline)}, tmp_path / "model.ckpt")

    def parts() -> dict:
        return {"vae": build.autoencoder([8, 16, 16], 1, 8), **build.network_parts(sizes)}

    loaded = from_published(read_checkpoint(tmp_path / "model.ckpt"), tmp_path / "model.ckpt", make_parts=parts)
    pixels, picture = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        pooled, again = (each.image_encoder(pixels).pooler_output for each in (pipeline, loaded))
        assert torch.equal(again, pooled)
        assert torch.equal(loaded.image_context(again), pipeline.image_context(pooled))
        assert torch.equal(loaded.vae(picture).sample, pipeline.vae(picture).sample)
    for part in ("unet", "garment_encoder"):
        state = getattr(loaded, part).state_dict()
        assert all(torch.equal(state[name], t) for name, t in getattr(pipeline, part).state_dict().items())


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoints_tensors_are_read_with_and_without_state_dict(tmp_path: Path, wrapped: bool):
    tensors = {"a.weight": torch.arange(3.0)}
    torch.save({"state_dict": tensors, "epoch": 3} if wrapped else tensors, tmp_path / "x.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "x.ckpt")["a.weight"], tensors["a.weight"])


def test_safetensors_are_read(tmp_path: Path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "x.safetensors")["a"], torch.ones(2))


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(InputError, match=f"{name}: "):
        load(tmp_path / name)


def test_another_models_checkpoint_is_named(tmp_path: Path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt: not the published model: missing: "):
        load(tmp_path / "other.ckpt")


def test_a_checkpoint_without_tensors_is_named(tmp_path: Path):
    torch.save({"state_dict": {"a": 3}}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match=r"odd\.ckpt: is not a dictionary of tensors"):
        load(tmp_path / "odd.ckpt")
