"""Arithmetic that takes numbers next to zero for zero, since processors are slow with them."""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WORDS, MXCSR = 8, 7  # C's `fenv_t` on x86-64 Linux: 8 words, of which the last one is the vector unit's settings
FLUSH = 0x8040  # its bits "results too small for a normal number are 0" and "so are operands"


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Within it, this thread takes subnormal numbers (in float32 those below 1.2e-38) for 0.

    They arise where momentum meets a unit that never fires: its gradients are 0, and 0.9 times the smallest number is
    rounded back to that number, so its velocities never get to 0. An Intel processor takes forty times as long for
    arithmetic with them; no weight is so small that one of them would move it. Changes nothing elsewhere than on x86-64
    Linux, where C's library has another way to say it.
    """
    c = _c_library()
    if c is None:
        yield
        return
    before = (ctypes.c_uint32 * WORDS)()
    c.fegetenv(before)
    within = type(before)(*before)
    within[MXCSR] |= FLUSH
    c.fesetenv(within)
    try:
        yield
    finally:
        c.fesetenv(before)


def _c_library() -> ctypes.CDLL | None:
    """C's library, if its `fenv_t` is as above."""
    known = (sys.platform, platform.machine(), sys.maxsize) == ("linux", "x86_64", 2**63 - 1)
    c = ctypes.CDLL(None) if known else None
    return c if hasattr(c, "fesetenv") else None
