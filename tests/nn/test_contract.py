"""What every layer promises, over all cases of `conftest`: shapes, dtypes, purity, randomness."""

from copy import deepcopy
from dataclasses import FrozenInstanceError, fields, replace
from functools import cached_property

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import Layer, Sequential
from cnnlab.nn.parameters import Array, Params, leaves


def paths(tree: Params, *above: str) -> dict[tuple[str, ...], Array]:
    """The leaves of a nested dict under their full names, in order."""
    result = {}
    for name, value in tree.items():
        result |= paths(value, *above, name) if isinstance(value, dict) else {(*above, name): value}
    return result


def start(case, dtype: type = np.float64) -> tuple[Params, Array]:
    """Fresh parameters, none of them zero, and an input."""
    params, _ = case.layer.init(case.shape, np.random.default_rng(0))
    for leaf in leaves(params):
        leaf += 0.1
    return params, case.x.astype(dtype)


def cast(params: Params, dtype: type) -> Params:
    return {k: cast(v, dtype) if isinstance(v, dict) else v.astype(dtype) for k, v in params.items()}


def test_shapes_agree(case):
    params, out_shape = case.layer.init(case.shape, np.random.default_rng(0))
    y, _ = case.layer.forward(params, case.x, case.rng())
    assert (*out_shape, 3) == (*case.layer.out_shape(case.shape), 3) == y.shape
    assert all(leaf.dtype == np.float32 for leaf in leaves(params))


def test_the_cost_counts_every_parameter_that_is_connected(case):
    params, _ = case.layer.init(case.shape, np.random.default_rng(0))
    counts = [np.count_nonzero(p) if name[-1] == "W" else p.size for name, p in paths(params).items()]
    assert case.layer.cost(case.shape).parameters == sum(counts)


def test_gradients_have_the_names_order_and_shapes_of_the_parameters(case):
    params, x = start(case)
    y, backward = case.layer.forward(params, x, case.rng())
    dx, grads = backward(y)
    assert dx.shape == x.shape
    assert grads.keys() == params.keys()
    assert list(paths(grads)) == list(paths(params))
    assert [g.shape for g in leaves(grads)] == [p.shape for p in leaves(params)]


@pytest.mark.parametrize("stored", [np.float32, np.float64], ids=["stored32", "stored64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["input32", "input64"])
def test_the_dtype_follows_the_input(case, dtype, stored):
    params, x = start(case, dtype)
    y, backward = case.layer.forward(cast(params, stored), x, case.rng())
    dx, grads = backward(np.ones_like(y))
    assert {y.dtype, dx.dtype, *(leaf.dtype for leaf in leaves(grads))} == {np.dtype(dtype)}


def test_float32_and_float64_agree(case):
    params, x = start(case, np.float32)
    wide, narrow = (case.layer.forward(params, x.astype(t), case.rng())[0] for t in (np.float64, np.float32))
    assert_allclose(narrow, wide, rtol=2e-4, atol=2e-5)


def test_nothing_that_was_given_is_changed(case):
    params, x = start(case)
    given = deepcopy((params, x))
    y, backward = case.layer.forward(params, x, case.rng())
    output, dy = y.copy(), normal(*y.shape)
    errors = dy.copy()
    backward(dy)
    assert_array_equal(x, given[1])
    assert_array_equal(dy, errors)
    assert_array_equal(y, output)
    for now, before in zip(leaves(params), leaves(given[0]), strict=True):
        assert_array_equal(now, before)


def test_backward_answers_the_same_twice_whatever_came_between(case):
    params, x = start(case)
    y, backward = case.layer.forward(params, x, case.rng())
    dy = normal(*y.shape)
    first = deepcopy(backward(dy))
    backward(-2 * dy)
    case.layer.forward(params, 0.5 * x, case.rng())
    again = backward(dy)
    assert_array_equal(first[0], again[0])
    for one, other in zip(leaves(first[1]), leaves(again[1]), strict=True):
        assert_array_equal(one, other)


def test_predicting_is_deterministic_and_training_repeats_with_its_generator(case):
    params, x = start(case)
    for make in (lambda: None, lambda: np.random.default_rng(3)):
        (first, _), (again, _) = (case.layer.forward(params, x, make()) for _ in range(2))
        assert_array_equal(first, again)


def test_only_stochastic_layers_care_about_the_generator(case):
    params, x = start(case)
    predicted, trained = (case.layer.forward(params, x, rng)[0] for rng in (None, np.random.default_rng(3)))
    inside = case.layer.layers.values() if isinstance(case.layer, Sequential) else [case.layer]
    assert (predicted == trained).all() != any(layer.stochastic for layer in inside)


def test_no_samples_have_no_outputs(case):
    """As where a learning rate is tuned, and test images are hidden."""
    params, x = start(case)
    some, none = (case.layer.forward(params, x[..., :count])[0] for count in (1, 0))
    assert none.shape == (*some.shape[:-1], 0)


def test_samples_do_not_see_each_other(case):
    params, x = start(case)
    together, backward = case.layer.forward(params, x)
    dy = normal(*together.shape)
    dx, _ = backward(dy)
    for n in range(3):
        alone, back = case.layer.forward(params, x[..., n : n + 1])
        assert_allclose(alone[..., 0], together[..., n], atol=1e-12)
        assert_allclose(back(dy[..., n : n + 1])[0][..., 0], dx[..., n], atol=1e-12)


def test_any_memory_order_will_do(case):
    params, x = start(case)
    y, backward = case.layer.forward(params, x)
    z, back = case.layer.forward(params, np.asfortranarray(x))
    dy = normal(*y.shape)
    assert_allclose(z, y, atol=1e-12)
    assert_allclose(back(np.asfortranarray(dy))[0], backward(dy)[0], atol=1e-12)


def test_a_layer_is_frozen_and_owns_no_state(case):
    layer, before = replace(case.layer), deepcopy(case.layer)  # one whose caches are empty
    names = [field.name for field in fields(layer)]
    params, x = start(case._replace(layer=layer))
    y, backward = layer.forward(params, x, case.rng())
    backward(y)
    cached = [name for kind in type(layer).mro() for name, it in vars(kind).items() if isinstance(it, cached_property)]
    assert layer == before and vars(layer).keys() <= {*names, *cached}
    assert isinstance(layer, Layer)
    for name in names or ["anything"]:
        with pytest.raises(FrozenInstanceError):
            setattr(layer, name, None)
