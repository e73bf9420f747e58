"""Divide the network among processes by FSDP2: each process keeps a share of every weight, gradient and moment.

A block's weights are gathered for its forward pass, freed, and gathered again for its backward pass. The supervision
projects queries after a layer's own forward pass, but inside its block's, while the block's weights are gathered.
Checkpoints and models are the same files as without FSDP, so a run can change between both.
"""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import OPTIMIZER_NAME, SAFE_WEIGHTS_NAME, FullyShardedDataParallelPlugin
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor

from siftvton.devices import FSDP, is_yes
from siftvton.errors import UsageError
from siftvton.model.network import SupervisedNetwork
from siftvton.training.config import OptimisationConfig

Network = TypeVar("Network", bound=nn.Module)
OPTIMIZER = f"{OPTIMIZER_NAME}.bin"
UNSUPPORTED = {
    "FSDP_OFFLOAD_PARAMS": "weights in main memory are not supported; set it to false",
    "FSDP_ACTIVATION_CHECKPOINTING": "is not supported; set it to false, and use train.gradient_checkpointing=true",
}


def refuse_unsupported(settings: OptimisationConfig) -> None:
    """Check what accelerate's environment variables request against what FSDP2 supports here.

    Raises:
        UsageError: a variable requests something unsupported, or a setting cannot be combined with FSDP.
    """
    value = os.environ.get(FSDP, "")
    if not is_yes(value):
        return
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise UsageError(
            f"{FSDP}={value}: FSDP version {version} is not supported; set FSDP_VERSION=2 (accelerate launch "
            "--fsdp_version 2), or start the processes with torchrun"
        )
    for variable, problem in UNSUPPORTED.items():
        if is_yes(setting := os.environ.get(variable, "")):
            raise UsageError(f"{variable}={setting}: {problem}")
    if settings.mixed_precision == "fp16":
        raise UsageError(f"train.mixed_precision=fp16 is not supported with {FSDP}={value}; use bf16 or no")
    if settings.trainable == "lora":
        raise UsageError(f"train.trainable=lora is not supported with {FSDP}={value}; start LoRA without FSDP")
    if settings.compile:
        raise UsageError(f"train.compile=true is not supported with {FSDP}={value}; set train.compile=false")


def requested_plugin(mixed_precision: str) -> FullyShardedDataParallelPlugin | None:
    """The plugin for FSDP2 if accelerate's environment variables request FSDP; else None.

    Nothing else is taken from the environment: the network names its blocks, and the configuration the precision.
    """
    if not is_yes(os.environ.get(FSDP, "")):
        return None
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=True,
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",  # by the names of classes
        mixed_precision_policy=MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if mixed_precision == "bf16" else None,
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,  # autocast decides
        ),
        cpu_offload=False,
        activation_checkpointing=False,
        cpu_ram_efficient_loading=False,  # otherwise only the main process would have CLIP's weights
    )


def divide(
    accelerator: Accelerator, network: SupervisedNetwork, optimizer: torch.optim.Optimizer
) -> tuple[SupervisedNetwork, torch.optim.Optimizer]:
    """Replace the parameters of a network and its optimiser by this process's shares.

    Raises:
        UsageError: the optimiser cannot work on shares.
    """
    if type(optimizer) is not torch.optim.AdamW:
        raise UsageError(f"{FSDP}=true: the optimiser {type(optimizer).__name__} is not supported; use AdamW")
    present = {type(module) for module in network.modules()}
    accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = [
        kind.__name__ for kind in network.blocks if kind in present
    ]
    network, optimizer = accelerator.prepare(network, optimizer)
    forward = network.forward

    def forward_in_precision(*given: Tensor) -> Tensor:
        with accelerator.autocast():  # accelerate does this only without FSDP
            return forward(*given).float()

    vars(network)["forward"] = forward_in_precision
    return network, optimizer


def local(tensor: Tensor) -> Tensor:
    """This process's share of a tensor, or the tensor itself if it is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor. If it is divided, every process must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, divided as ``like``; no process waits for another."""
    if not isinstance(like, DTensor):
        return tensor.to(like.device)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def hollow(network: Network) -> Network:
    """A copy of an undivided network that has no memory for weights; see :func:`filled`."""
    empty: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in network.parameters()
    }
    return copy.deepcopy(network, empty)


@contextmanager
def filled(copy_of: nn.Module, network: nn.Module, average: EMAModel | None, device: torch.device) -> Iterator[None]:
    """Inside the block, a hollow copy has the whole weights of the divided network. Every process calls this.

    Args:
        average: its averages take the place of the trained weights, if given.
    """
    weights = {name: whole(value) for name, value in network.state_dict().items()}
    if average is not None:
        for name, value in zip(trained_names(network), average.shadow_params, strict=True):
            weights[name] = whole(value)
    copy_of.load_state_dict(weights, assign=True)
    copy_of.requires_grad_(False).to(device)  # also the buffers that are not in the state
    try:
        yield
    finally:
        hollowed = {name: torch.empty_like(value, device="meta") for name, value in weights.items()}
        copy_of.load_state_dict(hollowed, assign=True)


def trained_names(network: nn.Module) -> list[str]:
    """Names of the trained parameters, in their order in the optimiser."""
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


@torch.no_grad()
def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """The whole tensors, in main memory. Every process calls this.

    Args:
        keep: whether this process needs them; otherwise its result is empty.
    """
    found = {}
    for name, value in tensors.items():
        complete = whole(value)
        if keep:
            found[name] = complete.cpu().contiguous()
    return found


def gathered_state(optimizer: torch.optim.Optimizer, keep: bool) -> dict[str, Any]:
    """The whole state of an optimiser, in main memory; as :func:`gathered`."""
    state = optimizer.state_dict()
    return {**state, "state": {place: gathered(values, keep) for place, values in state["state"].items()}}


def write(folder: Path, weights: dict[str, Tensor], optimizer: dict[str, Any]) -> None:
    """Write whole weights and a whole optimiser state to the files that accelerate writes without FSDP."""
    save_file(weights, folder / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
    torch.save(optimizer, folder / OPTIMIZER)


def read(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load this process's shares of what :func:`write` or accelerate wrote; no process waits for another."""
    weights = load_file(folder / SAFE_WEIGHTS_NAME)
    shares = {name: share_like(weights[name], value) for name, value in network.state_dict().items()}
    state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, values in state["state"].items():
        for name, value in values.items():
            if value.shape == parameters[place].shape:  # not the number of steps
                values[name] = share_like(value, parameters[place])
    network.load_state_dict(shares)
    optimizer.load_state_dict(state)
