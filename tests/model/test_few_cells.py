import pytest
import torch
from torch import Tensor, nn

from siftvton.model.few_cells import convolve_few_cells


def convolution() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(96, 8, 3, padding=1))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether oneDNN was allowed, at each convolution."""
    allowed: list[bool] = []
    plain = nn.Conv2d._conv_forward

    def watched(self: nn.Conv2d, *args: Tensor) -> Tensor:
        allowed.append(torch.backends.mkldnn.enabled)
        return plain(self, *args)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", watched)
    return allowed


@pytest.mark.parametrize(("cells", "by_one_dnn"), [((8, 4), False), ((8, 5), True)])
def test_few_cells_go_round_one_dnn_and_give_the_same(
    seen: list[bool], cells: tuple[int, int], by_one_dnn: bool
) -> None:
    model = convolution()
    picture = torch.randn(1, 96, *cells, requires_grad=True)
    gradient = torch.randn(1, 8, *cells)
    wanted = model(picture)
    wanted_gradient = torch.autograd.grad(wanted, picture, gradient)[0]
    convolve_few_cells(model)
    found = model(picture)
    assert seen == [True, by_one_dnn]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(found, picture, gradient)[0], wanted_gradient, rtol=0, atol=1e-5)


def test_an_error_leaves_one_dnn_on() -> None:
    model = convolution()
    convolve_few_cells(model)
    with pytest.raises(RuntimeError, match="channels"):
        model(torch.randn(1, 95, 4, 4))
    assert torch.backends.mkldnn.enabled


def test_other_kernels_and_the_names_stay() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3))
    names = list(model.state_dict())
    convolve_few_cells(model)
    assert type(model[0]) is nn.Conv2d
    assert type(model[1]) is not nn.Conv2d
    assert list(model.state_dict()) == names
