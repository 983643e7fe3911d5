"""Every network learns twenty digits by heart: a wrong derivative, sign or shape would keep it from that."""

import numpy as np
import pytest
from tests.conftest import plan_of
from tests.test_options import CHOICES, CLASSIFIERS

from cnnlab.learners import Network
from cnnlab.nn import Adam, Workspace
from cnnlab.training import start

NETWORKS = [model for model in CHOICES["model"] if model not in CLASSIFIERS]
BATCH, STEPS, RATE = 20, 300, 0.003
ZERO = 0.01  # nats: a probability of 99% for each right digit
RUBBISH = np.log1p(np.exp(-3))  # what Eq. 9's rubbish class (j = 3) costs where the right digit's code is met: 0.0486


def lowest(*words: str) -> float:
    """The lowest loss of a batch that is trained on again and again, looked at as in prediction: without noise."""
    plan = plan_of("data.train=300", "data.validation=100", "data.test=20", "lr=0.01", *words)
    assert isinstance(plan.learner, Network)
    data, rule, loss = plan.data, Adam(), plan.learner.loss
    state = start(plan.learner, plan.learner.network(data), data.shape, 0)
    workspace, kept = Workspace(state.network, state.params, data.shape), rule.init(state.theta)
    x, labels = data.batch(data.train, np.arange(BATCH)), data.train.labels[:BATCH]
    assert len(set(labels)) > 5
    found = [np.inf]
    for step in range(STEPS):
        if step % 10 == 0:
            found.append(workspace.loss_gradient(loss, x, labels, None)[0])
            if found[-1] < ZERO:
                break
        _, _, gradient = workspace.loss_gradient(loss, x, labels, state.noise)
        rule.step(state.theta, gradient, kept, RATE)
    return float(min(found))


@pytest.mark.parametrize("words", [*(f"model={model}" for model in NETWORKS), "pooling=stochastic"])
def test_a_network_with_todays_parts_learns_a_batch_by_heart(words: str) -> None:
    """Dropout and stochastic pooling keep the loss from zero while they draw, but not in prediction."""
    assert lowest(words) < ZERO


def test_codes_cost_what_the_rubbish_class_takes() -> None:
    """The loss of Eq. 9 has no zero: its least is where each image meets the code of its digit."""
    assert RUBBISH < lowest("loss=lenet5_map", "activation=lenet_tanh") < RUBBISH + ZERO
