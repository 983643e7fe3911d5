"""Initialisers: bounds and deviations by fan-in, each filter by its own."""

from math import sqrt

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnlab.nn import (
    Conv2D,
    Dense,
    FanInUniform,
    Gaussian,
    Glorot,
    He,
    LeCun1998,
)

FAN_IN, FAN_OUT = 50, 150
UNIFORM = {
    LeCun1998(): 2.4 / FAN_IN,
    FanInUniform(): 1 / sqrt(FAN_IN),
    FanInUniform(2.4): 2.4 / sqrt(FAN_IN),
    Glorot(): sqrt(6 / (FAN_IN + FAN_OUT)),
    Glorot(gain=4.0): 4 * sqrt(6 / (FAN_IN + FAN_OUT)),
}
NORMAL = {
    He(): sqrt(2 / FAN_IN),
    Gaussian(): 1 / sqrt(FAN_IN),
    Gaussian(power=1.0): 1 / FAN_IN,
    Gaussian(std=0.5, power=0.0): 0.5,
}


def drawn(initializer):
    """The weights of Dense(150) on 50 inputs."""
    params, _ = Dense(FAN_OUT, initializer=initializer).init((FAN_IN,), np.random.default_rng(0))
    return params["W"]


@pytest.mark.parametrize(("initializer", "bound"), UNIFORM.items(), ids=map(str, UNIFORM))
def test_uniform_initialisers_fill_their_bounds(initializer, bound):
    W = drawn(initializer)
    assert W.dtype == np.float32
    assert 0.99 * bound < np.abs(W).max() <= bound * (1 + 1e-6)
    assert W.std() == pytest.approx(bound / sqrt(3), rel=0.03)
    assert abs(W.mean()) < 0.03 * bound


@pytest.mark.parametrize(("initializer", "std"), NORMAL.items(), ids=map(str, NORMAL))
def test_normal_initialisers_have_their_deviation(initializer, std):
    W = drawn(initializer)
    assert W.dtype == np.float32
    assert W.std() == pytest.approx(std, rel=0.03)
    assert abs(W.mean()) < 0.05 * std
    assert np.mean(np.abs(W) < std) == pytest.approx(0.683, abs=0.02)


@pytest.mark.parametrize("initializer", [LeCun1998(), FanInUniform(), Glorot(), He(), Gaussian()], ids=str)
def test_biases_start_at_zero(initializer):
    params, _ = Conv2D(3, 2, initializer=initializer).init((4, 1, 4), np.random.default_rng(0))
    assert not params["b"].any() and params["b"].dtype == np.float32


def test_biases_start_where_asked():
    params, _ = Dense(3, initializer=Gaussian(bias_std=0.1), bias_start=-1.0).init((4,), np.random.default_rng(0))
    plain, _ = Dense(3, initializer=Gaussian(bias_std=0.1)).init((4,), np.random.default_rng(0))
    np.testing.assert_array_equal(params["b"], plain["b"] - np.float32(1))
    assert params["b"].dtype == np.float32


def test_biases_drawn_where_asked():
    b = Gaussian(bias_std=2.0).biases((5000,), np.random.default_rng(0))
    assert b.std() == pytest.approx(2, rel=0.03) and b.dtype == np.float32


@pytest.mark.parametrize(
    ("initializer", "scale"),
    [
        (LeCun1998(), lambda fan: 2.4 / fan / sqrt(3)),
        (FanInUniform(), lambda fan: 1 / sqrt(3 * fan)),
        (He(), lambda fan: sqrt(2 / fan)),
        (Gaussian(power=1.0), lambda fan: 1 / fan),
        (Glorot(), lambda fan: sqrt(2 / (fan + 3 * 600))),
    ],
    ids=["lecun1998", "fan_in_uniform", "he", "gaussian", "glorot"],
)
def test_each_filter_goes_by_its_own_fan_in(initializer, scale):
    table = [[0], [0, 1, 2], [3, 4, 5, 6, 7, 8]]
    layer = Conv2D(3, (20, 30), connections=table, initializer=initializer)
    params, _ = layer.init((20, 9, 30), np.random.default_rng(0))
    for kernel, seen in zip(params["W"], table, strict=True):
        assert kernel[:, seen].std() == pytest.approx(scale(600 * len(seen)), rel=0.1)


def test_glorot_makes_up_for_the_activations_slope():
    """4 times as wide before a sigmoid, whose slope at the origin is 1/4; a gain that was given stays."""
    assert_allclose(drawn(Glorot().for_slope(0.25)), 4 * drawn(Glorot()), rtol=1e-6)
    assert Glorot(gain=2.0).for_slope(0.25) == Glorot(gain=2.0)
    for other in (LeCun1998(), FanInUniform(), He(), Gaussian()):
        assert other.for_slope(0.25) == other
