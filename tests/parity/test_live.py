"""cnnlab against PyTorch itself (`make parity`); where PyTorch is missing these tests fail."""

import numpy as np
import pytest
from parity.cases import CASES
from parity.compare import FLOAT64, allowed, deviations
from parity.recorded import PRECISIONS, sketches, some, split, version
from parity.training import PROMISED, TRAININGS

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def torch():
    import torch

    torch.set_num_threads(1)  # these arrays are too small to share
    return torch


def test_the_recorded_answers_are_of_this_version(torch, answers):
    assert version(torch) == str(answers["torch"]), "run tests/parity/record.py"


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype, torch):
    worst = deviations(CASES[name].ours(dtype), CASES[name].theirs(torch, dtype))
    assert max(worst.values()) < allowed(CASES[name], dtype), worst


@pytest.mark.parametrize("name", CASES)
def test_the_recorded_answers_are_pytorchs(name, torch, answers):
    theirs = sketches(CASES[name].theirs(torch, np.float64))
    worst = deviations(theirs, split(answers[name], theirs))
    assert max(worst.values()) < FLOAT64, worst


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", TRAININGS)
def test_losses_agree_at_each_of_1000_steps(name, dtype, torch, answers):
    theirs = TRAININGS[name].theirs(torch, dtype)
    np.testing.assert_allclose(TRAININGS[name].ours(dtype), theirs, rtol=PROMISED[dtype])
    np.testing.assert_allclose(some(theirs), answers[f"{name}-{dtype.__name__}"], rtol=PROMISED[dtype])
