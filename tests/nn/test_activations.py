"""Activations: forward alone is enough; slopes, saturation and the two newest ones against their definitions."""

from dataclasses import dataclass
from math import erf, exp, log, sqrt

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import (
    GELU,
    Activation,
    Dense,
    Identity,
    LeakyReLU,
    MaxPool,
    MeanSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    Softplus,
    Tanh,
    gradcheck,
    mean_curvature,
    saturation,
)


@dataclass(frozen=True)
class Swish(Activation):
    """What a newcomer writes: `x sigmoid(b x)` with forward alone."""

    b: float = 1.0

    def forward(self, params, x, rng=None):
        p = 1 / (1 + np.exp(-self.b * x))
        return x * p, lambda dy: (dy * (p + self.b * x * p * (1 - p)), {})


def test_forward_alone_makes_an_activation():
    x = normal(5, 4)
    slopes = Swish(2.0).forward({}, x)[1](np.ones_like(x))[0]
    assert gradcheck(Swish(2.0), (3, 2, 4)) < 1e-6
    assert_allclose(Swish(2.0).curvature({}, x)(np.full_like(x, 3.0))[0], 3 * slopes**2)
    assert Swish(2.0).steepest == pytest.approx(1.0998, abs=1e-3)
    network = Sequential({"F1": Dense(5), "A1": Swish(2.0), "F2": Dense(2)})
    params, _ = network.init((4,), np.random.default_rng(0))
    flat = np.abs(Swish(2.0).forward({}, (z := network.outputs(params, 9 * x[:4])["F1"]))[1](np.ones_like(z))[0])
    assert saturation(network, params, 9 * x[:4]) == {"A1": np.mean(flat < 0.1 * Swish(2.0).steepest)}
    assert 0 < saturation(network, params, 9 * x[:4])["A1"] < 1
    assert mean_curvature(network, MeanSquaredError(), params, x[:4], np.array([0, 1, 0, 1])).min() >= 0


def test_a_rectifier_of_many_values_is_that_of_few():
    """Each in its own way: rows of zeros and a comparison, one zero and a sign."""
    x = normal(3, 2, 50, 20)
    x[x < -1] = 0
    y, backward = ReLU().forward({}, x)
    assert_array_equal(y, np.where(x > 0, x, 0))
    assert_array_equal(backward(x)[0], y)
    for row, together in zip(x, y, strict=True):
        y_row, backward = ReLU().forward({}, row)
        assert_array_equal(y_row, together)
        assert_array_equal(backward(row)[0], together)


@pytest.mark.parametrize(
    ("activation", "steepest"),
    [
        *((Identity(), 1), (ReLU(), 1), (LeakyReLU(0.3), 1), (Sigmoid(), 0.25), (Tanh(), 1)),
        *((Tanh(1.7159, 2 / 3), 1.7159 * (2 / 3)), (Tanh(2.0, 3.0), 6)),
    ],
)
def test_the_steepest_slope_is_exact_where_it_is_at_the_origin(activation, steepest):
    assert activation.steepest == steepest


def test_the_steepest_slopes_of_the_newest():
    assert GELU().steepest == pytest.approx(1.1289, abs=1e-3)  # at the square root of 2
    assert Softplus().steepest == pytest.approx(1 / (1 + exp(-10)), rel=1e-9)


def saturated(activation, x):
    return saturation(Sequential({"A": activation}), {"A": {}}, np.array([x]))["A"]


def test_saturated_is_a_slope_under_a_tenth_of_the_steepest():
    logits = [log(y / (1 - y)) for y in (0.5, 0.9, 0.99, 0.001)]  # slopes 0.25, 0.09, 0.0099, 0.001 against 0.025
    assert saturated(Sigmoid(), logits) == 0.5
    assert saturated(Tanh(1.7159, 2 / 3), [0.0, 2.72, -2.73, 5.0]) == 0.5  # from 2.7277 on
    assert [saturated(LeakyReLU(slope), [-1.0, 2.0, -3.0, 4.0]) for slope in (0.1, 0.0999)] == [0, 0.5]
    assert saturated(GELU(), [-1.4, -0.3, 0.0, 0.4]) == 0  # -0.126 falls, but is no flat slope


def test_saturation_is_measured_layer_by_layer():
    network = Sequential({"F1": Dense(3), "A1": Sigmoid(), "A2": ReLU(), "F2": Dense(2)})
    params, _ = network.init((2,), np.random.default_rng(0))
    params["F1"]["W"][:], params["F1"]["b"][:] = 0, [0, 5, -5]
    assert saturation(network, params, np.ones((2, 4))) == {"A1": 2 / 3, "A2": 0}


def test_gelu_is_near_its_exact_form():
    x = np.linspace(-6, 6, 1201)[None]
    exact = [z * (1 + erf(z / sqrt(2))) / 2 for z in x[0]]
    apart = np.abs(GELU().forward({}, x)[0] - exact).max()
    assert 4e-4 < apart < 5e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_newest_survive_any_input(dtype):
    x = np.array([[-1e4, -90, 0, 90, 1e4]], dtype)
    for layer, zero, half in ((GELU(), 0, 0.5), (Softplus(), log(2), 0.5)):
        y, backward = layer.forward({}, x)
        assert_allclose(y, [[0, 0, zero, 90, 1e4]], rtol=1e-6, atol=1e-30)
        assert_allclose(backward(np.ones_like(x))[0], [[0, 0, half, 1, 1]], atol=1e-30)


def test_which_functions_increase_and_which_are_never_negative():
    kinds = [kind for kind in Activation.__subclasses__() if kind.__module__.startswith("cnnlab")]
    assert {kind for kind in kinds if not kind.increasing} == {GELU}
    assert {kind for kind in kinds if kind.nonnegative} == {Sigmoid, ReLU, Softplus}
    x = np.linspace(-8, 8, 1601)
    for kind in kinds:
        y = kind().forward({}, x)[0]
        assert kind.increasing == (np.diff(y) >= 0).all() and kind.nonnegative == (y >= 0).all()


def test_softplus_may_trade_places_with_a_maximum_and_gelu_may_not():
    x = normal(4, 2, 4, 3)
    for activation in (Softplus(), GELU()):
        network = Sequential({"A": activation, "S": MaxPool(2)})
        expected = MaxPool(2).forward({}, activation.forward({}, x)[0])[0]
        assert_array_equal(network.forward({"A": {}, "S": {}}, x)[0], expected)
        assert [name for name, _ in network._steps] == (["S", "A"] if activation.increasing else ["A", "S"])
