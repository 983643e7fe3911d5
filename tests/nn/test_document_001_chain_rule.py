"""Document 001: basic notions, and the chain rule on a network of 2-2-2 sigmoid neurons."""

from math import exp, log

import numpy as np
import pytest
from nn.loops import normal, run
from numpy.testing import assert_allclose

from cnnlab.nn import (
    SGD,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    MeanSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    pack,
)


def sigmoid(z):
    return 1 / (1 + exp(-z))


@pytest.mark.parametrize(("layer", "f"), [(Sigmoid(), sigmoid), (ReLU(), lambda z: max(z, 0))], ids=["sigmoid", "relu"])
def test_1_1_a_neuron_is_f_of_the_weighted_sum(layer, f):
    x, w, b = normal(3, 2), normal(1, 3, seed=1), normal(1, seed=2)
    output, _ = Sequential({"z": Dense(1), "a": layer}).forward({"z": {"W": w, "b": b}, "a": {}}, x)
    for n in range(2):
        assert output[0, n] == pytest.approx(f(sum(w[0, i] * x[i, n] for i in range(3)) + b[0]))


def test_1_1_gradients_of_equal_random_batches_average_to_that_of_the_epoch():
    network, loss = Sequential({"F1": Dense(4), "A1": Sigmoid(), "F2": Dense(3)}), SoftmaxCrossEntropy()
    params, _ = network.init((5,), np.random.default_rng(0))
    x, labels = normal(5, 12), np.arange(12) % 3

    def gradient(chosen):
        scores, backward = network.forward(params, x[:, chosen])
        return pack(backward(loss(scores, labels[chosen])[1])[1])

    batches = np.random.default_rng(1).permutation(12).reshape(3, 4)
    assert_allclose(np.mean([gradient(batch) for batch in batches], axis=0), gradient(np.arange(12)))


def test_1_2_mean_squared_error_known_values():
    """1/2 sum (y - y')^2 (the document prints it without the square, a slip), mean over the batch."""
    output = np.array([[0.5, 0.0], [0.25, 1.0], [0.0, 3.0]])
    value, gradient = MeanSquaredError()(output, np.array([0, 1]))
    assert value == ((0.25 + 0.0625) / 2 + 9 / 2) / 2
    assert_allclose(gradient, np.array([[-0.5, 0], [0.25, 0], [0, 3]]) / 2)


def test_1_3_binary_cross_entropy_and_its_gradient_through_a_sigmoid():
    """-(y ln y' + (1-y) ln(1-y')) summed over the outputs; through the sigmoid its gradient is a - y."""
    z, labels = normal(3, 4), np.array([2, 0, 1, 2])
    a, backward = Sigmoid().forward({}, z)
    value, d_a = BinaryCrossEntropy()(a, labels)
    y = np.eye(3)[labels].T
    terms = [t * log(p) + (1 - t) * log(1 - p) for t, p in zip(y.ravel(), a.ravel(), strict=True)]
    assert value == pytest.approx(-sum(terms) / 4)
    assert_allclose(backward(d_a)[0], (a - y) / 4)
    fused, d_z = BinaryCrossEntropy(logits=True)(z, labels)
    assert fused == pytest.approx(value)
    assert_allclose(d_z, (a - y) / 4)


def test_1_4_every_derivative_of_the_2_2_2_network():
    """The document derives for the error of output 1 alone (o = 0 here); the total sums over both outputs."""
    W2, W3, b2, b3 = normal(2, 2), normal(2, 2, seed=1), normal(2, seed=2), normal(2, seed=3)
    a1, y = normal(2, seed=4), np.array([0.0, 1.0])
    z2 = [a1[0] * W2[j, 0] + a1[1] * W2[j, 1] + b2[j] for j in (0, 1)]
    a2 = [sigmoid(z) for z in z2]
    z3 = [W3[j, 0] * a2[0] + W3[j, 1] * a2[1] + b3[j] for j in (0, 1)]
    a3 = [sigmoid(z) for z in z3]

    names = {"F2": Dense(2), "A2": Sigmoid(), "F3": Dense(2), "A3": Sigmoid()}
    params = {"F2": {"W": W2, "b": b2}, "F3": {"W": W3, "b": b3}, "A2": {}, "A3": {}}
    output, backward = Sequential(names).forward(params, a1[:, None])
    assert_allclose(output[:, 0], a3)

    parts = []
    for o in (0, 1):
        error = np.zeros((2, 1))
        error[o] = a3[o] - y[o]
        _, grads = backward(error)
        common = (a3[o] - y[o]) * sigmoid(z3[o]) * (1 - sigmoid(z3[o]))
        hidden = [common * W3[o, j] * sigmoid(z2[j]) * (1 - sigmoid(z2[j])) for j in (0, 1)]
        assert_allclose(grads["F3"]["W"][o], [common * a2[0], common * a2[1]])
        assert grads["F3"]["b"][o] == pytest.approx(common)
        assert not grads["F3"]["W"][1 - o].any()
        assert_allclose(grads["F2"]["W"], [[hidden[j] * a1[k] for k in (0, 1)] for j in (0, 1)])
        assert_allclose(grads["F2"]["b"], hidden)
        parts.append(pack(grads))
    value, d_output = MeanSquaredError()(output, np.array([1]))
    assert value == pytest.approx(sum((a3[o] - y[o]) ** 2 / 2 for o in (0, 1)))
    assert_allclose(pack(backward(d_output)[1]), parts[0] + parts[1])


def test_1_5_errors_go_back_through_the_transposed_weights():
    """e_h = W^T e_o: the form in proportion to the weights, without its denominator."""
    W, e_o = np.array([[2.0, 3.0], [4.0, -1.0]]), np.array([0.8, 0.5])
    e_h, _ = Dense(2, bias=False).forward({"W": W}, np.ones((2, 1)))[1](e_o[:, None])
    for k in (0, 1):
        proportional = sum(W[j, k] / (W[0, k] + W[1, k]) * e_o[j] for j in (0, 1))
        assert e_h[k, 0] == pytest.approx(proportional * (W[0, k] + W[1, k]))
        assert e_h[k, 0] == pytest.approx(W[0, k] * e_o[0] + W[1, k] * e_o[1])


def test_1_6_the_four_fundamental_equations():
    """Announced there; Nielsen's BP1 to BP4, one sample at a time, summed over the batch."""
    sizes, x, target = (3, 4, 2), normal(3, 5), normal(2, 5, seed=9)
    W = {k: normal(sizes[k], sizes[k - 1], seed=k) for k in (1, 2)}
    b = {k: normal(sizes[k], seed=k + 2) for k in (1, 2)}
    names = {"F1": Dense(4), "A1": Sigmoid(), "F2": Dense(2), "A2": Sigmoid()}
    params = {f"F{k}": {"W": W[k], "b": b[k]} for k in (1, 2)} | {"A1": {}, "A2": {}}
    output, backward = Sequential(names).forward(params, x)
    _, grads = backward(output - target)

    db, dw = {k: np.zeros_like(b[k]) for k in b}, {k: np.zeros_like(W[k]) for k in W}
    for n in range(5):
        a = {0: x[:, n]}
        for k in (1, 2):
            before, units = range(sizes[k - 1]), range(sizes[k])
            z = [sum(W[k][j, i] * a[k - 1][i] for i in before) + b[k][j] for j in units]
            a[k] = np.array([sigmoid(v) for v in z])
        slope = {k: a[k] * (1 - a[k]) for k in (1, 2)}
        delta = {2: [(a[2][j] - target[j, n]) * slope[2][j] for j in range(2)]}  # BP1
        back = [sum(W[2][k, j] * delta[2][k] for k in range(2)) for j in range(4)]
        delta[1] = [back[j] * slope[1][j] for j in range(4)]  # BP2
        for k in (1, 2):
            for j in range(sizes[k]):
                db[k][j] += delta[k][j]  # BP3
                for i in range(sizes[k - 1]):
                    dw[k][j, i] += a[k - 1][i] * delta[k][j]  # BP4
    for k in (1, 2):
        assert_allclose(grads[f"F{k}"]["b"], db[k])
        assert_allclose(grads[f"F{k}"]["W"], dw[k])


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_1_7_dropout_drops_at_random_keeps_the_mean_and_is_off_when_predicting(rate):
    x = np.full((100, 400), 3.0)
    y, backward = Dropout(rate).forward({}, x, np.random.default_rng(0))
    kept = y != 0
    assert kept.mean() == pytest.approx(1 - rate, abs=0.01)
    assert np.ptp(kept.mean(1)) < 0.2  # every neuron takes its turn
    assert_allclose(y[kept], 3 / (1 - rate))
    assert y.mean() == pytest.approx(3, rel=0.05)
    assert_allclose(backward(x)[0], y)  # what was dropped passes nothing back
    predicted, _, dx, _ = run(Dropout(rate), {}, x)
    assert (predicted == x).all() and np.all(dx != 0)
    printed = Dropout(rate, inverted=False)  # the same, and all of it by 1 - rate
    assert_allclose(printed.forward({}, x, np.random.default_rng(0))[0], y * (1 - rate))
    assert_allclose(run(printed, {}, x)[0], x * (1 - rate))


@pytest.mark.parametrize(("rate", "after"), [(0.01, "slow"), (1.0, "there"), (1.8, "overshoots"), (2.2, "diverges")])
def test_1_8_a_learning_rate_can_be_too_small_or_too_large(rate, after):
    """One linear neuron w on the input 1 with the target 0: half the square of w, of curvature 1."""
    neuron, optimizer, theta = Dense(1, bias=False), SGD(), np.ones(1)
    state, path = optimizer.init(theta), [1.0]
    for _ in range(20):
        y, backward = neuron.forward({"W": theta[None]}, np.ones((1, 1)))
        optimizer.step(theta, pack(backward(y)[1]), state, rate)
        path.append(float(theta[0]))
    assert_allclose(path, (1 - rate) ** np.arange(21), atol=1e-12)
    seen = {
        "slow": 0.8 < path[-1] < 1,
        "there": path[1] == path[-1] == 0,
        "overshoots": path[1] < 0 < path[2] and abs(path[-1]) < 0.02,
        "diverges": abs(path[-1]) > 30,
    }
    assert [name for name, happened in seen.items() if happened] == [after]
