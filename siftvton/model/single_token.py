"""A shortcut for cross-attention to a single token, as the image context is.

The softmax over one key is 1, so the output is the value of that token for every query. Queries, keys and scores are
never computed, and the layers that would compute them get no gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


class SingleTokenProcessor:
    """Processor for diffusers' ``Attention``: (B, N_q, C), (B, 1, D) -> (B, 1, C), which broadcasts over queries.

    Inside a :func:`token_constant` block, the output is computed only once.
    """

    def __init__(self) -> None:
        self.constant = False
        self.output: Tensor | None = None

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        assert encoder_hidden_states is not None
        assert encoder_hidden_states.shape[1] == 1, "exactly one token is required"
        if self.output is not None:
            return self.output
        output = attention.to_out[0](attention.to_v(encoder_hidden_states))
        if self.constant and not torch.compiler.is_compiling():
            self.output = output
        return output


def attend_to_single_token(module: nn.Module) -> None:
    """Install the shortcut in the cross-attention of every transformer block inside ``module``."""
    for block in module.modules():
        if isinstance(block, BasicTransformerBlock):
            block.attn2.set_processor(SingleTokenProcessor())


@contextmanager
def token_constant(*modules: nn.Module) -> Iterator[None]:
    """Promise that the token and the weights of the modules stay the same inside the ``with`` block."""
    blocks = [block for module in modules for block in module.modules() if isinstance(block, BasicTransformerBlock)]
    processors = [p for block in blocks if isinstance(p := block.attn2.processor, SingleTokenProcessor)]
    try:
        for processor in processors:
            processor.constant = True
        yield
    finally:
        for processor in processors:
            processor.constant, processor.output = False, None


def unused_parameters(module: nn.Module) -> set[str]:
    """Names of the parameters inside ``module`` that have no effect because of the shortcut."""
    return {
        f"{name}.{part}.{parameter}"
        for name, block in module.named_modules()
        if isinstance(block, BasicTransformerBlock) and isinstance(block.attn2.processor, SingleTokenProcessor)
        for part in ("norm2", "attn2.to_q", "attn2.to_k")
        for parameter, _ in block.get_submodule(part).named_parameters()
    }
