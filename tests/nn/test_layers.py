"""Known behaviour of single layers that the documents do not spell out."""

import numpy as np
import pytest
from nn.loops import TABLE_1, normal, run
from numpy.testing import assert_allclose

from cnnlab.nn import (
    AvgPool,
    Conv2D,
    MaximumAPosteriori,
    MaximumLikelihood,
    MaxPool,
    MeanSquaredError,
    StochasticPool,
    Subsample,
)

TABLE = [[0, 2], [1], [0, 1, 2]]
MISSING = [(0, 1), (1, 0), (1, 2)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("f", "c"), MISSING)
def test_a_missing_link_carries_nothing_either_way(f, c, flip):
    layer, x = Conv2D(3, (2, 3), connections=TABLE, flip=flip), normal(5, 3, 6, 2)
    params = {"W": normal(3, 2, 3, 3, seed=1), "b": normal(3, seed=2)}
    y, backward = layer.forward(params, x)
    params["W"][f, :, c] += 10
    again, _ = layer.forward(params, x)
    assert (again == y).all()
    x[:, c] += 10
    moved, _ = layer.forward(params, x)
    assert_allclose(moved[:, f], y[:, f])
    error = np.zeros_like(y)
    error[:, f] = 1
    dx, grads = backward(error)
    assert not grads["W"][f, :, c].any() and not dx[:, c].any()


def test_links_that_are_there_are_seen_and_missing_ones_start_at_zero():
    layer, x = Conv2D(3, (2, 3), connections=TABLE), normal(5, 3, 6, 2)
    params, _ = layer.init((5, 3, 6), np.random.default_rng(0))
    _, _, _, grads = run(layer, params, x)
    for f, c in np.ndindex(3, 3):
        there = (f, c) not in MISSING
        assert params["W"][f, :, c].all() == grads["W"][f, :, c].all() == there
    weights, positions = 6 * 2 * 3, 4 * 4  # six links
    assert layer.cost((5, 3, 6)) == (weights + 3, (weights + 3) * positions, weights * positions)


def test_costs_with_each_bias():
    weights, positions = 3 * 2 * 3 * 2, 4 * 4
    for bias, parameters, units in [("map", 3, 48), ("position", 48, 48), (None, 0, 0)]:
        cost = Conv2D(3, (2, 3), bias=bias).cost((5, 2, 6))
        assert cost == (weights + parameters, weights * positions + units, weights * positions)


@pytest.mark.parametrize(
    ("padding", "margins"),
    [
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 2))),
        ("full", ((1, 1), (3, 3))),
        (2, ((2, 2), (2, 2))),
    ],
)
def test_paddings_by_name_are_margins(padding, margins):
    x, params = normal(4, 1, 5, 2), {"W": normal(1, 2, 1, 4, seed=1)}
    named, numbered = (Conv2D(1, (2, 4), padding=p, bias=None).forward(params, x)[0] for p in (padding, margins))
    assert named.shape == (3 + sum(margins[0]), 1, 2 + sum(margins[1]), 2)
    assert (named == numbered).all()


def test_the_paper_counts():
    """LeNet-5's printed parameters and connections (LeCun et al. 1998, II-B)."""
    for layer, shape, printed in [
        (Conv2D(6, 5), (32, 1, 32), (156, 122_304)),
        (Subsample(2), (28, 6, 28), (12, 5_880)),
        (Conv2D(16, 5, connections=TABLE_1), (14, 6, 14), (1_516, 151_600)),
        (Subsample(2), (10, 16, 10), (32, 2_000)),
        (Conv2D(120, 5), (5, 16, 5), (48_120, 48_120)),
    ]:
        assert layer.cost(shape)[:2] == printed


WINDOW = np.array([0.1, 0.0, 0.4, 0.2, 0.3, 1.0]) * 7
DRAWS = 20_000


def test_stochastic_pooling_draws_by_the_activations_share():
    """chi-square below its 99.9% point for 4 degrees of freedom; a zero is never drawn."""
    x = np.repeat(WINDOW.reshape(2, 1, 3, 1), DRAWS, axis=3)
    y, backward = StochasticPool((2, 3)).forward({}, x, np.random.default_rng(0))
    counts = np.array([np.count_nonzero(y == value) for value in WINDOW])
    expected = DRAWS * WINDOW / WINDOW.sum()
    seen = WINDOW > 0
    assert counts.sum() == DRAWS and counts[1] == 0
    assert ((counts - expected)[seen] ** 2 / expected[seen]).sum() < 18.47
    dx, _ = backward(np.full(y.shape, 5.0))
    assert_allclose(dx, 5.0 * (x == y) * np.ones_like(x))  # to the drawn position alone


def test_stochastic_pooling_predicts_the_expectation():
    x = WINDOW.reshape(2, 1, 3, 1)
    y, _ = StochasticPool((2, 3)).forward({}, x)
    assert y[0, 0, 0, 0] == pytest.approx(sum(a * a for a in WINDOW) / sum(WINDOW))
    many = np.repeat(x, DRAWS, axis=3)
    drawn, _ = StochasticPool((2, 3)).forward({}, many, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(float(y[0, 0, 0, 0]), rel=0.01)


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)], ids=["predicting", "training"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stochastic_pooling_of_zeros_is_zero_and_passes_nothing_back(dtype, rng):
    y, backward = StochasticPool(2).forward({}, np.zeros((4, 1, 4, 2), dtype), rng)
    assert not y.any() and not backward(np.ones_like(y))[0].any()


@pytest.mark.parametrize("scale", [1e-3, 0.05])
def test_stochastic_pooling_draws_from_small_activations_too(scale):
    y, backward = StochasticPool(2).forward({}, np.full((2, 1, 2, 50), scale), np.random.default_rng(0))
    assert_allclose(y, scale)
    assert_allclose(backward(np.ones_like(y))[0].sum((0, 1, 2)), 1)


@pytest.mark.parametrize(("mean", "share"), [(False, 1), (True, 1 / 6)])
def test_subsample_is_one_coefficient_and_one_bias_to_a_map(mean, share):
    x, params = normal(5, 2, 6, 2), {"W": normal(2), "b": normal(2, seed=1)}
    y, delta, _, grads = run(Subsample((2, 3), mean=mean), params, x)
    dW, db = np.zeros(2), np.zeros(2)
    for h, c, w, n in np.ndindex(y.shape):
        s = share * sum(x[2 * h + i, c, 3 * w + j, n] for i in range(2) for j in range(3))
        assert y[h, c, w, n] == pytest.approx(params["W"][c] * s + params["b"][c])
        dW[c] += delta[h, c, w, n] * s
        db[c] += delta[h, c, w, n]
    assert_allclose(grads["W"], dW)
    assert_allclose(grads["b"], db)


def test_subsample_starts_where_it_is_told():
    params, shape = Subsample(2, coefficient=0.25, bias=-1.0).init((4, 3, 4), np.random.default_rng(0))
    assert shape == (2, 3, 2)
    assert params["W"].tolist() == [0.25] * 3 and params["b"].tolist() == [-1.0] * 3


def test_pad_value_surrounds_the_maps():
    layer, W = Conv2D(1, 3, padding=((1, 0), (0, 2)), pad_value=-0.5, bias=None), normal(1, 3, 2, 3)
    x = normal(4, 2, 5, 1)
    surrounded = np.full((5, 2, 7, 1), -0.5)
    surrounded[1:, :, :5] = x
    assert_allclose(layer.forward({"W": W}, x)[0], Conv2D(1, 3, bias=None).forward({"W": W}, surrounded)[0], atol=1e-15)


def test_targets_are_high_at_the_label_and_low_elsewhere():
    right = np.array([[1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    value, gradient = MeanSquaredError(-1.0, 1.0)(right, np.array([0, 1]))
    assert value == 0 and not gradient.any()
    value, gradient = MeanSquaredError(0.2, 0.7)(right, np.array([0, 1]))
    assert value == pytest.approx((2 * 0.3**2 + 4 * 1.2**2) / 4)
    assert_allclose(gradient, (right - np.array([[0.7, 0.2], [0.2, 0.7], [0.2, 0.2]])) / 2)


def test_lenet5s_criteria_against_loops():
    """1998, Eqs. 8 and 9: y_D, and y_D + log(exp(-j) + sum_i exp(-y_i)), on penalties y = -output."""
    penalties, labels, j = np.abs(normal(3, 4)) * 3, np.array([0, 2, 1, 1]), 0.7
    right = [penalties[label, n] for n, label in enumerate(labels)]
    rest = [np.log(np.exp(-j) + sum(np.exp(-penalties[i, n]) for i in range(3))) for n in range(4)]
    assert MaximumLikelihood()(-penalties, labels)[0] == pytest.approx(sum(right) / 4)
    assert MaximumAPosteriori(j)(-penalties, labels)[0] == pytest.approx((sum(right) + sum(rest)) / 4)


@pytest.mark.parametrize("rule", [MaxPool, AvgPool, Subsample])
def test_pixels_between_windows_get_no_gradient(rule):
    """Nor do those that the windows leave over, whatever was in memory before."""
    layer = rule(1, 2)
    params, _ = layer.init((4, 1, 5), np.random.default_rng(0))
    np.full((4, 1, 5, 2), np.nan)  # freed at once: what an empty array would be given
    dx, _ = layer.forward(params, np.ones((4, 1, 5, 2)))[1](np.ones((2, 1, 3, 2)))
    assert (dx[::2, :, ::2] != 0).all() and not dx[1::2].any() and not dx[:, :, 1::2].any()
