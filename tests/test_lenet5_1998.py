"""The preset lenet5_1998 against what the paper says of its training (LeCun et al. 1998, Appendix C)."""

import numpy as np
import pytest
from tests.conftest import Home, plan_of

from cnnlab.learners import Network
from cnnlab.nn import DiagonalLM, mean_curvature
from cnnlab.training import start

CAP = 0.0005 / 0.02  # eta / mu, which no rate can exceed


def first_rates(*words: str) -> np.ndarray:
    """Each weight's rate in the first pass, by its curvature on 500 patterns; missing connections left out."""
    plan = plan_of("experiment=lenet5_1998", "data=mnist5k", "data.train=500", "data.validation=0", *words)
    data = plan.data
    learner = plan.learner
    assert isinstance(learner, Network) and isinstance(learner.optimizer, DiagonalLM)
    state = start(learner, learner.network(data), data.shape, plan.config["seed"])
    x, labels = data.batch(data.train, slice(None)), data.train.labels
    h = mean_curvature(state.network, learner.loss, state.params, x, labels)
    return learner.lr / (learner.optimizer.mu + h[(h > 0) | (state.theta != 0)])


def test_the_first_rates_are_those_of_the_paper(inside: Home) -> None:
    """ "Between approximately 7e-5 and 0.016": of that order, and within a factor of 3 at its small end."""
    rates = first_rates()
    assert rates.size == 60_000
    assert 7e-5 / 3 < rates.min() < 7e-5 * 3
    assert 0.016 / 1.5 < rates.max() < 0.016 * 1.5


def test_weights_as_small_as_printed_have_next_to_no_curvature(inside: Home) -> None:
    rates = first_rates("init=lecun1998")
    assert np.median(rates) > 0.95 * CAP and rates.max() == pytest.approx(CAP, rel=0.01)
