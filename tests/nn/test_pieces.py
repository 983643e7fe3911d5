"""A batch in pieces: the same loss, outputs and gradient as in one piece, whatever its size."""

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import PIECE, Conv2D, Dense, MaxPool, ReLU, Sequential, SoftmaxCrossEntropy, Tanh, loss_gradient, pack

NETWORK = Sequential({"C1": Conv2D(2, 3), "A1": ReLU(), "S2": MaxPool(2), "F3": Dense(5), "A3": Tanh()})
SHAPE = 6, 1, 5


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE - 2])
def test_pieces_add_up_to_the_whole(count):
    params, _ = NETWORK.init(SHAPE, np.random.default_rng(0))
    x, labels = normal(*SHAPE, count), np.arange(count) % 5
    y, backward = NETWORK.forward(params, x)
    value, dy = SoftmaxCrossEntropy()(y, labels)
    gradient = np.full_like(pack(params), np.nan, dtype=np.float64)
    in_pieces = loss_gradient(NETWORK, SoftmaxCrossEntropy(), params, x, labels, None, gradient)
    assert_allclose(in_pieces[0], value, rtol=1e-12)
    assert_allclose(in_pieces[1], y, rtol=1e-12)
    assert_allclose(gradient, pack(backward(dy)[1]), rtol=1e-9, atol=1e-12)


def test_no_piece_is_larger_than_the_cache_likes():
    seen = []

    class Watched(Dense):
        def forward(self, params, x, rng=None):
            seen.append(x.shape[-1])
            return super().forward(params, x, rng)

    layer = Watched(3)
    params, _ = layer.init((4,), np.random.default_rng(0))
    x, out = normal(4, 2 * PIECE + 1), np.empty_like(pack(params), dtype=np.float64)
    _, outputs = loss_gradient(layer, SoftmaxCrossEntropy(), params, x, np.zeros(2 * PIECE + 1, int), None, out)
    assert sum(seen) == 2 * PIECE + 1 and max(seen) <= PIECE and max(seen) - min(seen) <= 1
    assert_array_equal(outputs.shape, (3, 2 * PIECE + 1))
