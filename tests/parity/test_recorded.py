"""cnnlab against PyTorch's recorded answers; nothing here needs PyTorch."""

import numpy as np
import pytest
from parity.cases import CASES
from parity.compare import allowed, deviations
from parity.recorded import PRECISIONS, sketch, sketches, some, split
from parity.training import PROMISED, TRAININGS

from cnnlab import nn

BASES = (nn.Layer, nn.Activation, nn.Pool, nn.Loss, nn.Optimizer)


def test_every_layer_loss_and_optimiser_has_a_case():
    compared = {type(part) for case in CASES.values() for part in vars(case).values()}
    kinds = [kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, BASES)]
    assert set(kinds) - set(BASES) <= compared


def test_every_case_is_recorded_and_nothing_else(answers):
    losses = [f"{name}-{dtype.__name__}" for name in TRAININGS for dtype in PRECISIONS]
    assert sorted(answers) == sorted(["torch", *CASES, *losses])
    assert str(answers["torch"]).startswith("2.13.")


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype, answers):
    ours = CASES[name].ours(dtype)
    assert {array.dtype for array in ours.values()} == {np.dtype(dtype)}
    ours = sketches(ours)
    worst = deviations(ours, split(answers[name], ours))
    assert max(worst.values()) < allowed(CASES[name], dtype), worst


@pytest.mark.parametrize("name", CASES)
def test_one_wrong_value_anywhere_is_seen(name, answers):
    ours = CASES[name].ours(np.float64)
    expected = split(answers[name], sketches(ours))
    for key, array in ours.items():
        wrong = array.copy()
        wrong.flat[wrong.size // 2] += 1e-3
        seen = deviations({key: sketch(wrong)}, {key: expected[key]})
        assert seen[key] > allowed(CASES[name], np.float64)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", TRAININGS)
def test_every_fiftieth_of_1000_steps(name, dtype, answers):
    losses = some(TRAININGS[name].ours(dtype))
    np.testing.assert_allclose(losses, answers[f"{name}-{dtype.__name__}"], rtol=PROMISED[dtype])
