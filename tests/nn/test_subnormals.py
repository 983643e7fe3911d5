"""Numbers next to zero are 0 within a training, and nowhere else."""

import platform
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cnnlab.nn import subnormals_flushed

ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="is not done on this kind of machine"
)
SMALLEST = {dtype: np.finfo(dtype).tiny for dtype in (np.float32, np.float64)}


def is_flushed(dtype: type[np.floating]) -> bool:
    """Whether half of the smallest normal number is 0."""
    return not (np.full(100, SMALLEST[dtype]) / dtype(2)).any()


@ON_LINUX
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_and_operands_are_flushed_within_and_only_there(dtype: type[np.floating]) -> None:
    subnormal = np.full(100, SMALLEST[dtype]) / dtype(2)
    with subnormals_flushed():
        assert is_flushed(dtype)
        assert not (subnormal * dtype(2)).any()
        with ThreadPoolExecutor(1) as pool, subnormals_flushed():
            assert pool.submit(is_flushed, dtype).result(), "a thread begins as its maker is"
        assert is_flushed(dtype), "the inner one gave back what it found"
    assert not is_flushed(dtype)
    assert (subnormal * dtype(2) == SMALLEST[dtype]).all()


@ON_LINUX
def test_an_error_ends_it_and_rounding_and_flags_stay() -> None:
    with pytest.raises(ZeroDivisionError), subnormals_flushed():
        assert 0.1 + 0.2 == 0.30000000000000004
        raise ZeroDivisionError
    assert not is_flushed(np.float32)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        np.ones(1) / np.zeros(1)


@pytest.mark.parametrize("elsewhere", [(platform, "machine", lambda: "aarch64"), (sys, "maxsize", 2**31 - 1)])
def test_elsewhere_it_changes_nothing(elsewhere: tuple[object, str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*elsewhere)
    with subnormals_flushed():
        assert not is_flushed(np.float32)
