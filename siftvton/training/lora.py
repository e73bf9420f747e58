"""Low-rank adaptation by PEFT: the network stays as it is, and each chosen layer learns a small update.

A layer with weight W then computes W + α/r · B·A, with A (r, inputs) and B (outputs, r). Only A and B are trained, so
gradients and the optimiser's state take almost no memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import Attention
from safetensors.torch import load_file
from torch import Tensor, nn

from siftvton.draws import seed_of
from siftvton.errors import UsageError
from siftvton.model.network import SupervisedNetwork
from siftvton.model.single_token import unused_parameters
from siftvton.sampling.lora import save_update
from siftvton.training.config import Train

STATE = "model.safetensors"  # accelerate's file for the weights in a checkpoint


def layer_names(network: SupervisedNetwork, which: str) -> list[str]:
    """Names of the linear layers that get an update.

    Args:
        which: ``hooked``, the projections of the hooked cross-attentions; ``attention``, those of all attentions in
            the parts that fine-tuning trains; ``linear``, also the other linear layers of their transformer blocks.
            Layers without effect are left out.
    """
    modules, unused = dict(network.named_modules()), unused_parameters(network)
    hooked = {id(network.hooked.get_submodule(name)) for name in network.hooked_layers("all")}
    attentions = [
        name
        for name, module in modules.items()
        if isinstance(module, Attention) and (which != "hooked" or id(module) in hooked)
    ]
    inside = tuple(f"{name}." for name in attentions)
    return [
        name
        for name, module in modules.items()
        if isinstance(module, nn.Linear)
        and name.startswith(network.finetuned)
        and f"{name}.weight" not in unused
        and (name.startswith(inside) or (which == "linear" and ".transformer_blocks." in name))
    ]


def add_updates(network: SupervisedNetwork, config: Train) -> list[nn.Parameter]:
    """Freeze the network, add the updates to its layers in place, and return their parameters.

    The updates are zero at the start: A is drawn with the seed of the run, and B is 0.

    Raises:
        UsageError: PEFT is not installed, or the network to adapt has random weights.
    """
    settings = config.train
    if not config.model.pretrained:
        raise UsageError(
            "train.trainable=lora is not allowed with model.pretrained=null, because it adapts a trained network; set "
            "model.pretrained to the weights to start from"
        )
    network.requires_grad_(False)
    adapt(network, layer_names(network, settings.lora_layers), settings.lora_rank, settings.lora_alpha, settings.seed)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def adapt(network: nn.Module, layers: Sequence[str], rank: int, alpha: int, seed: int) -> None:
    """Add updates to the named layers in place.

    Raises:
        UsageError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("peft"):
            raise
        raise UsageError(
            "train.trainable=lora requires PEFT, which is not installed; run: pip install 'siftvton[lora]', or set "
            "train.trainable=finetune"
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "lora"))
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(layers)), network)


def updates_of(network: nn.Module) -> dict[str, Tensor]:
    """The trained tensors by name, as diffusers names them: ``unet.….to_q.lora_A.weight``."""
    return {
        name.replace(".default.", "."): parameter.detach()
        for name, parameter in network.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }


def save_updates(network: nn.Module, settings: Any, folder: Path, notes: Mapping[str, object] | None = None) -> None:
    """Write the updates alone, completely or not at all.

    Args:
        settings: the section ``train`` of the configuration.
        notes: JSON files to write into the folder: name -> content.
    """
    dtype = getattr(torch, settings.save_dtype)
    tensors = {name: tensor.to(dtype) for name, tensor in updates_of(network).items()}
    save_update(tensors, settings.lora_rank, settings.lora_alpha, folder, notes)


def small_checkpoints(accelerator: Accelerator) -> None:
    """Leave the frozen weights out of checkpoints; they come from ``model.pretrained`` at each start."""

    def before_saving(_models: list[nn.Module], states: list[dict[str, Tensor]], _folder: str) -> None:
        for state in states:
            for name in [name for name in state if ".lora_" not in name]:
                del state[name]

    def before_loading(models: list[nn.Module], folder: str) -> None:
        network = accelerator.unwrap_model(models.pop())
        tensors = load_file(Path(folder) / STATE)
        expected = {name for name in network.state_dict() if ".lora_" in name}
        if tensors.keys() != expected:
            raise KeyError(
                f"{STATE} holds {len(tensors)} tensors of updates that do not fit the {len(expected)} layers"
            )
        network.load_state_dict(tensors, strict=False)

    accelerator.register_save_state_pre_hook(before_saving)
    accelerator.register_load_state_pre_hook(before_loading)
