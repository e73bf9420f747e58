from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from siftvton.model.few_cells import FewCellsConv2d, convolve_few_cells


class Convolutions(TorchDispatchMode):
    """Counts calls of PyTorch's convolution, and checks at every operation whether oneDNN is enabled."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.allowed = True

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += function is torch.ops.aten.convolution.default
        self.allowed = self.allowed and bool(torch.backends.mkldnn.enabled)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def watched() -> Iterator[Convolutions]:
    with Convolutions() as mode:
        yield mode


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
@pytest.mark.parametrize(("cells", "few"), [((4, 4), True), ((3, 5), True), ((8, 5), False)])
def test_few_cells_become_one_matrix_product_with_the_same_result(
    watched: Convolutions, cells: tuple[int, int], few: bool, stride: int | tuple[int, int], bias: bool
) -> None:
    """No switch of the process is changed: with several threads, oneDNN once stayed off for ever."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(96, 8, 3, padding=1, stride=stride, bias=bias))
    picture = torch.randn(2, 96, *cells, requires_grad=True)
    expected = model(picture)
    gradient = torch.randn_like(expected)
    parameters = [picture, *model.parameters()]
    expected_gradients = torch.autograd.grad(expected, parameters, gradient)
    convolve_few_cells(model)
    watched.calls = 0
    found = model(picture)
    assert watched.calls == (0 if few else 1)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    found_gradients = torch.autograd.grad(found, parameters, gradient)
    torch.testing.assert_close(found_gradients, expected_gradients, rtol=0, atol=1e-4)
    assert watched.allowed


def test_other_convolutions_and_all_names_stay_the_same() -> None:
    others = [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ]
    model = nn.Sequential(*others, nn.Conv2d(4, 4, 3, padding=1))
    names = list(model.state_dict())
    convolve_few_cells(model)
    assert [type(layer) for layer in model] == [nn.Conv2d] * 5 + [FewCellsConv2d]
    assert list(model.state_dict()) == names
