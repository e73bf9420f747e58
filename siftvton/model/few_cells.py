"""Faster CPU convolutions for the coarsest levels, which have more weights than cells.

Letters: B images, C input and D output channels, h × w cells of the result.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS_PER_CELL = 3  # the shortcut needs at least this many; with 640 channels on 384 cells both forms take 21 ms


class FewCellsConv2d(nn.Conv2d):
    """A ``Conv2d`` that becomes one matrix product when the batch has few cells.

    oneDNN reorders the weights at every call. When there are more weights than cells, this takes longer than the
    convolution itself: with 1280 channels on 8 × 6 cells and batch 2, oneDNN takes 50 ms on one core, the matrix
    product 28 ms.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        batch, channels, *size = input.shape
        few = batch * size[0] * size[1] * CHANNELS_PER_CELL <= channels
        if not few or input.device.type != "cpu" or input.dtype != torch.float32 or torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        patches = functional.unfold(input, 3, padding=1, stride=self.stride)  #     (B, 9·C, h·w)
        columns = patches.transpose(0, 1).flatten(1)  #                             (9·C, B·h·w)
        rows = (size[0] - 1) // self.stride[0] + 1  #                               h
        result = (weight.flatten(1) @ columns).unflatten(1, (batch, rows, -1)).transpose(0, 1)
        return (result if bias is None else result + bias.view(-1, 1, 1)).contiguous()  # (B, D, h, w)


def convolve_few_cells(module: nn.Module) -> None:
    """Turn every 3 × 3 convolution with a border of one zero inside ``module`` into a :class:`FewCellsConv2d`."""
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _is_usual(layer):
            layer.__class__ = FewCellsConv2d


def _is_usual(layer: nn.Conv2d) -> bool:
    """Whether the layer is 3 × 3 with a border of one zero, as in Stable Diffusion; any stride."""
    sizes = layer.kernel_size, layer.padding, layer.dilation
    return sizes == ((3, 3), (1, 1), (1, 1)) and layer.groups == 1 and layer.padding_mode == "zeros"
