"""Document 003: the formulas of a convolutional network in Python (Habr / ODS, part 2)."""

from math import exp, log

import numpy as np
import pytest
from nn.loops import convolve, input_gradient, kernel_gradient, normal, run
from numpy.testing import assert_allclose

from cnnlab.nn import (
    Conv2D,
    CrossEntropy,
    Dense,
    MaxPool,
    MeanSquaredError,
    ReLU,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
)

LABELS = np.array([2, 0, 1, 2])
TARGETS = np.eye(3)[LABELS].T


@pytest.mark.parametrize(
    ("loss", "E", "slope"),
    [
        (MeanSquaredError(), lambda t, y: (t - y) ** 2 / 2, lambda t, y: y - t),
        (CrossEntropy(), lambda t, y: -t * log(y), lambda t, y: -t / y),
    ],
    ids=["mean_squared_error", "cross_entropy"],
)
def test_3_1_losses_and_their_slopes(loss, E, slope):
    """Summed over the outputs, mean over the batch of 4."""
    y = Softmax().forward({}, normal(3, 4))[0]
    value, d_y = loss(y, LABELS)
    assert value == pytest.approx(sum(E(t, p) for t, p in zip(TARGETS.ravel(), y.ravel(), strict=True)) / 4)
    assert_allclose(d_y, slope(TARGETS, y) / 4)


def test_3_2_slopes_of_relu_and_sigmoid():
    x = np.array([[-2.0], [0.0], [3.0]])
    relu, _ = ReLU().forward({}, x)[1](np.ones((3, 1)))
    assert relu[:, 0].tolist() == [0, 0, 1]
    f = 1 / (1 + np.exp(-x))
    assert_allclose(Sigmoid().forward({}, x)[1](np.ones((3, 1)))[0], f * (1 - f))


def jacobian(x):
    """dy_i/dx_j = y_i (1[i=j] - y_j) for one column of scores."""
    y = [exp(v) / sum(map(exp, x)) for v in x]
    return np.array([[y[i] * ((i == j) - y[j]) for j in range(len(x))] for i in range(len(x))])


def test_3_2_softmax_goes_back_by_its_whole_jacobian():
    x = normal(3, 4)
    _, delta, dx, _ = run(Softmax(), {}, x)
    assert_allclose(dx, np.stack([delta[:, n] @ jacobian(x[:, n]) for n in range(4)], axis=1), atol=1e-12)


def test_3_2_softmax_works_under_the_squared_error_and_fused_with_cross_entropy():
    x = normal(3, 4)
    y, backward = Softmax().forward({}, x)
    squared, fused = (backward(loss(y, LABELS)[1])[0] for loss in (MeanSquaredError(), CrossEntropy()))
    for n in range(4):
        assert_allclose(squared[:, n], (y - TARGETS)[:, n] @ jacobian(x[:, n]) / 4)
        assert_allclose(fused[:, n], (-TARGETS / y)[:, n] @ jacobian(x[:, n]) / 4)
    assert_allclose(fused, SoftmaxCrossEntropy()(x, LABELS)[1])


def test_3_3_fully_connected():
    """The document's vectors are rows and its w is (inputs, outputs): the transposed of the engine's."""
    y_prev, w, b = normal(4, 2), normal(4, 3, seed=1), normal(3, seed=2)
    x, delta, d_prev, grads = run(Dense(3), {"W": w.T, "b": b}, y_prev)
    for i, n in np.ndindex(3, 2):
        assert x[i, n] == pytest.approx(sum(w[k, i] * y_prev[k, n] for k in range(4)) + b[i])
    for k, i in np.ndindex(4, 3):
        assert grads["W"][i, k] == pytest.approx(sum(y_prev[k, n] * delta[i, n] for n in range(2)))
    for k, n in np.ndindex(4, 2):
        assert d_prev[k, n] == pytest.approx(sum(delta[i, n] * w[k, i] for i in range(3)))
    assert_allclose(grads["b"], [sum(delta[i, n] for n in range(2)) for i in range(3)])


@pytest.mark.parametrize(("size", "stride"), [((2, 2), 2), ((3, 2), 1), ((2, 3), (3, 1)), ((3, 3), 2)])
def test_3_4_max_pooling_keeps_the_coordinates_of_its_maxima(size, stride):
    x = normal(7, 2, 6, 2)
    y, delta, dx, _ = run(MaxPool(size, stride), {}, x)
    down, across = (stride, stride) if isinstance(stride, int) else stride
    expected = np.zeros_like(x)
    for h, c, w, n in np.ndindex(y.shape):
        cells = [(h * down + i, c, w * across + j, n) for i in range(size[0]) for j in range(size[1])]
        winner = max(cells, key=lambda cell: x[cell])
        assert y[h, c, w, n] == x[winner]
        expected[winner] += delta[h, c, w, n]
    assert_allclose(dx, expected)


KERNEL, CENTRES = (2, 3), [(p, q) for p in range(2) for q in range(3)]


def centred(p, q, flip):
    """The padding that puts the kernel's centre (p, q) over each pixel in turn, outputs as many as pixels.

    The centre has p rows of the kernel before it; a kernel that is turned has them after it.
    """
    before, after = (p, q), (KERNEL[0] - 1 - p, KERNEL[1] - 1 - q)
    return tuple(zip(*((after, before) if flip else (before, after)), strict=True))


@pytest.mark.parametrize("flip", [False, True], ids=["correlation", "convolution"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("centre", CENTRES, ids=str)
def test_3_5_3_6_3_8_convolution_with_any_stride_and_any_kernel_centre(centre, stride, flip):
    x, w = normal(5, 2, 6, 2), normal(2, 2, 2, 3, seed=1)
    layer = Conv2D(2, KERNEL, stride, padding=centred(*centre, flip), flip=flip, bias=None)
    y, delta, dx, grads = run(layer, {"W": w}, x)
    how = {"s": stride, "g": 1 if flip else -1, "centre": centre}
    z, dw, d_prev = np.zeros_like(y), np.zeros_like(w), np.zeros_like(x)
    for f, c, n in np.ndindex(2, 2, 2):
        picture, kernel, error = x[:, c, :, n], w[f, :, c], delta[:, f, :, n]
        z[:, f, :, n] += convolve(picture, kernel, error.shape, **how)
        dw[f, :, c] += kernel_gradient(error, picture, KERNEL, **how)  # 3.5
        d_prev[:, c, :, n] += input_gradient(error, kernel, picture.shape, **how)  # 3.6
    assert y[:, 0, :, 0].shape == x[::stride, 0, ::stride, 0].shape  # 3.8: the centre visits every pixel
    assert_allclose(y, z, atol=1e-12)
    assert_allclose(grads["W"], dw, atol=1e-12)
    assert_allclose(dx, d_prev, atol=1e-12)


@pytest.mark.parametrize("bias", ["map", "position"])
def test_3_7_one_bias_for_each_map_or_for_each_position(bias):
    """dE/db = sum_ij delta_ij, or dE/db_ij = delta_ij; summed over the batch of 2."""
    layer, b = Conv2D(3, 2, bias=bias), normal(3) if bias == "map" else normal(4, 3, 5)
    x, W = normal(5, 2, 6, 2), normal(3, 2, 2, 2, seed=1)
    y, delta, _, grads = run(layer, {"W": W, "b": b}, x)
    bare, _ = Conv2D(3, 2, bias=None).forward({"W": W}, x)
    expected = np.zeros_like(b)
    for i, f, j, n in np.ndindex(delta.shape):
        place = f if bias == "map" else (i, f, j)
        expected[place] += delta[i, f, j, n]
        assert y[i, f, j, n] == pytest.approx(bare[i, f, j, n] + b[place])
    assert_allclose(grads["b"], expected)
