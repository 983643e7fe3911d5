"""Document 000: from the multilayer perceptron to convolutional backpropagation (Gwardys 2016)."""

import numpy as np
import pytest
from nn.loops import normal, run
from numpy.testing import assert_allclose
from scipy.signal import convolve2d, correlate2d

from cnnlab.nn import Conv2D, Dense, ReLU, Sequential, Sigmoid, Tanh

KERNEL = 2, 3


def single(x):
    """A 2-D picture as maps [H, 1, W, 1]."""
    return x[:, None, :, None]


def rot180(x):
    return x[::-1, ::-1]


def test_0_1_a_conv_layer_is_a_dense_layer_with_connections_cut_and_weights_shared():
    conv, x = Conv2D(2, KERNEL), normal(4, 2, 5, 3)
    w, b = normal(2, 2, 2, 3, seed=1), normal(2, seed=2)
    y, delta, dx, grads = run(conv, {"W": w, "b": b}, x)

    matrix, shared = np.zeros((*y.shape[:3], *x.shape[:3])), []
    for h, f, v in np.ndindex(y.shape[:3]):
        for i, c, j in np.ndindex(2, 2, 3):
            wire = h, f, v, h + i, c, v + j
            matrix[wire] = w[f, i, c, j]
            shared.append((wire, (f, i, c, j)))
    biases = np.broadcast_to(b[:, None], y.shape[:3]).ravel()
    dense, flat = Dense(biases.size), matrix.reshape(biases.size, -1)
    y_dense, backward = dense.forward({"W": flat, "b": biases}, x)
    dx_dense, grads_dense = backward(delta.reshape(y_dense.shape))

    assert np.count_nonzero(flat) == len(shared) < flat.size  # connections are cut
    assert_allclose(y.reshape(y_dense.shape), y_dense)
    assert_allclose(dx, dx_dense)
    dw, wires = np.zeros_like(w), grads_dense["W"].reshape(matrix.shape)
    for wire, weight in shared:
        dw[weight] += wires[wire]
    assert_allclose(grads["W"], dw)
    assert_allclose(grads["b"], grads_dense["b"].reshape(y.shape[:3]).sum((0, 2)))


@pytest.fixture
def true_convolution():
    """A previous activation [5, 2, 6, 2], kernels, a bias for each position, and what the engine says."""
    x, w, b = normal(5, 2, 6, 2), normal(3, 2, 2, 3, seed=1), normal(4, 3, 4, seed=2)
    return x, w, b, *run(Conv2D(3, KERNEL, flip=True, bias="position"), {"W": w, "b": b}, x)


def test_0_2_forward_is_a_true_convolution_with_a_bias_for_each_position(true_convolution):
    """z[x, y] = sum_ab w[a, b] a_prev[x-a, y-b] + b[x, y], for the x and y where no index falls out."""
    a_prev, w, bias, z, *_ = true_convolution
    for x, f, y, n in np.ndindex(4, 3, 4, 2):
        row, column = x + 1, y + 2  # the first position that the whole kernel covers is (1, 2)
        terms = (w[f, a, c, b] * a_prev[row - a, c, column - b, n] for a, c, b in np.ndindex(2, 2, 3))
        assert z[x, f, y, n] == pytest.approx(sum(terms) + bias[x, f, y])


def test_0_3_going_back_is_a_full_convolution_with_the_kernel_turned_by_180_degrees():
    """delta_prev = (delta * rot180(w)) . f'(z_prev)"""
    z_prev, w = normal(5, 6), normal(2, 3, seed=1)
    layers = {"A": Sigmoid(), "C": Conv2D(1, KERNEL, flip=True, bias=None)}
    params = {"A": {}, "C": {"W": w[None, :, None]}}
    z, delta, delta_prev, _ = run(Sequential(layers, input_gradient=True), params, single(z_prev))
    a_prev = 1 / (1 + np.exp(-z_prev))
    assert_allclose(z, single(convolve2d(a_prev, w, "valid")))
    full = convolve2d(delta[:, 0, :, 0], rot180(w), "full")
    assert_allclose(delta_prev, single(full * a_prev * (1 - a_prev)))


def test_0_4_the_weights_gradient_is_the_activation_turned_and_convolved_with_the_error(true_convolution):
    """dC/dw[a, b] = sum_xy delta[x, y] a_prev[x-a, y-b]"""
    a_prev, w, _, _, delta, _, grads = true_convolution
    loops, turned = np.zeros_like(w), np.zeros_like(w)
    for f, c, n in np.ndindex(3, 2, 2):
        turned[f, :, c] += convolve2d(rot180(a_prev[:, c, :, n]), delta[:, f, :, n], "valid")
        for a, b, x, y in np.ndindex(2, 3, 4, 4):
            loops[f, a, c, b] += delta[x, f, y, n] * a_prev[x + 1 - a, c, y + 2 - b, n]
    assert_allclose(grads["W"], loops)
    assert_allclose(grads["W"], turned)


@pytest.mark.parametrize(
    ("flip", "forward", "back"), [(True, convolve2d, correlate2d), (False, correlate2d, convolve2d)]
)
def test_0_5_the_turned_kernel_appears_on_one_of_the_two_ways_only(flip, forward, back):
    """A result of the chain rule: convolve forward and correlate back, or the other way round."""
    x, w = normal(5, 6), normal(2, 3, seed=1)
    layer = Conv2D(1, KERNEL, flip=flip, bias=None)
    y, delta, dx, _ = run(layer, {"W": w[None, :, None]}, single(x))
    assert_allclose(y, single(forward(x, w, "valid")))
    assert_allclose(dx, single(back(delta[:, 0, :, 0], w, "full")))


@pytest.mark.parametrize(
    ("layer", "f", "slope"),
    [
        (Sigmoid(), lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
        (Tanh(), np.tanh, lambda z: 1 / np.cosh(z) ** 2),
        (ReLU(), lambda z: z * (z > 0), lambda z: 1.0 * (z > 0)),
    ],
    ids=["sigmoid", "tanh", "relu"],
)
def test_0_6_the_algorithm_in_five_steps(layer, f, slope):
    a0, w1, w2, b1, b2 = (normal(*s, seed=k) for k, s in enumerate([(6, 7), (2, 3), (3, 2), (5, 5), (3, 4)]))
    target = normal(3, 4, seed=5)
    z1 = convolve2d(a0, w1, "valid") + b1  # 1 input, 2 forward
    z2 = convolve2d(f(z1), w2, "valid") + b2
    delta2 = (f(z2) - target) * slope(z2)  # 3 output error
    delta1 = convolve2d(delta2, rot180(w2), "full") * slope(z1)  # 4 backward
    dw1, dw2 = (  # 5 gradients
        convolve2d(rot180(a), delta, "valid") for a, delta in [(a0, delta1), (f(z1), delta2)]
    )

    conv1, conv2 = (Conv2D(1, shape, flip=True, bias="position") for shape in (w1.shape, w2.shape))
    network = Sequential({"C1": conv1, "A1": layer, "C2": conv2, "A2": layer})
    params = {f"C{k}": {"W": w[None, :, None], "b": b[:, None]} for k, w, b in [(1, w1, b1), (2, w2, b2)]}
    a2, backward = network.forward({**params, "A1": {}, "A2": {}}, single(a0))
    _, grads = backward(a2 - single(target))
    assert_allclose(a2, single(f(z2)))
    for name, dw, delta in [("C1", dw1, delta1), ("C2", dw2, delta2)]:
        assert_allclose(grads[name]["W"][0, :, 0], dw, atol=1e-12)
        assert_allclose(grads[name]["b"][:, 0], delta, atol=1e-12)
