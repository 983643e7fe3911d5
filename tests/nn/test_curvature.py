"""Second derivatives carried back layer by layer, against the Gauss-Newton matrix by finite differences."""

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose

from cnnlab.nn import (
    RBF,
    AvgPool,
    BinaryCrossEntropy,
    Conv2D,
    CrossEntropy,
    Dense,
    DiagonalLM,
    Dropout,
    GlobalAvgPool,
    MaximumAPosteriori,
    MaximumLikelihood,
    MaxPool,
    MeanSquaredError,
    MixedPool,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    StochasticPool,
    StridedConv,
    Subsample,
    Tanh,
    mean_curvature,
    pack,
    unpack,
)

LAYERS = {
    "dense": (Dense(4), (5,)),
    "dense on maps": (Dense(3), (2, 3, 2)),
    "table and padding": (Conv2D(4, (2, 3), 1, "same", -0.3, connections=[[0], [1, 2], [0, 2], [0, 1, 2]]), (4, 3, 5)),
    "strides, turned": (Conv2D(2, 2, stride=2, flip=True, bias="position"), (5, 2, 6)),
    "average": (AvgPool(2), (4, 2, 5)),
    "average, overlapping": (AvgPool(3, 2), (5, 2, 6)),
    "maximum": (MaxPool(2), (4, 2, 4)),
    "mixed": (MixedPool(2, mix=0.3), (4, 2, 4)),
    "stochastic": (StochasticPool(2), (4, 2, 4)),
    "subsample": (Subsample(2), (4, 2, 4)),
    "subsample by mean": (Subsample(2, mean=True), (4, 2, 4)),
    "strided convolution": (StridedConv(2, (1, 2)), (3, 2, 4)),
    "global average": (GlobalAvgPool(), (3, 2, 4)),
    "tanh": (Tanh(1.7159, 2 / 3), (4,)),
    "sigmoid": (Sigmoid(), (4,)),
    "softmax": (Softmax(), (5,)),
    "dropout": (Dropout(), (5,)),
    "dropout that scales down": (Dropout(0.3, inverted=False), (5,)),
}


def slopes(f, x, epsilon=1e-6):
    """Derivatives of f by each value of x, which is changed and restored: [*x, *f]."""
    found = []
    for place in np.ndindex(x.shape):
        before = x[place]
        x[place] = before + epsilon
        above = np.copy(f())  # dropout hands on what it is given
        x[place] = before - epsilon
        found.append((above - f()) / (2 * epsilon))
        x[place] = before
    return np.reshape(found, (*x.shape, *np.shape(found[0])))


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_layer_carries_the_diagonal_back(layer, shape):
    params, _ = layer.init(shape, np.random.default_rng(0))
    params = {name: value.astype(np.float64) for name, value in params.items()}
    x = np.abs(normal(*shape, 2))
    y, _ = layer.forward(params, x)
    h = np.random.default_rng(1).random(y.shape)
    h_x, h_params = layer.curvature(params, x)(h)
    for found, value in ((h_x, x), *((h_params[name], params[name]) for name in params)):
        jacobian = slopes(lambda: layer.forward(params, x)[0], value)
        expected = (jacobian**2 * h).sum(tuple(range(value.ndim, jacobian.ndim)))
        assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [
        MeanSquaredError(-1.0, 1.0),
        SoftmaxCrossEntropy(),
        CrossEntropy(),
        BinaryCrossEntropy(),
        BinaryCrossEntropy(logits=True),
    ],
)
def test_a_loss_gives_its_own_second_derivative(loss):
    output, labels = np.random.default_rng(0).uniform(0.1, 0.9, (4, 3)), np.array([1, 0, 3])
    second = slopes(lambda: loss(output, labels)[1], output)
    expected = [second[place + place] for place in np.ndindex(output.shape)]
    assert_allclose(loss.curvature(output, labels).ravel(), expected, rtol=1e-6)


def test_the_second_criterion_of_1998_has_the_curvature_of_the_first():
    output, labels = -np.random.default_rng(0).random((4, 3)), np.array([1, 0, 3])
    assert_allclose(MaximumAPosteriori(0.1).curvature(output, labels), MaximumLikelihood().curvature(output, labels))


@pytest.mark.parametrize("factor", [1, 0.5])
def test_the_codes_are_the_bottom_of_a_parabola(factor):
    """d2/dx2 |x - w|^2 = 2."""
    loss = MaximumLikelihood()
    x, layer, labels = normal(6, 3), RBF(normal(4, 6), factor), np.array([1, 0, 3])
    h, _ = layer.curvature({}, x)(loss.curvature(layer.forward({}, x)[0], labels))
    assert_allclose(h, 2 * factor / 3)

    def gradient():
        y, backward = layer.forward({}, x)
        return backward(loss(y, labels)[1])[0]

    second = slopes(gradient, x)
    assert_allclose([second[place + place] for place in np.ndindex(x.shape)], 2 * factor / 3, rtol=1e-6)


def test_for_a_linear_network_it_is_the_hessian():
    """sum x^2 for each weight: 7 of the fact sheet's tests; over any number of pieces."""
    network, labels = Sequential({"OUT": Dense(3)}), np.arange(150) % 3
    params, _ = network.init((4,), np.random.default_rng(0))
    x = normal(4, 150)
    found = mean_curvature(network, MeanSquaredError(), params, x, labels)
    squares = np.square(x).mean(1)
    assert_allclose(found, pack({"OUT": {"W": np.tile(squares, (3, 1)), "b": np.ones(3)}}), rtol=1e-6)


def test_through_lenet5s_layers_it_is_the_gauss_newton_diagonal():
    """Where each weight reaches the codes by way of one unit, nothing is dropped: J^T (2 I) J by finite differences."""
    layers = {"C": Conv2D(2, 2), "A": Tanh(1.7159, 2 / 3), "S": Subsample(2), "A2": Tanh(1.7159, 2 / 3), "F": Dense(1)}
    hidden = Sequential(layers | {"A3": Tanh(1.7159, 2 / 3)})
    whole = Sequential({**hidden.layers, "OUT": RBF(normal(3, 1))})
    params, _ = hidden.init((3, 1, 3), np.random.default_rng(0))
    params = {layer: {name: np.float64(value) for name, value in each.items()} for layer, each in params.items()}
    x, labels = normal(3, 1, 3, 4), np.array([0, 2, 1, 0])
    found = unpack(mean_curvature(whole, MaximumLikelihood(), params | {"OUT": {}}, x, labels), params)
    for name in ("S", "F"):
        for key, value in params[name].items():
            jacobian = slopes(lambda: hidden.forward(params, x)[0], value)
            expected = 2 * np.square(jacobian).sum(tuple(range(value.ndim, jacobian.ndim))) / 4
            assert_allclose(found[name][key], expected, rtol=1e-5, err_msg=f"{name}.{key}")


def test_through_a_network_it_is_a_product_of_squares():
    """Layer by layer, off-diagonal terms dropped, which is what the recursion of Appendix C says."""
    network = Sequential({"F1": Dense(3), "A1": Tanh(), "OUT": Dense(2)})
    params, _ = network.init((4,), np.random.default_rng(0))
    x, labels = normal(4, 5), np.array([0, 1, 1, 0, 1])
    found = unpack(mean_curvature(network, MeanSquaredError(), params, x, labels), params)
    hidden = np.tanh(params["F1"]["W"] @ x + params["F1"]["b"][:, None])
    h = np.square(1 - hidden**2) * np.square(params["OUT"]["W"]).sum(0)[:, None]
    assert_allclose(found["OUT"]["W"], np.tile(np.square(hidden).mean(1), (2, 1)), rtol=1e-5)
    assert_allclose(found["F1"]["W"], h @ np.square(x).T / 5, rtol=1e-5)
    assert_allclose(found["F1"]["b"], h.mean(1), rtol=1e-5)


def test_rates_are_capped_by_mu():
    theta, optimizer = np.zeros(3), DiagonalLM(mu=0.5)
    state = optimizer.init(theta)
    optimizer.step(theta, np.ones(3), state, 1.0)
    assert_allclose(theta, -2)
    optimizer.observe_curvature(np.array([0, 0.5, 1.5]), state)
    optimizer.step(theta, np.ones(3), state, 1.0)
    assert_allclose(theta, [-4, -3, -2.5])
    assert (
        optimizer.curvature_every == 5000 and len(optimizer.curvature_patterns(60_000, np.random.default_rng(0))) == 500
    )


@pytest.mark.parametrize(("largest", "expected"), [(True, [0.5, 0.5]), (False, [0.5, 2])])
def test_rates_only_fall_unless_the_latest_look_alone_counts(largest, expected):
    theta, optimizer = np.zeros(2), DiagonalLM(mu=0.5, largest=largest)
    state = optimizer.init(theta)
    for curvature, gain in ([0, 1.5], [2, 0.5]), ([1.5, 0], expected):
        optimizer.observe_curvature(np.array(curvature), state)
        for rate in (0.0, 1.0, 0.1, 0.1, 0.0):
            theta.fill(0)
            optimizer.step(theta, np.ones(2), state, rate)
            assert_allclose(theta, -rate * np.array(gain))


@pytest.mark.parametrize("wrong", [{"mu": 0.0}, {"samples": 0}, {"every": 0}])
def test_what_would_divide_by_zero_or_never_look_is_refused(wrong):
    with pytest.raises(ValueError, match="choose"):
        DiagonalLM(**wrong)


def test_a_layer_that_writes_its_own_is_heard_in_a_network():
    """Also where its parent's is bound to arrays: here one that lets no curvature through."""

    class Silent(Dense):
        def curvature(self, params, x):
            forward = self.forward(params, x)[1]
            return lambda h: forward(0 * h)

    labels = np.array([0, 1, 1, 0, 1])
    for hidden, silent in (Dense(3), False), (Silent(3), True):
        network = Sequential({"F1": hidden, "A1": Tanh(), "OUT": Dense(2)})
        params, _ = network.init((4,), np.random.default_rng(0))
        found = unpack(mean_curvature(network, MeanSquaredError(), params, normal(4, 5), labels), params)
        assert np.all(found["F1"]["W"] == 0) == silent
        assert np.all(found["OUT"]["W"] > 0)
