"""Compile a network for training, block by block, and leave the supervised layers uncompiled.

The losses on the attention layers replace a layer's ``forward`` in every step. Dynamo would leave its compiled code at
each of these layers and compile what is around them again. Blocks that hold such a layer therefore run eagerly, and
all others are compiled as a whole. Blocks of one class share their code: Dynamo compiles it once for each combination
of shapes, modes and frozen parameters.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager

import torch

from siftvton.model.network import SupervisedNetwork
from siftvton.training.config import SupervisionConfig

BACKEND = "inductor"
# Shapes that one block class may have; PyTorch's default of 8 is too small for the residual blocks of a U-Net, and
# PyTorch would run the others eagerly, without an error.
MOST_SHAPES = 64


def compile_blocks(network: SupervisedNetwork, layers: Collection[str]) -> list[str]:
    """Compile the network's blocks in place, except those that hold a supervised layer.

    The names of parameters stay the same. Nothing is compiled before the first training step. Shapes are compiled as
    constants, because all micro-batches of a run have the same shapes.

    Args:
        layers: names of the supervised layers, relative to ``network.hooked``.

    Returns:
        The names of the compiled blocks.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_SHAPES)
    supervised = {id(network.hooked.get_submodule(layer)) for layer in layers}
    compiled: list[str] = []
    for name, block in network.named_modules():  # a block comes before the blocks inside it
        if not isinstance(block, network.blocks) or name.startswith(tuple(f"{outer}." for outer in compiled)):
            continue
        if not any(id(module) in supervised for module in block.modules()):
            block.compile(backend=BACKEND, dynamic=False)
            compiled.append(name)
    return compiled


def uncompiled() -> AbstractContextManager[None]:
    """Run everything eagerly inside the ``with`` block; for other passes than training, such as sampling."""
    return torch.compiler.set_stance("force_eager")


def supervised_layers(network: SupervisedNetwork, config: SupervisionConfig) -> list[str]:
    """Names of the layers that training supervises, relative to ``network.hooked``."""
    layers = network.hooked_layers(config.layers) if config.uses_hooked_layers else []
    return [*layers, network.variation_layer()] if config.atv_weight else layers
