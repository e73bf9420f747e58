import pytest
import torch

from siftvton.draws import numpy_generator, seed_of, torch_generator


def test_seeds_are_the_same_everywhere() -> None:
    assert seed_of(0, 3, 7, "noise") == 6593245884855481257
    assert 0 <= seed_of("x") < 2**63


def test_every_part_of_a_key_counts() -> None:
    keys = [(0, 1, 2, "a"), (1, 1, 2, "a"), (0, 2, 1, "a"), (0, 1, 2, "b"), (0, 12, "a"), (0, 1, 2), (0, 1, "2", "a")]
    assert len({seed_of(*key) for key in keys}) == len(keys)


def test_generators_depend_on_their_key_alone() -> None:
    torch.manual_seed(5)
    first = torch.randn(4, generator=torch_generator(0, "noise"))
    torch.manual_seed(6)
    assert torch.equal(torch.randn(4, generator=torch_generator(0, "noise")), first)
    assert not torch.equal(torch.randn(4, generator=torch_generator(1, "noise")), first)
    assert numpy_generator(0, "split").random() == numpy_generator(0, "split").random()
    assert numpy_generator(0, "split").random() != numpy_generator(1, "split").random()


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(3, generator=torch_generator(9))
    assert torch.equal(torch.rand(3), expected)


def test_independent_keys_are_uncorrelated() -> None:
    values = torch.stack([torch.randn((), generator=torch_generator(0, index)) for index in range(2000)])
    assert values.mean().item() == pytest.approx(0, abs=0.08)
    assert values.std().item() == pytest.approx(1, abs=0.06)
    assert (values[1:] * values[:-1]).mean().item() == pytest.approx(0, abs=0.08)
