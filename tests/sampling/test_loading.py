import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler
from examples import published_form, write_update
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError
from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.sampling import loading
from siftvton.sampling.loading import PARTS, from_published, load, read_checkpoint, save, weights_digest
from siftvton.sampling.pipeline import TryOnPipeline


def tiny_parts(sizes: ModelConfig) -> Callable[[], dict]:
    """A function that makes the empty parts of the tiny pipeline."""
    return lambda: {"vae": build.autoencoder([8, 16, 16], 1, 8), **build.network_parts(sizes)}


@pytest.fixture
def folder(pipeline: TryOnPipeline, tmp_path: Path) -> Path:
    save(pipeline, tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_pipeline_loads_completely(pipeline: TryOnPipeline, folder: Path):
    loaded = load(folder)
    assert loaded.stride == pipeline.stride == 16
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            ours = getattr(loaded, name).state_dict()
            assert all(torch.equal(ours[key], value) for key, value in part.state_dict().items()), name
        else:
            assert torch.equal(getattr(loaded, name).alphas_cumprod, part.alphas_cumprod)
    assert not any(path.name.startswith(".") for path in folder.parent.iterdir())


@pytest.mark.parametrize(("dtype", "variant"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16")])
def test_a_pipeline_is_saved_in_half_precision_under_the_names_of_a_variant(
    pipeline: TryOnPipeline, tmp_path: Path, dtype: torch.dtype, variant: str
):
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    save(pipeline, tmp_path / "plain", dtype)
    save(pipeline, tmp_path / "named", dtype, variant=True)
    assert (tmp_path / "named" / "image_encoder" / f"model.{variant}.safetensors").is_file()
    assert not list((tmp_path / "named").glob("*/*model.safetensors"))
    for part in ("vae", "image_encoder", "image_context", "garment_encoder", "unet"):
        exact = getattr(pipeline, part).state_dict()
        for folder in ("plain", "named"):
            stored = getattr(load(tmp_path / folder, None), part).state_dict()
            assert all(torch.equal(value, exact[name].to(dtype)) for name, value in stored.items()), part
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    assert {parameter.dtype for parameter in pipeline.unet.parameters()} == {torch.float32}


def test_plain_names_come_before_a_variant(pipeline: TryOnPipeline, folder: Path, tmp_path: Path):
    save(pipeline, tmp_path / "half", torch.float16, variant=True)
    for path in (tmp_path / "half").glob("*/*.fp16.safetensors"):
        path.rename(folder / path.parent.name / path.name)
    assert torch.equal(load(folder, None).unet.conv_out.weight, pipeline.unet.conv_out.weight)


def test_several_variants_without_plain_names_are_refused(pipeline: TryOnPipeline, tmp_path: Path):
    for dtype in (torch.float16, torch.bfloat16):
        save(pipeline, tmp_path / str(dtype), dtype, variant=True)
    half, other = tmp_path / "torch.float16", tmp_path / "torch.bfloat16"
    name = "diffusion_pytorch_model.bf16.safetensors"
    (other / "unet" / name).rename(half / "unet" / name)
    with pytest.raises(InputError, match=r"unet: holds .* in several variants \(bf16, fp16\); keep the files of one"):
        load(half)


def test_shards_of_a_variant_load(pipeline: TryOnPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "SHARD", "50KB")
    save(pipeline, tmp_path / "model", torch.float16, variant=True)
    names = [path.name for path in (tmp_path / "model" / "unet").iterdir()]
    assert "diffusion_pytorch_model.safetensors.index.fp16.json" in names
    assert any(name.startswith("diffusion_pytorch_model.fp16-00001-of-") for name in names)
    loaded = load(tmp_path / "model", None).unet.state_dict()
    assert all(torch.equal(loaded[name], value.half()) for name, value in pipeline.unet.state_dict().items())


def test_diffusers_finds_the_files_of_a_variant(pipeline: TryOnPipeline, tmp_path: Path):
    save(pipeline, tmp_path / "model", torch.float16, variant=True)
    vae = AutoencoderKL.from_pretrained(tmp_path / "model" / "vae", variant="fp16", torch_dtype=torch.float16)
    assert torch.equal(vae.quant_conv.weight, pipeline.vae.quant_conv.weight.half())


def test_weights_too_large_for_the_requested_data_type_are_not_saved(pipeline: TryOnPipeline, tmp_path: Path):
    pipeline.unet.conv_out.bias.data[0] = 70_000
    with pytest.raises(InputError, match=r"unet\.conv_out\.bias holds .* infinite values in float16; use bfloat16 or"):
        save(pipeline, tmp_path / "model", torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_is_named():
    with pytest.raises(InputError, match="nowhere: no such folder or file"):
        load("nowhere")


def test_a_folder_without_a_part_is_named(folder: Path):
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(InputError, match=r"unet/config\.json: no such file"):
        load(folder)


def test_a_folder_without_a_pipeline_is_refused_and_a_pipeline_nearby_is_named(folder: Path, tmp_path: Path):
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "update-0000001"
    checkpoint.mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"run: is not a saved pipeline, because .*scheduler; use a folder that holds .*vae"
    ):
        load(run)
    folder.rename(run / "model")
    for other in (run, checkpoint, run / "model" / "unet"):
        with pytest.raises(InputError, match=rf"{other}: is not a saved pipeline.*; use {run}/model$"):
            load(other)


def test_updates_in_place_of_a_pipeline_are_recognised(pipeline, tmp_path: Path):
    write_update(pipeline, tmp_path / "run" / "model_lora")
    for given in (tmp_path / "run", tmp_path / "run" / "model_lora"):
        with pytest.raises(InputError, match=rf"so use lora={tmp_path}/run/model_lora with the checkpoint"):
            load(given)


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
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.safetensors: is damaged or not a safetensors file"):
        load(folder)


def test_a_missing_weight_is_refused(folder: Path):
    """The libraries' loaders would use random weights and print a warning."""
    path = folder / "image_context" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("norm.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"image_context.*norm\.weight"):
        load(folder)


WEIGHTS = "diffusion_pytorch_model.safetensors"


def changed(path: Path, change: Callable[[dict], None]) -> None:
    """Change the tensors of a safetensors file."""
    tensors = load_file(path)
    change(tensors)
    path.unlink()  # it may be mapped into memory
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float):
    """Once, such weights gave black pictures and exit code 0."""
    changed(folder / "unet" / WEIGHTS, lambda tensors: tensors["conv_out.bias"][1:2].fill_(value))
    with pytest.raises(InputError, match=r"unet: conv_out\.bias holds values that are NaN or infinite in float32"):
        load(folder)


def test_weights_too_large_for_the_requested_data_type_are_refused(folder: Path):
    changed(folder / "vae" / WEIGHTS, lambda tensors: tensors["quant_conv.bias"][1:2].fill_(70_000))
    load(folder)
    with pytest.raises(InputError, match=r"vae: quant_conv\.bias holds values that are NaN or infinite in float16"):
        load(folder, torch.float16)


def test_a_published_checkpoint_that_is_not_finite_is_refused(pipeline: TryOnPipeline, sizes, tmp_path: Path):
    tensors = published_form(pipeline)
    tensors["learnable_vector"][0, 0, 3] = torch.nan
    with pytest.raises(InputError, match=r"x\.ckpt: unconditional holds values that are NaN or infinite"):
        from_published(tensors, tmp_path / "x.ckpt", make_parts=tiny_parts(sizes))


def test_weights_that_are_not_finite_are_not_saved(pipeline: TryOnPipeline, tmp_path: Path):
    pipeline.garment_encoder.garment_conv.bias.data[2] = torch.inf
    with pytest.raises(
        InputError, match=r"model: was not written, because garment_encoder\.garment_conv\.bias holds NaN"
    ):
        save(pipeline, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_whole_numbers_in_place_of_weights_are_named(folder: Path, dtype: torch.dtype):
    name = "conv_out.bias"
    changed(folder / "unet" / WEIGHTS, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"unet: conv_out\.bias has the data type {kind}; use floating-point weights"):
        load(folder)


def test_eight_bit_floats_are_read(folder: Path):
    name = "conv_out.bias"
    changed(folder / "unet" / WEIGHTS, lambda ours: ours.update({name: torch.full((4,), 1.5).to(torch.float8_e5m2)}))
    assert load(folder).unet.conv_out.bias.tolist() == [1.5] * 4


def test_every_tensor_keeps_its_precision_if_none_is_requested(folder: Path):
    name = "conv_out.bias"
    changed(folder / "unet" / WEIGHTS, lambda tensors: tensors.update({name: tensors[name].half()}))
    unet = load(folder, None).unet
    assert (unet.conv_out.bias.dtype, unet.conv_out.weight.dtype) == (torch.float16, torch.float32)


def test_names_of_older_libraries_are_read(folder: Path, pipeline: TryOnPipeline):
    """transformers 4 wrote a prefix and position indices; diffusers before 0.15 used other names in the attention."""

    def older_clip(tensors: dict) -> None:
        names = [name for name in tensors if not name.startswith("vision_model.")]
        tensors.update({f"vision_model.{name}": tensors.pop(name) for name in names})
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    def older_vae(tensors: dict) -> None:
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            for name in [name for name in tensors if f".attentions.0.{new}." in name]:
                tensors[name.replace(f".{new}.", f".{old}.")] = tensors.pop(name)

    changed(folder / "image_encoder" / "model.safetensors", older_clip)
    changed(folder / "vae" / WEIGHTS, older_vae)
    assert "decoder.mid_block.attentions.0.proj_attn.weight" in load_file(folder / "vae" / WEIGHTS)
    loaded = load(folder)
    for part in ("image_encoder", "vae"):
        ours, theirs = (getattr(each, part).state_dict() for each in (loaded, pipeline))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_tensor_under_two_names_is_refused(folder: Path):
    name = "decoder.mid_block.attentions.0.{}.weight"
    changed(
        folder / "vae" / WEIGHTS,
        lambda tensors: tensors.update({name.format("query"): tensors[name.format("to_q")].clone()}),
    )
    with pytest.raises(InputError, match=r"vae: the weights hold .*to_q\.weight twice"):
        load(folder)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("garment_encoder", {"heads": 4}, "garment_encoder has heads=4, but unet has heads=2; they must agree"),
        ("unet", {"norm_groups": 4}, "garment_encoder has norm_groups=8, but unet has norm_groups=4"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(folder: Path, part: str, change: dict, message: str):
    """The shapes of the weights do not show the number of heads or groups."""
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load(folder)


def test_sizes_are_compared_before_memory_is_taken(folder: Path):
    """Levels with 65,536 channels would take terabytes."""
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channels": [65_536] * 3}))
    with pytest.raises(InputError, match=r"unet: the weights do not fit config\.json"):
        load(folder)


def test_a_configuration_cannot_name_code_or_a_repository(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """No file of a folder reaches the loaders of the libraries, which would download what it names."""
    for name in ("unet", "image_encoder", "scheduler"):
        path = next((folder / name).glob("*config.json"))
        whole = path.read_text()
        for content in ('"owner/name"', json.dumps(json.loads(whole) | {"attn_implementation": "owner/kernel"})):
            path.write_text(content)
            with pytest.raises(InputError, match=rf"{name}/.*config\.json: "):
                load(folder)
        path.write_text(whole)
    for kind in (*PARTS.values(), PNDMScheduler):
        monkeypatch.setattr(kind, "from_pretrained", None)
        monkeypatch.setattr(kind, "from_config", None, raising=False)
    load(folder)


def test_a_pipe_among_the_weights_does_not_block(folder: Path):
    path = folder / "unet" / WEIGHTS
    path.unlink()
    os.mkfifo(path)
    for read in (load, weights_digest):
        with pytest.raises(InputError, match=rf"unet/{WEIGHTS}: is a named pipe"):
            read(folder)
    os.mkfifo(folder / "model.ckpt")
    for read in (load, weights_digest):
        with pytest.raises(InputError, match=r"model\.ckpt: is a named pipe"):
            read(folder / "model.ckpt")


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
def test_a_git_lfs_pointer_or_web_page_in_place_of_a_checkpoint_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=rf"{name}: is a Git LFS pointer"):
        load(tmp_path / name)
    (tmp_path / name).write_text("<!doctype html><title>Sign in</title>")
    with pytest.raises(InputError, match=rf"{name}: is a web page"):
        load(tmp_path / name)


def test_shards_of_a_part_are_read(pipeline: TryOnPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "SHARD", "20KB")
    save(pipeline, tmp_path / "model")
    assert len(list((tmp_path / "model" / "unet").glob("*.safetensors"))) > 2
    assert len(list((tmp_path / "model" / "image_encoder").glob("*.safetensors"))) > 1
    ours, theirs = (each.unet.state_dict() for each in (load(tmp_path / "model"), pipeline))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_class_named_in_a_folder_is_not_imported(folder: Path):
    """The classes are fixed in the code and not by model_index.json."""
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["antigravity", "Anything"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert type(load(folder).unet).__name__ == "TryOnUNet"


def test_a_published_checkpoint_gives_the_same_outputs(pipeline: TryOnPipeline, sizes, tmp_path: Path):
    """Once, CLIP returned NaN: its position indices are in no checkpoint and were not set."""
    torch.save({"state_dict": published_form(pipeline)}, tmp_path / "model.ckpt")

    path = tmp_path / "model.ckpt"
    loaded = from_published(read_checkpoint(path), path, make_parts=tiny_parts(sizes))
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


def test_a_checkpoint_with_the_suffix_of_the_other_format_is_read(tmp_path: Path):
    tensors = {"a": torch.arange(4.0)}
    torch.save(tensors, tmp_path / "pickled.safetensors")
    save_file(tensors, tmp_path / "model.ckpt")
    for name in ("pickled.safetensors", "model.ckpt"):
        assert torch.equal(read_checkpoint(tmp_path / name)["a"], tensors["a"]), name


def test_safetensors_are_read(tmp_path: Path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "x.safetensors")["a"], torch.ones(2))


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(InputError, match=f"{name}: "):
        load(tmp_path / name)


def test_the_checkpoint_of_another_model_is_named(tmp_path: Path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt: does not fit the published model: missing: "):
        load(tmp_path / "other.ckpt")


def test_a_checkpoint_without_tensors_is_named(tmp_path: Path):
    torch.save({"state_dict": {"a": 3}}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match=r"odd\.ckpt: does not hold a dictionary of tensors"):
        load(tmp_path / "odd.ckpt")


def test_published_weights_are_named_if_they_meet_other_than_upper_bodies(folder: Path, tmp_path: Path):
    published = tmp_path / "VITONHD.ckpt"
    published.touch()
    note = loading.upper_body_note(published, ["upper_body", "lower_body", "dresses", "lower_body"])
    assert (
        note
        == f"note: {published}: these weights know upper bodies only; they have to learn lower_body and dresses first"
    )
    assert loading.upper_body_note(published, ["upper_body"]) is None
    assert loading.upper_body_note(folder, ["dresses"]) is None
