"""Count the smallest floating-point numbers as zero, for code that they make slow."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FENV_WORDS, MXCSR = 8, 7  # fenv_t of x86-64 on Linux: its length and the place of MXCSR, in words of 32 bits
ZERO_RESULTS, ZERO_INPUTS = 1 << 15, 1 << 6  # bits of MXCSR (Intel 64 manual, volume 1, §10.2.3)


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Count subnormal numbers, below 1.2·10⁻³⁸ in float32, as zero in this thread; restore the former state.

    A thread that is started inside keeps the setting. x86 processors calculate with such numbers many times slower than
    with others. On another processor or system, nothing changes.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" and platform.machine() == "x86_64" else None
    if library is None or not hasattr(library, "fesetenv"):
        yield
        return
    before = (ctypes.c_uint32 * FENV_WORDS)()
    library.fegetenv(before)
    during = (ctypes.c_uint32 * FENV_WORDS)(*before)
    during[MXCSR] |= ZERO_RESULTS | ZERO_INPUTS
    library.fesetenv(during)
    try:
        yield
    finally:
        library.fesetenv(before)
