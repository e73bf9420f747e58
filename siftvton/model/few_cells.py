"""Convolutions with more weights than cells, as the coarsest levels have them, on the CPU."""

from typing import Any

import torch
from torch import Tensor, nn

CHANNELS_PER_CELL = 3  # 640 channels on 384 cells are too few: either form takes 21 ms there


class FewCellsConv2d(nn.Conv2d):
    """``Conv2d`` that leaves a batch of few cells to PyTorch's own matrix form.

    oneDNN reorders the weights at every call. Where they outnumber the cells, that takes longer than the convolution:
    with 1280 channels on 8 × 6 cells, batch 2, oneDNN takes 27 ms and the matrix form 12 (two cores).
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        batch, channels, height, width = input.shape
        few = batch * height * width * CHANNELS_PER_CELL <= channels
        if not few or input.device.type != "cpu" or input.dtype != torch.float32 or torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        one_dnn: Any = torch.backends.mkldnn  # its annotations do not let `enabled` be set
        before, one_dnn.enabled = one_dnn.enabled, False
        try:
            return super()._conv_forward(input, weight, bias)
        finally:
            one_dnn.enabled = before


def convolve_few_cells(module: nn.Module) -> None:
    """Make every 3 × 3 convolution inside ``module`` a :class:`FewCellsConv2d`."""
    for layer in module.modules():
        if type(layer) is nn.Conv2d and layer.kernel_size == (3, 3):
            layer.__class__ = FewCellsConv2d
