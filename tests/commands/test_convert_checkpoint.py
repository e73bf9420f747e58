"""Published form -> folder -> published form."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from examples import published_form
from safetensors.torch import load_file, save_file
from torch import Tensor

from siftvton.commands.convert_checkpoint import ConvertCheckpoint, convert_checkpoint
from siftvton.errors import InputError, UsageError
from siftvton.model import build
from siftvton.sampling.loading import load
from siftvton.sampling.pipeline import TryOnPipeline


@pytest.fixture
def published(pipeline: TryOnPipeline, sizes, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A checkpoint of the tiny model, with tensors that are not part of the model."""

    def parts() -> dict:
        return {"vae": build.autoencoder([8, 16, 16], 1, 8), **build.network_parts(sizes)}

    monkeypatch.setattr(build, "full_parts", parts)
    return published_form(pipeline) | {
        "betas": torch.rand(1000),
        "model.diffusion_model.explicit_ratio": torch.tensor(0.25),
        "lastzc.0.weight": torch.rand(4, 4),
        "control_model.middle_block.0.weight": torch.rand(2, 2),
        "cond_stage_model.transformer.vision_model.embeddings.position_ids": torch.arange(17)[None],
    }


def as_transformers_5(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("transformer.vision_model.", "transformer."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("renamed", [dict, as_transformers_5], ids=["transformers 4", "transformers 5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_there_and_back(published, tmp_path: Path, renamed, dtype: torch.dtype, suffix: str):
    original = {name: t.to(dtype) if t.is_floating_point() else t for name, t in renamed(published).items()}
    source, folder, back = tmp_path / f"model{suffix}", tmp_path / "folder", tmp_path / f"back{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": original}, source)
    else:
        save_file(original, source)
    convert_checkpoint(ConvertCheckpoint(input=str(source), output=str(folder)))
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {dtype}
    assert load(folder).unet.dtype == torch.float32
    convert_checkpoint(ConvertCheckpoint(input=str(folder), output=str(back), to="published", like=str(source)))
    result = load_file(back) if suffix == ".safetensors" else torch.load(back, weights_only=True)["state_dict"]
    assert list(result) == list(original) or suffix == ".safetensors"
    assert result.keys() == original.keys()
    assert all(torch.equal(result[name], tensor) for name, tensor in original.items())
    assert all(result[name].dtype == tensor.dtype for name, tensor in original.items())


def test_what_was_trained_is_in_the_published_form(published, pipeline: TryOnPipeline, tmp_path: Path):
    torch.save({"state_dict": published}, tmp_path / "original.ckpt")
    convert_checkpoint(ConvertCheckpoint(input=str(tmp_path / "original.ckpt"), output=str(tmp_path / "folder")))
    trained = load(tmp_path / "folder")
    trained.unet.conv_out.bias.data += 1
    trained.save_pretrained(tmp_path / "trained")
    convert_checkpoint(
        ConvertCheckpoint(
            input=str(tmp_path / "trained"),
            output=str(tmp_path / "trained.ckpt"),
            to="published",
            like=str(tmp_path / "original.ckpt"),
        )
    )
    result = torch.load(tmp_path / "trained.ckpt", weights_only=True)["state_dict"]
    changed = [name for name, tensor in published.items() if not torch.equal(result[name], tensor)]
    assert changed == ["model.diffusion_model.out.2.bias"]


def test_what_prevents_a_conversion_is_named(published, tmp_path: Path):
    torch.save({"state_dict": published}, tmp_path / "model.ckpt")
    source = str(tmp_path / "model.ckpt")
    with pytest.raises(UsageError, match=r"model\.ckpt already exists; name another"):
        convert_checkpoint(ConvertCheckpoint(input=source, output=source))
    with pytest.raises(UsageError, match=r"use a name that ends in \.ckpt or \.safetensors"):
        convert_checkpoint(ConvertCheckpoint(input=source, output=str(tmp_path / "x"), to="published", like=source))
    with pytest.raises(UsageError, match="like=null is not allowed for to=published; use like="):
        convert_checkpoint(ConvertCheckpoint(input=source, output=str(tmp_path / "x.ckpt"), to="published"))
    torch.save({"state_dict": {"betas": torch.ones(3)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt: does not match the model"):
        convert_checkpoint(
            ConvertCheckpoint(
                input=source, output=str(tmp_path / "x.ckpt"), to="published", like=str(tmp_path / "other.ckpt")
            )
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "other.ckpt"]


def test_tensors_that_share_memory_or_are_not_contiguous_are_converted(published, pipeline, tmp_path: Path):
    """safetensors refuses both; a published pickle may hold either."""
    shared = torch.rand(3, 4)
    published |= {"lastzc.0.weight": shared, "lastzc.1.weight": shared, "betas": shared.T}
    torch.save({"state_dict": published}, tmp_path / "model.ckpt")
    pipeline.save_pretrained(tmp_path / "folder")
    source, output = str(tmp_path / "model.ckpt"), str(tmp_path / "back.safetensors")
    convert_checkpoint(ConvertCheckpoint(input=str(tmp_path / "folder"), output=output, to="published", like=source))
    result = load_file(output)
    assert all(torch.equal(result[name], tensor) for name, tensor in published.items() if name.startswith("last"))
    assert torch.equal(result["betas"], shared.T)


def test_a_checkpoint_with_other_shapes_is_refused_in_one_line(published, pipeline, tmp_path: Path):
    pipeline.save_pretrained(tmp_path / "folder")
    output = str(tmp_path / "back.ckpt")
    values = {name: torch.zeros(()) for name in published if name.endswith("attn.c_qkv.weight")}
    assert values
    for like in ({name: torch.zeros(3, 3) for name in published}, published | values):
        torch.save({"state_dict": like}, tmp_path / "like.ckpt")
        with pytest.raises(InputError, match=r"like\.ckpt: does not match the model") as raised:
            convert_checkpoint(
                ConvertCheckpoint(
                    input=str(tmp_path / "folder"), output=output, to="published", like=str(tmp_path / "like.ckpt")
                )
            )
        assert "\n" not in str(raised.value)
    assert not Path(output).exists()


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Make the system refuse files larger than ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", ["", ".ckpt", ".safetensors"])
def test_a_file_that_cannot_be_written_leaves_nothing_and_is_named(published, tmp_path: Path, suffix: str):
    source, folder = tmp_path / "model.ckpt", tmp_path / "folder"
    torch.save({"state_dict": published}, source)
    convert_checkpoint(ConvertCheckpoint(input=str(source), output=str(folder)))
    output = tmp_path / "out" / f"made{suffix}"
    config = ConvertCheckpoint(input=str(folder), output=str(output))
    if suffix:
        config.to, config.like = "published", str(source)
    with (
        files_at_most(30_000),
        pytest.raises(InputError, match=rf"made{suffix}: cannot be written \(.*no partial file is left"),
    ):
        convert_checkpoint(config)
    assert list(output.parent.iterdir()) == []
    convert_checkpoint(config)
    assert output.exists()
