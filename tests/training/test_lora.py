"""Low-rank adaptation: supervised as the merged network is, small on disk, and used by sampling."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from runs import metrics, run
from safetensors.torch import load_file, save_file
from torch import nn

from siftvton.commands.convert_checkpoint import ConvertCheckpoint, convert_checkpoint
from siftvton.correspondence import Correspondences
from siftvton.errors import InputError, UsageError
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.loading import load, save
from siftvton.sampling.lora import merge_update, save_update
from siftvton.supervision import ReferenceAttention, supervise
from siftvton.training.lora import adapt, layer_names, updates_of

FILE = "pytorch_lora_weights.safetensors"
FRAME = (64, 48)


@pytest.fixture
def adapted(pipeline) -> TryOnNetwork:
    """A network with updates that are not zero."""
    pytest.importorskip("peft")
    network = pipeline.network().requires_grad_(False)
    adapt(network, layer_names(network, "attention"), rank=4, alpha=8, seed=0)
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.1)
    return network


def _loss(network: TryOnNetwork) -> torch.Tensor:
    """Prediction error and attention loss of a fixed batch."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 13, 16, 12), (2, 4, 16, 12), (2, 3, 224, 224))
    sample, garment, picture = (torch.randn(shape, generator=draw) for shape in shapes)
    points = (torch.rand(2, 2, 9, 2, generator=draw) * torch.tensor([47.0, 63.0])).double().numpy()
    reference = ReferenceAttention.from_correspondences([Correspondences(*each, FRAME) for each in points])
    with supervise(network.hooked, reference, network.hooked_layers("all")) as recorder:
        prediction = network(sample, torch.tensor([10, 500]), garment, picture, torch.tensor([True, True]))
        return prediction.square().mean() + recorder.loss().mean()


def test_loss_and_gradients_are_those_of_the_merged_network(pipeline, adapted: TryOnNetwork, tmp_path: Path):
    """With W + s·B·A, the gradient of B is s·G·Aᵀ and that of A is s·Bᵀ·G, where G is the merged weight's gradient."""
    plain = copy.deepcopy(pipeline)  # of the pipeline with updates inside; its layers are replaced by their bases
    for name, module in list(plain.network().named_modules()):
        if hasattr(module, "base_layer"):
            parent, _, last = name.rpartition(".")
            setattr(plain.network().get_submodule(parent), last, module.base_layer)
    save_update(updates_of(adapted), 4, 8, tmp_path / "lora")
    merge_update(plain, tmp_path / "lora")
    merged = plain.network().requires_grad_(True)
    losses = _loss(adapted), _loss(merged)
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    found = updates_of(adapted)
    parameters = dict(adapted.named_parameters())
    for layer in layer_names(merged, "attention"):
        gradient = merged.get_submodule(layer).weight.grad
        first, second = found[f"{layer}.lora_A.weight"], found[f"{layer}.lora_B.weight"]
        for name, expected in (("A", 2 * second.T @ gradient), ("B", 2 * gradient @ first.T)):
            ours = parameters[f"{layer}.lora_{name}.default.weight"].grad
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)


def test_the_choices_of_layers_contain_each_other(pipeline):
    network = pipeline.network()
    hooked, attention, linear = (set(layer_names(network, which)) for which in ("hooked", "attention", "linear"))
    assert hooked < attention < linear
    assert all(name.startswith("unet.garment_attention.") and ".attn2." in name for name in hooked)
    assert not any(name.startswith(("unet.mid_block", "unet.encoder", "image_")) for name in linear)
    assert "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v" in attention
    assert "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q" not in linear, (
        "the shortcut leaves it unused"
    )


@pytest.fixture
def base(configuration) -> Path:
    return run(configuration("base", updates=1)) / "model"


@pytest.fixture
def lora_run(configuration, base: Path):
    """``lora_run(output, **train settings)`` trains updates of the base."""
    pytest.importorskip("peft")

    def train(output: str, **settings) -> Path:
        config = configuration(output, trainable="lora", lora_rank=2, max_gradient_norm=1.0, **settings)
        config.model.pretrained = str(base)
        return run(config)

    return train


def test_a_stopped_run_continues_bit_for_bit_from_small_checkpoints(lora_run, base: Path):
    settings = {"ema_decay": 0.5}
    straight = lora_run("straight", updates=4, **settings)
    lora_run("stopped", updates=2, **settings)
    resumed = lora_run("stopped", updates=4, **settings)
    assert metrics(resumed) == metrics(straight)
    ours, theirs = (load_file(output / "model_lora" / FILE) for output in (resumed, straight))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert any(value.any() for name, value in ours.items() if ".lora_B." in name)
    assert not (straight / "model").exists()
    stored = load_file(straight / "checkpoints" / "update-0000004" / "model.safetensors")
    assert all(".lora_" in name for name in stored)


def test_a_run_does_not_continue_on_other_weights_in_the_same_place(lora_run, base: Path):
    output = lora_run("run", updates=1)
    changed = load(base)
    with torch.no_grad():
        changed.unet.mid_block.resnets[0].conv1.weight.add_(1)
    save(changed, base)
    with pytest.raises(UsageError, match=r"other data \(frozen weights of model\.pretrained\); restore"):
        lora_run("run", updates=2)
    record = output / "run.json"
    content = json.loads(record.read_text())
    del content["data"]["frozen_weights"]  # as an earlier version wrote it
    record.write_text(json.dumps(content))
    lora_run("run", updates=2)
    assert [entry["update"] for entry in metrics(output)] == [1, 2]


def test_the_folder_of_a_run_is_not_that_of_its_updates(lora_run, base: Path, capsys: pytest.CaptureFixture):
    output = lora_run("run", updates=1)
    assert f"; use it with checkpoint={base} lora={output / 'model_lora'}\n" in capsys.readouterr().out
    with pytest.raises(InputError, match=rf"^lora={output}: holds no .*; use lora={output / 'model_lora'}$"):
        merge_update(load(base), output)
    with pytest.raises(InputError, match=rf"^lora={base}: holds no .*; use a folder that train\.trainable=lora wrote"):
        merge_update(load(base), base)


def test_updates_are_merged_on_request(lora_run, base: Path, tmp_path: Path):
    output = lora_run("run", updates=2, validate_every=2)
    assert (output / "best_lora" / FILE).is_file()
    merged = tmp_path / "merged"
    convert_checkpoint(ConvertCheckpoint(input=str(base), lora=str(output / "model_lora"), output=str(merged)))
    before, after, half = load(base), load(merged), load(base)
    merge_update(half, output / "model_lora", 0.5)
    name = "garment_attention.0.transformer.transformer_blocks.0.attn2.to_k"
    first, last, middle = (each.unet.get_submodule(name).weight for each in (before, after, half))
    assert not torch.equal(first, last)
    torch.testing.assert_close((first + last) / 2, middle)
    assert torch.equal(before.unet.mid_block.resnets[0].conv1.weight, after.unet.mid_block.resnets[0].conv1.weight)


def test_updates_are_written_in_half_precision(lora_run):
    exact, half = (
        load_file(lora_run(dtype, updates=1, save_dtype=dtype) / "model_lora" / FILE)
        for dtype in ("float32", "float16")
    )
    assert all(torch.equal(half[name], value.half()) for name, value in exact.items())


def test_random_weights_are_not_adapted(configuration):
    with pytest.raises(UsageError, match=r"lora is not allowed with model\.pretrained=null"):
        run(configuration(trainable="lora"))


def test_a_missing_library_is_one_line(pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"requires PEFT, which is not installed; run: pip install 'siftvton\[lora\]'"):
        adapt(pipeline.network(), ["unet.conv_out"], 2, 2, 0)


TO_Q = "unet.garment_attention.0.transformer.transformer_blocks.0.attn2.to_q"
BAD = {
    "a layer of another network": (
        {"unet.none.lora_A.weight": (2, 4), "unet.none.lora_B.weight": (4, 2)},
        "is not a linear layer",
    ),
    "half of a pair": ({f"{TO_Q}.lora_A.weight": (2, 32)}, "does not hold pairs"),
    "other names": ({"weight": (2, 4)}, "does not hold pairs"),
    "other shapes": ({f"{TO_Q}.lora_A.weight": (2, 5), f"{TO_Q}.lora_B.weight": (32, 2)}, "do not fit the layer's"),
    "other ranks": ({f"{TO_Q}.lora_A.weight": (2, 32), f"{TO_Q}.lora_B.weight": (32, 3)}, "do not fit the layer's"),
    "no rank": ({f"{TO_Q}.lora_A.weight": (0, 32), f"{TO_Q}.lora_B.weight": (32, 0)}, "do not fit the layer's"),
    "single numbers": ({f"{TO_Q}.lora_A.weight": (), f"{TO_Q}.lora_B.weight": ()}, "do not fit the layer's"),
    "nothing": ({}, "does not hold pairs"),
}


@pytest.mark.parametrize("what", BAD)
def test_updates_that_do_not_fit_are_refused_in_one_line(pipeline, tmp_path: Path, what: str):
    shapes, reason = BAD[what]
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / FILE)
    before = copy.deepcopy(pipeline.unet.state_dict())
    with pytest.raises(InputError, match=reason) as caught:
        merge_update(pipeline, tmp_path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())


@pytest.mark.parametrize(
    "header",
    ["[1", *(f'{{"unet.lora_alpha": {value}}}' for value in ("NaN", "null", "1e999", '"inf"', "1" + "0" * 400))],
)
def test_a_header_that_is_malformed_is_refused(pipeline, tmp_path: Path, header: str):
    tensors = {f"{TO_Q}.lora_A.weight": torch.ones(2, 32), f"{TO_Q}.lora_B.weight": torch.ones(32, 2)}
    save_file(tensors, tmp_path / FILE, metadata={"lora_adapter_metadata": header})
    with pytest.raises(InputError, match="header lora_adapter_metadata is malformed"):
        merge_update(pipeline, tmp_path)
