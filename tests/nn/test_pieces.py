"""A batch in pieces: the same loss, outputs and gradient as in one piece, whatever its size."""

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose

from cnnlab.nn import Conv2D, Dense, MaxPool, ReLU, Sequential, SoftmaxCrossEntropy, Tanh, loss_gradient, pack, split
from cnnlab.nn.pieces import FEWEST, LARGEST

NETWORK = Sequential({"C1": Conv2D(2, 3), "A1": ReLU(), "S2": MaxPool(2), "F3": Dense(5), "A3": Tanh()})
SHAPE = 6, 1, 5


@pytest.fixture
def small(monkeypatch):
    """Pieces of at most FEWEST images of that shape."""
    monkeypatch.setattr("cnnlab.nn.pieces.LARGEST", FEWEST * NETWORK.widest(SHAPE))


@pytest.mark.parametrize("count", [1, FEWEST - 1, FEWEST, FEWEST + 1, 3 * FEWEST - 2])
def test_pieces_add_up_to_the_whole(count, small):
    params, _ = NETWORK.init(SHAPE, np.random.default_rng(0))
    x, labels = normal(*SHAPE, count), np.arange(count) % 5
    y, backward = NETWORK.forward(params, x)
    value, dy = SoftmaxCrossEntropy()(y, labels)
    gradient = np.full_like(pack(params), np.nan, dtype=np.float64)
    in_pieces = loss_gradient(NETWORK, SoftmaxCrossEntropy(), params, x, labels, None, gradient)
    assert_allclose(in_pieces[0], value, rtol=1e-12)
    assert_allclose(in_pieces[1], y, rtol=1e-12)
    assert_allclose(gradient, pack(backward(dy)[1]), rtol=1e-9, atol=1e-12)
    assert len(list(split(NETWORK, SHAPE, count))) == -(-count // FEWEST)


@pytest.mark.parametrize("count", [1, 100, 257, 1000])
@pytest.mark.parametrize("units", [1, 5000, 10**6])
def test_pieces_are_even_and_none_is_larger_than_the_cache_likes(units, count):
    parts = list(split(Dense(units), (4,), count))
    sizes = [stop - first for first, stop in parts]
    assert parts[0][0] == 0 and parts[-1][1] == count and sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= max(FEWEST, LARGEST // max(units, 4))


def test_the_widest_is_an_input_or_an_output():
    assert NETWORK.widest(SHAPE) == 30
    assert NETWORK.widest((28, 1, 28)) == 26 * 2 * 26
    assert MaxPool(2).widest((4, 3, 4)) == 48
