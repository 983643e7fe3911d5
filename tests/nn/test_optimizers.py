"""Optimisers against their formulas, schedules at their landmarks, and the packed vector."""

from math import cos, pi, sqrt

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnnlab.nn import (
    SGD,
    Adam,
    Constant,
    Cosine,
    OneCycle,
    Optimizer,
    Schedule,
    Stages,
    Steps,
    pack,
    segments,
    unpack,
)


def follow(optimizer, gradients, rate):
    """Theta after each step from (1, -2), and the final state."""
    theta = np.array([1.0, -2.0])
    state, path = optimizer.init(theta), []
    for gradient in gradients:
        optimizer.step(theta, gradient.copy(), state, rate)
        path.append(theta.copy())
    return np.array(path), state


GRADIENTS, RATE = normal(5, 2, seed=3), 0.1


def literal(rule):
    """The path of `rule(g, memory) -> step` for one number at a time."""
    columns = []
    for k, value in enumerate((1.0, -2.0)):
        memory, path = {}, []
        for g in GRADIENTS[:, k]:
            value -= rule(g, memory)
            path.append(value)
        columns.append(path)
    return np.array(columns).T


def momentum_step(g, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return RATE * memory["v"]


def nesterov_step(g, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return RATE * (g + 0.9 * memory["v"])


def adam_step(g, memory, beta1=0.8, beta2=0.95, epsilon=1e-3):
    t = memory["t"] = memory.get("t", 0) + 1
    m = memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * g
    v = memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g * g
    return RATE * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)


OPTIMIZERS = {
    "sgd": (SGD(), lambda g, memory: RATE * g),
    "momentum": (SGD(momentum=0.9), momentum_step),
    "nesterov": (SGD(momentum=0.9, nesterov=True), nesterov_step),
    "adam": (Adam(beta1=0.8, beta2=0.95, epsilon=1e-3), adam_step),
}


@pytest.mark.parametrize(("optimizer", "rule"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimisers_against_their_formulas(optimizer, rule):
    path, _ = follow(optimizer, GRADIENTS, RATE)
    assert_allclose(path, literal(rule), rtol=1e-12)


def test_adams_first_step_is_the_rate_whatever_the_gradients_size():
    for size in (1e-3, 1e3):
        path, _ = follow(Adam(), [size * np.array([1.0, -1.0])], RATE)
        assert_allclose(path[0], [1 - RATE, -2 + RATE], rtol=1e-4)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()], ids=str)
def test_optimisers_work_in_place_in_the_vectors_dtype(optimizer):
    theta = np.ones(3, np.float32)
    state = optimizer.init(theta)
    arrays = {name: id(array) for name, array in state.items()}
    for _ in range(3):
        optimizer.step(theta, np.ones(3, np.float32), state, 0.1)
    assert theta.dtype == np.float32 and (theta < 1).all()
    assert all(v.dtype == np.float32 for v in state.values() if v.shape == theta.shape)
    assert state.keys() == arrays.keys()


def test_what_all_optimisers_have_is_asked_for_by_name():
    assert SGD(0.5) == SGD(momentum=0.5)
    assert Adam(0.5) == Adam(beta1=0.5)


def test_weight_decay_adds_its_share_of_theta_to_the_gradient():
    path, _ = follow(SGD(weight_decay=0.5), [np.array([1.0, 0.0])], RATE)
    assert_allclose(path[0], [1 - RATE * (1 + 0.5 * 1), -2 - RATE * (0.5 * -2)])


@pytest.mark.parametrize(("gradient", "used"), [((30, 40), (3, 4)), ((0.3, 0.4), (0.3, 0.4)), ((0, 0),) * 2])
def test_clipping_scales_long_gradients_down_before_the_decay(gradient, used):
    path, _ = follow(SGD(clip_norm=5.0), [np.array(gradient, float)], RATE)
    assert_allclose(path[0], np.array([1.0, -2.0]) - RATE * np.array(used))
    decayed, _ = follow(SGD(clip_norm=5.0, weight_decay=0.5), [np.array(gradient, float)], RATE)
    assert_allclose(decayed[0], path[0] - RATE * 0.5 * np.array([1.0, -2.0]))


def test_an_optimiser_without_a_rule_says_so():
    with pytest.raises(NotImplementedError):
        Optimizer().step(np.ones(1), np.ones(1), {}, 0.1)


WARM = OneCycle(warmup=0.25, start=0.1, final=0.01)
LANDMARKS = [
    (Schedule(), {0: 1, 0.5: 1, 1: 1}),
    (Constant(), {0: 1, 0.5: 1, 1: 1}),
    (Steps((0.5, 0.75), 0.1), {0: 1, 0.49: 1, 0.5: 0.1, 0.74: 0.1, 0.75: 0.01, 1: 0.01}),
    (Steps((), 0.1), {0: 1, 1: 1}),
    (Stages(), {0: 1, 0.09: 1, 0.1: 0.4, 0.25: 0.2, 0.4: 0.1, 0.59: 0.1, 0.6: 0.02, 1: 0.02}),
    (Cosine(), {0: 1, 0.25: (1 + cos(pi / 4)) / 2, 0.5: 0.5, 1: 0}),
    (Cosine(final=0.2), {0: 1, 0.5: 0.6, 1: 0.2}),
    (WARM, {0: 0.1, 0.125: 0.55, 0.25: 1, 0.625: 0.505, 1: 0.01}),
]


@pytest.mark.parametrize(("schedule", "landmarks"), LANDMARKS, ids=[str(s) for s, _ in LANDMARKS])
def test_schedules_at_their_landmarks(schedule, landmarks):
    for progress, factor in landmarks.items():
        assert schedule(progress) == pytest.approx(factor, abs=1e-12)


def tree():
    return {"C1": {"W": normal(2, 3), "b": normal(2, seed=1)}, "A1": {}, "F2": {"W": normal(1, 4, seed=2)}}


def test_pack_lays_arrays_end_to_end_and_unpack_gives_views():
    params = tree()
    vector = pack(params)
    assert vector.tolist() == [*params["C1"]["W"].ravel(), *params["C1"]["b"], *params["F2"]["W"].ravel()]
    views = unpack(vector, params)
    assert list(views) == list(params) and views["A1"] == {}
    assert_array_equal(views["C1"]["W"], params["C1"]["W"])
    views["F2"]["W"][0, 3] = 7
    assert vector[-1] == 7
    vector[0] = 8
    assert views["C1"]["W"][0, 0] == 8 != params["C1"]["W"][0, 0]


def test_pack_can_follow_the_order_of_another_dict():
    params = tree()
    turned = {name: dict(reversed(params[name].items())) for name in reversed(params)}
    assert pack(turned).tolist() != pack(params).tolist()
    assert_array_equal(pack(turned, like=params), pack(params))
    assert pack({"A1": {}}).size == 0


def test_segments_tell_where_a_layer_lies():
    params = tree()
    vector, places = pack(params), segments(params)
    assert list(places) == ["C1", "F2"]
    for name, place in places.items():
        assert_array_equal(vector[place], pack(params[name]))
