"""Sequential: names, paired starts, no work on the image's gradient, errors that name the layer."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from nn.loops import normal, run
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import (
    Activation,
    Bound,
    Conv2D,
    Cost,
    Dense,
    Dropout,
    LeakyReLU,
    MaxPool,
    ReLU,
    Sequential,
    Sigmoid,
    StochasticPool,
    Tanh,
)

SHAPE = 7, 2, 6


def network(*without, **more):
    layers = {"C1": Conv2D(3, 2), "A1": Tanh(), "S2": MaxPool(2), "F3": Dense(4), **more}
    return Sequential({name: layer for name, layer in layers.items() if name not in without})


def start(net, seed=0):
    return net.init(SHAPE, np.random.default_rng(seed))[0]


def test_each_layer_draws_from_a_generator_of_its_own():
    """Of a 63-bit number of the network's generator, and of the layer's name: so a layer starts alike in every arm."""
    key = int(np.random.default_rng(5).integers(2**63))
    own = np.random.default_rng([key, crc32(b"F3")])
    alone, _ = Dense(4).init((3 * 1 * 2,), own)
    layers = {"C1": Conv2D(3, 2), "S2": MaxPool(2), "F3": Dense(4)}
    params, _ = Sequential(layers).init((4, 2, 6), np.random.default_rng(5))
    assert_array_equal(params["F3"]["W"], alone["W"])


def test_parameters_and_gradients_come_under_the_layers_names():
    params = start(network())
    _, _, _, grads = run(network(), params, normal(*SHAPE, 2))
    assert list(params) == list(grads) == ["C1", "A1", "S2", "F3"]
    assert params["A1"] == grads["A1"] == {} and set(params["C1"]) == set(grads["C1"]) == {"W", "b"}


@pytest.mark.parametrize("squash", [ReLU(), LeakyReLU(0.1), Sigmoid(), Tanh(1.7159, 2 / 3)])
def test_squashing_after_the_maximum_is_as_good_as_before(squash):
    """The network may trade their places; layer by layer nothing does."""
    net, x = network(A1=squash), normal(*SHAPE, 2)
    params = start(net)
    y, backward = net.forward(params, x)
    dx, grads = replace(net, input_gradient=True).forward(params, x)[1](y)
    by_layer, backwards = x, []
    for name, layer in net.layers.items():
        by_layer, back = layer.forward(params[name], by_layer)
        backwards.append((name, back))
    assert_allclose(y, by_layer, rtol=1e-12)
    assert_array_equal(net.outputs(params, x)["F3"], by_layer)
    dy = y
    for name, back in reversed(backwards):
        dy, expected = back(dy)
        for key, value in expected.items():
            assert_allclose(grads[name][key], value, rtol=1e-9, atol=1e-12)
    assert_allclose(dx, dy, rtol=1e-9, atol=1e-12)
    assert backward(y)[0] is None


@pytest.mark.parametrize(
    "other",
    [network("F3"), network("S2", "F3"), network(A1=ReLU()), network(A1=Dropout()), network(D4=Dropout())],
    ids=["short", "shorter", "relu", "dropout inside", "dropout after"],
)
def test_a_layer_starts_the_same_whatever_stands_around_it(other):
    assert_array_equal(start(other)["C1"]["W"], start(network())["C1"]["W"])


@pytest.mark.parametrize("before", [{"C0": Conv2D(2, 1)}, {"D0": Dropout()}, {}], ids=["conv", "dropout", "none"])
def test_later_layers_start_the_same_whatever_draws_before_them(before):
    params = start(Sequential({**before, **network().layers}))
    for name in ("C1", "F3"):
        assert_array_equal(params[name]["W"], start(network())[name]["W"])


def test_layers_and_seeds_start_differently():
    twins = Sequential({"C1": Conv2D(2, 3, padding="same"), "C2": Conv2D(2, 3, padding="same")})
    params = start(twins)
    assert (params["C1"]["W"] != params["C2"]["W"]).all()
    assert (start(twins, seed=1)["C1"]["W"] != params["C1"]["W"]).all()


def test_a_layer_draws_the_same_whatever_draws_before_it():
    """Arms with and without pooling at random drop the same units."""
    x = np.ones((5, 4))
    outputs = [
        Sequential({**before, "D": Dropout()}).forward({"D0": {}, "D": {}}, x, np.random.default_rng(0))[0]
        for before in ({}, {"D0": Dropout(0.0)})
    ]
    assert_array_equal(*outputs)
    two = Sequential({"D": Dropout(), "D0": Dropout()})
    drawn = two.forward({"D0": {}, "D": {}}, np.ones((50, 40)), np.random.default_rng(0))[0]
    assert 0.2 < np.mean(drawn != 0) < 0.3  # two draws of their own, not one mask twice


@pytest.mark.parametrize("first", [Conv2D(3, 2), Dense(3)], ids=["conv", "dense"])
def test_no_gradient_of_the_image_unless_asked(first):
    layers, x = {"first": first, "A": Tanh(), "F": Dense(2)}, normal(*SHAPE, 2)
    params = start(Sequential(layers))
    _, _, nothing, grads = run(Sequential(layers), params, x)
    _, _, dx, same = run(Sequential(layers, input_gradient=True), params, x)
    assert nothing is None and dx.shape == x.shape
    assert_array_equal(grads["first"]["W"], same["first"]["W"])


def test_the_chain_rule_by_hand():
    net, x = network(), normal(*SHAPE, 2)
    params = start(net)
    y, delta, _, grads = run(net, params, x)
    backwards, z = [], x
    for name, layer in net.layers.items():
        z, back = layer.forward(params[name], z)
        backwards.append((name, back))
    assert_array_equal(z, y)
    for name, back in reversed(backwards):
        delta, expected = back(delta)
        for key, gradient in expected.items():
            assert_allclose(grads[name][key], gradient)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"C1": Conv2D(3, 2), "C3": Conv2D(3, 9)}, "C3: a 9x9 window does not fit a 6x5 map"),
        ({"F1": Dense(3), "S2": MaxPool(2)}, "S2: needs maps"),
    ],
    ids=["window", "vector"],
)
def test_errors_name_the_layer(layers, words):
    for ask in (start, lambda net: net.out_shape(SHAPE), lambda net: net.cost(SHAPE)):
        with pytest.raises(ValueError, match=words):
            ask(Sequential(layers))


def test_shapes_on_the_way_and_costs_by_counting():
    net = network()
    assert net.shapes(SHAPE) == [SHAPE, (6, 3, 5), (6, 3, 5), (3, 3, 2), (4,)]
    conv, dense = Cost(3 * 8 + 3, 3 * 9 * 30, 3 * 8 * 30), Cost(4 * 18 + 4, 4 * 19, 4 * 18)
    assert net.cost(SHAPE) == Cost(*map(sum, zip(conv, dense, strict=True)))


def test_predicting_and_training_agree_where_nothing_is_random():
    net = network(S2=StochasticPool(2), A1=ReLU())
    params, x = start(net), np.zeros((*SHAPE, 2))
    assert_array_equal(net.forward(params, x)[0], net.forward(params, x, np.random.default_rng(0))[0])


class Sine(Activation):
    """Computes its gradient from its own output, as the layer contract allows, and says nothing of that."""

    def bind(self, params, x, dx, grads):
        y, dy = np.empty_like(x), np.empty_like(x)
        return Bound(y, dy, lambda rng: np.sin(x, out=y), lambda: np.multiply(dy, np.sqrt(1 - y * y), out=dx))


class Wide(Dense):
    """A dense layer that looks at its output again before it goes back."""

    def bind(self, params, x, dx, grads):
        inner = super().bind(params, x, dx, grads)

        def backward():
            np.multiply(inner.dy, inner.y, out=inner.dy)
            inner.backward()

        return inner._replace(backward=backward)


class Swish(Sigmoid):
    """Reads its input after its output is written, which cannot be in place."""

    def f(self, x, y):
        super().f(x, y)
        y *= x

    def derivative(self, y, d):
        d.fill(1)


class Doubled(Tanh):
    """Computes by a way of its own."""

    def forward(self, params, x, rng=None):
        return 2 * x, lambda dy: (2 * dy, {})


class Falling(Tanh):
    """A larger input gives a smaller output, which a maximum after it must see."""

    def f(self, x, y):
        np.negative(x, out=y)

    def derivative(self, y, d):
        d.fill(-1)


class MinPool(MaxPool):
    """The smallest value of each window."""

    def bind(self, params, x, dx, grads):
        inner = super().bind(params, turned := np.empty_like(x), dx, grads)

        def forward(rng):
            np.negative(x, out=turned)
            inner.forward(rng)
            np.negative(inner.y, out=inner.y)

        return inner._replace(forward=forward)


@pytest.mark.parametrize(("activation", "pool"), [(Falling(), MaxPool(2)), (Tanh(), MinPool(2)), (ReLU(), MaxPool(2))])
def test_an_activation_changes_places_with_a_maximum_alone_that_it_does_not_turn_round(activation, pool):
    net, x = Sequential({"A": activation, "P": pool}), normal(4, 3, 4, 5)
    params, _ = net.init(x.shape[:-1], np.random.default_rng(0))
    assert_allclose(net.forward(params, x)[0], pool.forward({}, activation.forward({}, x)[0])[0], rtol=1e-6)


@pytest.mark.parametrize("below", [Sine(), Wide(4), MaxPool((1, 1)), Tanh(), Dropout()])
@pytest.mark.parametrize("above", [Tanh(), ReLU(), Swish(), Doubled()])
def test_no_layer_writes_over_what_another_needs(below, above):
    """The values and gradients of two layers in a row are those of the two alone, one after the other."""
    if isinstance(below, MaxPool):
        layers, shape = {"C": Conv2D(2, 1), "B": below, "A": above, "F": Dense(3)}, (3, 1, 2)
    else:
        layers, shape = {"I": Dense(4), "B": below, "A": above, "F": Dense(3)}, (5,)
    net = Sequential(layers, input_gradient=True)
    params, x, dy = net.init(shape, np.random.default_rng(0))[0], normal(*shape, 3), normal(3, 3)
    y, backward = net.forward(params, x)
    found, grads = backward(dy)
    alone, backs = x, []
    for name, layer in layers.items():
        alone, back = layer.forward(params[name], alone)
        backs.append((name, back))
    assert_allclose(y, alone, rtol=1e-6)
    for name, back in reversed(backs):
        dy, expected = back(dy)
        for key, value in expected.items():
            assert_allclose(grads[name][key], value, rtol=1e-6)
    assert_allclose(found, dy, rtol=1e-6)
