"""Arrays made once and batches in pieces: the same loss, outputs and gradient as fresh arrays in one piece."""

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import (
    AvgPool,
    Bound,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    MaxPool,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Workspace,
    pack,
    predict,
    split,
    unpack,
)
from cnnlab.nn.correlate import _kernel_parts, _rows_together
from cnnlab.nn.parameters import leaves
from cnnlab.nn.workspace import FEWEST, LANES, LARGEST, LEAST

NETWORK = Sequential({"C1": Conv2D(2, 3), "A1": ReLU(), "S2": MaxPool(2), "F3": Dense(5), "A3": Tanh()})
SHAPE = 6, 1, 5
LENET5 = Sequential({"C1": Conv2D(6, 5, padding="same"), "A1": Tanh(), "S2": AvgPool(2), "F3": Dense(120)})


@pytest.fixture
def small(monkeypatch):
    """Pieces of at most FEWEST images of that shape."""
    monkeypatch.setattr("cnnlab.nn.workspace.LARGEST", FEWEST * NETWORK.widest(SHAPE))
    monkeypatch.setattr("cnnlab.nn.workspace.LEAST", 1)


def start(network: Sequential, dtype: type = np.float64) -> dict:
    params, _ = network.init(SHAPE, np.random.default_rng(0))
    return unpack(pack(params).astype(dtype), params)


def plain(network: Sequential, params: dict, x: np.ndarray, labels: np.ndarray, rng=None) -> tuple:
    """Loss, outputs and gradient by `forward` and its backward."""
    y, backward = network.forward(params, x, rng)
    value, dy = SoftmaxCrossEntropy()(y, labels)
    return value, y, pack(backward(dy)[1])


@pytest.mark.parametrize("count", [1, FEWEST - 1, FEWEST, FEWEST + 1, 3 * FEWEST - 2])
def test_pieces_add_up_to_the_whole(count, small):
    params, x, labels = start(NETWORK), normal(*SHAPE, count), np.arange(count) % 5
    in_pieces = Workspace(NETWORK, params, SHAPE).loss_gradient(SoftmaxCrossEntropy(), x, labels, None)
    for found, expected in zip(in_pieces, plain(NETWORK, params, x, labels), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert len(list(split(NETWORK, SHAPE, count))) == -(-count // FEWEST)


def test_arrays_that_are_used_again_remember_nothing():
    """Batches of two sizes in turns, the parameters moving in between, bit for bit as with fresh arrays."""
    network = Sequential(
        {"C0": Conv2D(3, 2, 2, "full"), "S0": AvgPool(2, 1), "F1": Dense(4), "A1": ReLU(), "F2": Dense(5)}
    )
    params, state = start(network, np.float32), np.random.default_rng(3)
    workspace = Workspace(network, params, SHAPE)
    for count in (4, 1, 4, 3, 1):
        x, labels = normal(*SHAPE, count).astype(np.float32), state.integers(5, size=count)
        found = workspace.loss_gradient(SoftmaxCrossEntropy(), x, labels, None)
        assert_array_equal(workspace.predict(x), network.forward(params, x)[0])
        for mine, fresh in zip(found, plain(network, params, x, labels), strict=True):
            assert_array_equal(mine, fresh)
        for leaf in leaves(params):
            leaf -= 0.1 * normal(*leaf.shape).astype(np.float32)


def test_images_of_another_shape_are_refused():
    workspace = Workspace(NETWORK, start(NETWORK), SHAPE)
    with pytest.raises(ValueError, match=r"shape \(6, 1, 1\) for a network laid out for \(6, 1, 5\)"):
        workspace.predict(np.ones((6, 1, 1, 3)))


class Blind(Layer):
    """A layer that forgets the gradient of its input."""

    def forward(self, params, x, rng=None):
        return x, lambda dy: (None, {})


def test_a_layer_without_an_input_gradient_cannot_stand_above_another():
    network = Sequential({"F1": Dense(3), "B": Blind()})
    with pytest.raises(TypeError, match="Blind gives no gradient of its input"):
        network.forward(network.init((2,), np.random.default_rng(0))[0], np.ones((2, 4)))[1](np.ones((3, 4)))


def test_noise_is_drawn_anew_at_each_step():
    network = Sequential({"D0": Dropout(), **NETWORK.layers})
    params, x, labels = start(network), normal(*SHAPE, 4), np.arange(4)
    workspace, one, other = Workspace(network, params, SHAPE), *(np.random.default_rng(7) for _ in range(2))
    values = [workspace.loss_gradient(SoftmaxCrossEntropy(), x, labels, one)[0] for _ in range(3)]
    assert values == [plain(network, params, x, labels, other)[0] for _ in range(3)]
    assert len(set(values)) == 3


class Doubled(Layer):
    """A layer that writes `forward` alone."""

    def forward(self, params, x, rng=None):
        return 2 * x, lambda dy: (2 * dy, {})


class Tripled(Layer):
    """A layer that writes `bind` alone."""

    def bind(self, params, x, dx, grads):
        y, dy = np.empty_like(x), np.empty_like(x)

        def backward():
            if dx is not None:
                np.multiply(dy, 3, out=dx)

        return Bound(y, dy, lambda rng: np.multiply(x, 3, out=y), backward)


class Halved(Tripled):
    """One that changes its mind: what was bound before is of no account."""

    def forward(self, params, x, rng=None):
        return x / 2, lambda dy: (dy / 2, {})


class Quadrupled(Doubled):
    """The other way round."""

    def bind(self, params, x, dx, grads):
        return Sequential({"A": Doubled(), "B": Doubled()}).bind({"A": {}, "B": {}}, x, dx, {"A": {}, "B": {}})


@pytest.mark.parametrize(("layer", "factor"), [(Doubled(), 2), (Tripled(), 3), (Halved(), 0.5), (Quadrupled(), 4)])
def test_a_layer_writes_forward_or_bind_and_has_both(layer, factor):
    x, dx, dy = normal(3, 2), np.empty((3, 2)), normal(3, 2)
    y, backward = layer.forward({}, x)
    bound = layer.bind({}, x, dx, {})
    bound.forward(None)
    bound.dy[...] = dy
    bound.backward()
    assert_allclose([y, bound.y], [factor * x] * 2)
    assert_allclose([backward(dy)[0], dx], [factor * dy] * 2)


@pytest.mark.parametrize("count", [0, 1, FEWEST, 3 * FEWEST - 2])
def test_predicting_in_pieces_is_predicting(count, small):
    params, x = start(NETWORK), normal(*SHAPE, count)
    found = predict(NETWORK, params, SHAPE, count, lambda piece: x[..., piece])
    assert_allclose(found, NETWORK.forward(params, x)[0], rtol=1e-12)


def test_a_layer_that_writes_neither_says_so():
    with pytest.raises(NotImplementedError):
        Layer().forward({}, np.ones((1, 1)))


@pytest.mark.parametrize("count", [1, 100, 257, 1000])
@pytest.mark.parametrize("units", [1, 5000, 10**6])
def test_pieces_are_alike_and_none_is_larger_than_it_should_be(units, count):
    parts = list(split(Dense(units), (4,), count))
    *sizes, last = [part.stop - part.start for part in parts]
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert parts[0].start == 0 and parts[-1].stop == count
    assert len(set(sizes)) <= 1 and sum(sizes) % LANES == 0 and 0 < last <= max(sizes, default=last)
    assert max(*sizes, last, LANES) < max(FEWEST, LARGEST // max(units, 4), LEAST // (4 * units)) + LANES


def test_the_widest_is_an_input_or_an_output():
    assert NETWORK.widest(SHAPE) == 30
    assert NETWORK.widest((28, 1, 28)) == 26 * 2 * 26
    assert MaxPool(2).widest((4, 3, 4)) == 48
    assert Sequential({"inside": NETWORK}).widest((28, 1, 28)) == 26 * 2 * 26


def test_pieces_of_lenet5():
    """Their sizes decide the last bits of a sum, so that a seeded run depends on them."""
    counts = (1, 32, 33, 64, 100, 256)
    sizes = [[piece.stop - piece.start for piece in split(LENET5, (28, 1, 28), count)] for count in counts]
    assert sizes == [[1], [32], [32, 1], [32, 32], [32, 32, 32, 4], [32] * 8]
    assert [piece.stop for piece in split(Dense(10**6), (4,), 100)] == [32, 64, 96, 100]


def test_rows_that_a_product_computes_together(machine):
    asked = (28, 5, 6), (10, 5, 16), (24, 5, 4), (9, 5, 6), (28, 2, 6), (26, 3, 8), (7, 3, 8), (9, 5, 32)
    expected = [1] * 8 if machine.small_products() else [4, 1, 4, 3, 1, 2, 1, 1]  # by rows, the kernel's, and filters
    assert [_rows_together(*each) for each in asked] == expected
    asked = (16, 3), (19, 3), (36, 3), (50, 16), (48, 65)  # values of a kernel, filters
    assert [_kernel_parts(*each) for each in asked] == ([1, 19, 3, 25, 1] if machine.small_products() else [1] * 5)
