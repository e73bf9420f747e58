import platform
import sys

import numpy as np
import pytest

from siftvton.correspondence.subnormals import subnormals_as_zero

SMALL = np.full(8, 1e-30, np.float32)

on_x86 = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="only x86-64 on Linux can count them as zero"
)


def test_numbers_of_normal_size_are_as_ever() -> None:
    with subnormals_as_zero():
        inside = SMALL * np.float32(1e-7)
    np.testing.assert_array_equal(inside, SMALL * np.float32(1e-7))
    assert (inside > 0).all()


@on_x86
def test_subnormal_results_and_inputs_are_zero_inside_and_not_afterwards() -> None:
    tiny = SMALL * np.float32(1e-10)
    with subnormals_as_zero():
        result, scaled = SMALL * np.float32(1e-10), tiny * np.float32(1e10)
    assert (result == 0).all()
    assert (scaled == 0).all()
    assert (SMALL * np.float32(1e-10) > 0).all()


@on_x86
def test_an_error_inside_ends_it_too() -> None:
    with pytest.raises(KeyError), subnormals_as_zero():
        raise KeyError
    assert (SMALL * np.float32(1e-10) > 0).all()
