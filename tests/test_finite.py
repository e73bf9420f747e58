"""NaN and infinite weights are found and named."""

import pytest
import torch

from siftvton.finite import first_not_finite

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_nan_in_the_middle_is_found_and_named(dtype: torch.dtype):
    whole = {"a": torch.ones(3, 50).to(dtype), "b": torch.ones(2, 50).to(dtype)}
    assert first_not_finite(whole.items()) is None
    values = torch.ones(100)
    values[57] = torch.nan
    assert first_not_finite((whole | {"b": values.to(dtype)}).items()) == "b"


@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != torch.float8_e4m3fn])
def test_an_infinite_value_is_found(dtype: torch.dtype, value: float):
    assert first_not_finite([("a", torch.tensor([0, 1, value, 1]).to(dtype))]) == "a"


def test_the_largest_numbers_of_a_type_are_finite():
    """Guards against a check by the sum, which overflows."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert first_not_finite([("a", torch.full((100,), torch.finfo(dtype).max, dtype=dtype))]) is None


def test_whole_numbers_and_empty_tensors_are_finite():
    assert first_not_finite([("a", torch.arange(3)), ("b", torch.zeros(0)), ("c", torch.tensor(True))]) is None
