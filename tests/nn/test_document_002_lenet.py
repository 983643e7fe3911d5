"""Document 002: LeNet-5 and convolutional networks."""

from math import exp, log, tanh

import numpy as np
import pytest
from nn.loops import normal, run
from numpy.testing import assert_allclose

from cnnlab.nn import (
    RBF,
    SGD,
    AvgPool,
    Conv2D,
    CrossEntropy,
    Dense,
    GlobalAvgPool,
    LeakyReLU,
    MaxPool,
    MixedPool,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    StochasticPool,
    Tanh,
    pack,
    unpack,
)

PICTURE = np.array([[0, 50, 0, 29], [0, 80, 31, 2], [33, 90, 0, 75], [0, 9, 0, 95]])
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def test_2_1_a_dense_layer_on_a_photograph_has_150_million_weights_and_a_conv_layer_few():
    photograph = 224, 3, 224
    dense, conv = Dense(1024).cost(photograph), Conv2D(8, 3).cost(photograph)
    assert dense.macs == 154_140_672
    assert dense.parameters == dense.connections == 154_140_672 + 1024
    assert conv.parameters == 8 * 3 * 3 * 3 + 8 == 224
    assert conv.macs == 222 * 222 * 8 * 27


def test_2_2_a_conv_layers_output_shifts_with_its_input_and_a_dense_layers_does_not():
    """The seam only: a claim about classification is a study, not a theorem."""
    x, shifted = np.zeros((9, 1, 8, 1)), np.zeros((9, 1, 8, 1))
    x[2:5, :, 1:4], shifted[4:7, :, 4:7] = normal(3, 1, 3, 1), normal(3, 1, 3, 1)
    conv, dense = Conv2D(2, 3, padding="same"), Dense(4)
    params, _ = conv.init((9, 1, 8), np.random.default_rng(0))
    (y, _), (z, _) = (conv.forward(params, picture) for picture in (x, shifted))
    assert_allclose(z[3:8, :, 3:8], y[1:6, :, 0:5])
    params, _ = dense.init((9, 1, 8), np.random.default_rng(0))
    assert not np.allclose(dense.forward(params, x)[0], dense.forward(params, shifted)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_2_3_the_worked_picture_through_sobel_kernels(dtype):
    """Vertical edges as printed there; the horizontal kernel on the turned picture gives the same, turned."""
    answer = [[29, -192], [-35, -22]]
    for picture, kernel, expected in [(PICTURE, SOBEL, answer), (PICTURE.T, SOBEL.T, np.transpose(answer))]:
        layer, params = Conv2D(1, 3, bias=None), {"W": kernel[None, :, None].astype(dtype)}
        y, _ = layer.forward(params, picture[:, None, :, None].astype(dtype))
        assert y[:, 0, :, 0].tolist() == np.array(expected).tolist()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 3), (5, 5), (1, 4), (5, 2)])
def test_2_4_same_padding_keeps_the_size_and_is_of_zeros(rows, columns):
    """A kernel of ones on a picture of ones counts the pixels in its window: the padding adds nothing."""
    layer, W = Conv2D(1, (rows, columns), padding="same", bias=None), np.ones((1, rows, 1, columns))
    y, _ = layer.forward({"W": W}, np.ones((6, 1, 7, 1)))
    assert y.shape[:3] == layer.out_shape((6, 1, 7)) == (6, 1, 7)
    for h, w in np.ndindex(6, 7):
        top, left = h - (rows - 1) // 2, w - (columns - 1) // 2
        window = [(top + i, left + j) for i in range(rows) for j in range(columns)]
        assert y[h, 0, w, 0] == sum(0 <= r < 6 and 0 <= q < 7 for r, q in window)


def stochastic_expectation(window):
    return sum(a / sum(window) * a for a in window)


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (MaxPool((2, 3), (1, 2)), max),
        (AvgPool((2, 3), (1, 2)), lambda window: sum(window) / 6),
        (MixedPool((2, 3), (1, 2), 0.3), lambda window: 0.3 * max(window) + 0.7 * sum(window) / 6),
        (StochasticPool((2, 3), (1, 2)), stochastic_expectation),
    ],
    ids=lambda value: type(value).__name__,
)
def test_2_5_each_pooling_against_loops(layer, rule):
    x = np.abs(normal(5, 2, 6, 2))
    y, _ = layer.forward({}, x)
    assert y.shape == (*layer.out_shape((5, 2, 6)), 2) == (4, 2, 2, 2)
    for h, c, w, n in np.ndindex(y.shape):
        window = [float(x[h + i, c, 2 * w + j, n]) for i in range(2) for j in range(3)]
        assert y[h, c, w, n] == pytest.approx(rule(window))


def test_2_5_global_average_pooling_against_loops():
    x = normal(5, 2, 6, 2)
    y, _ = GlobalAvgPool().forward({}, x)
    for c, n in np.ndindex(y.shape):
        assert y[c, n] == pytest.approx(sum(x[h, c, w, n] for h in range(5) for w in range(6)) / 30)


def test_2_6_softmax_and_the_loss_by_the_derivatives_1_to_8():
    """L = -ln P(c) with t = w input + b, for one image of the class c."""
    inputs, w, b, c, classes, width = normal(4), normal(3, 4, seed=1), normal(3, seed=2), 1, 3, 4
    t = [sum(w[i, k] * inputs[k] for k in range(width)) + b[i] for i in range(classes)]
    S = sum(exp(v) for v in t)
    P = [exp(v) / S for v in t]
    d_out = [-1 / P[i] if i == c else 0 for i in range(classes)]  # (1)
    d_t = [
        d_out[c] * (exp(t[c]) * (S - exp(t[c])) / S**2 if k == c else -exp(t[c]) * exp(t[k]) / S**2)
        for k in range(classes)  # (2) to (4)
    ]
    dw = [[d_t[i] * inputs[k] for k in range(width)] for i in range(classes)]  # (5)
    d_input = [sum(d_t[i] * w[i, k] for i in range(classes)) for k in range(width)]  # (7), (8)

    network = Sequential({"F": Dense(3), "P": Softmax()}, input_gradient=True)
    output, backward = network.forward({"F": {"W": w, "b": b}, "P": {}}, inputs[:, None])
    value, d_output = CrossEntropy()(output, np.array([c]))
    dx, grads = backward(d_output)
    assert value == pytest.approx(-log(P[c]))
    for engine, document in [(output, P), (d_output, d_out), (grads["F"]["b"], d_t), (dx, d_input)]:  # (6): b
        assert_allclose(engine.ravel(), document)
    assert_allclose(grads["F"]["W"], dw)
    assert_allclose(SoftmaxCrossEntropy()(np.array(t)[:, None], np.array([c]))[1][:, 0], d_t)


def test_2_7_max_pooling_sends_the_gradient_to_the_winner():
    x = PICTURE[:, None, :, None].astype(float)
    y, backward = MaxPool(2).forward({}, x)
    assert y[:, 0, :, 0].tolist() == [[80, 31], [90, 95]]
    dx, _ = backward(np.array([[1.0, 2], [3, 4]])[:, None, :, None])
    assert dx[:, 0, :, 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 0, 0], [0, 0, 0, 4]]


@pytest.mark.parametrize(
    ("window", "winner"), [([[7, 7], [7, 7]], (0, 0)), ([[1, 7], [7, 7]], (0, 1)), ([[1, 2], [7, 7]], (1, 0))]
)
def test_2_7_ties_go_to_the_first(window, winner):
    x = np.array(window, float)[:, None, :, None]
    dx, _ = MaxPool(2).forward({}, x)[1](np.full((1, 1, 1, 1), 5.0))
    assert dx[winner[0], 0, winner[1], 0] == dx.sum() == 5


def test_2_8_the_filters_gradient():
    """dL/dfilter(x, y) = sum_ij dL/dconv(i, j) image(i+x, j+y)"""
    image, kernels = normal(5, 1, 6, 2), normal(2, 3, 1, 2, seed=1)
    _, delta, _, grads = run(Conv2D(2, (3, 2), bias=None), {"W": kernels}, image)
    for f, x, y in np.ndindex(2, 3, 2):
        terms = (delta[i, f, j, n] * image[i + x, 0, j + y, n] for i, j, n in np.ndindex(3, 5, 2))
        assert grads["W"][f, x, 0, y] == pytest.approx(sum(terms))


@pytest.mark.parametrize(
    ("layer", "f"),
    [
        (Sigmoid(), lambda x: 1 / (1 + exp(-x))),
        (Tanh(), tanh),
        (Tanh(1.7159, 2 / 3), lambda x: 1.7159 * tanh(2 * x / 3)),
        (ReLU(), lambda x: x if x > 0 else 0),
        (LeakyReLU(0.2), lambda x: x if x > 0 else 0.2 * x),
    ],
    ids=["sigmoid", "tanh", "lecun", "relu", "leaky_relu"],
)
def test_2_9_activations(layer, f):
    x = np.append(normal(20), 0.0)[:, None]
    assert_allclose(layer.forward({}, x)[0], [[f(v)] for v in x[:, 0]], atol=1e-15)


def test_2_9_lenet5s_tanh_maps_one_to_one():
    y, _ = Tanh(1.7159, 2 / 3).forward({}, np.array([[-1.0, 1.0]]))
    assert_allclose(y, [[-1, 1]], atol=1e-4)


def test_2_9_lenet5s_tanh_bends_most_at_one():
    """The paper's Appendix A: the second derivative's absolute value is largest at +-1."""
    a = np.linspace(-3, 3, 6001)
    bend = np.abs(np.gradient(np.gradient(Tanh(1.7159, 2 / 3).forward({}, a)[0], a), a))
    assert np.abs(a[bend.argmax()]) == pytest.approx(1, abs=0.02)


def test_2_9_outputs_softmax_and_euclidean_distance():
    x, codes = normal(4, 2), normal(3, 4, seed=1)
    scores, _ = RBF(codes).forward({}, x)
    shares, _ = Softmax().forward({}, x)
    for n in range(2):
        distances = [sum((x[j, n] - code[j]) ** 2 for j in range(4)) for code in codes]
        assert_allclose(-scores[:, n], distances)
        assert_allclose(RBF(codes, 0.5).forward({}, x)[0], scores / 2)
        assert_allclose(shares[:, n], [exp(v) / sum(map(exp, x[:, n])) for v in x[:, n]])


def test_2_12_the_inputs_gradient_is_passed_on_and_the_input_stays():
    """The document also moves the input down the gradient, a slip."""
    network = Sequential({"C": Conv2D(2, 3), "A": Tanh(), "F": Dense(3)}, input_gradient=True)
    params, _ = network.init((5, 1, 6), np.random.default_rng(0))
    theta, x, labels = pack(params), normal(5, 1, 6, 4), np.array([0, 1, 2, 0])
    before, start = x.copy(), theta.copy()
    for _ in range(3):
        scores, backward = network.forward(unpack(theta, params), x)
        dx, grads = backward(SoftmaxCrossEntropy()(scores, labels)[1])
        SGD().step(theta, pack(grads), {}, 0.1)
    assert dx.any() and dx.shape == x.shape
    assert (x == before).all() and (theta != start).any()
