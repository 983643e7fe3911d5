"""What the benchmark times in PyTorch and in JAX is what it times in cnnlab."""

from typing import Any

import numpy as np
import pytest
from parity.compare import MAPS, WEIGHTS, Draw, mapped, to_torch

import commands
from cases import ARMS, MOMENTUM, NETWORKS, Case, chosen
from cnnlab import measuring
from cnnlab.composing import sweep_of
from cnnlab.data import mnist5k
from cnnlab.nn import SGD, Cosine, Sequential, SoftmaxCrossEntropy, Workspace, pack, unpack
from ours import NETWORKS as OURS
from ours import SHAPE, work
from workers import Worker

pytestmark = pytest.mark.parity
BATCH = 3


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("torch")
    import peer

    return peer


def give(torch: Any, network: Sequential, params: dict[str, Any], twin: Any, shape: tuple[int, ...] = SHAPE) -> None:
    """Copy our weights into PyTorch's layers; a dense layer after maps reads them in another order."""
    shapes = dict(zip(network.layers, network.shapes(shape), strict=False))
    ours = {name: arrays for name, arrays in params.items() if arrays}
    theirs = [module for module in twin if list(module.parameters())]
    for (name, arrays), module in zip(ours.items(), theirs, strict=True):
        W = arrays["W"]
        if W.ndim == 2:
            W = W.reshape(len(W), *(shapes[name] if len(shapes[name]) == 3 else (-1, 1, 1)))
        turned = np.ascontiguousarray(W.transpose(WEIGHTS[4])).reshape(module.weight.shape)
        with torch.no_grad():
            module.weight.copy_(torch.tensor(turned))
            if "b" in arrays:
                module.bias.copy_(torch.tensor(arrays["b"]))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_and_its_twin_give_the_same_outputs(name, peer):
    network, twin, draw = OURS[name](background=0.0), peer.TWINS[name]().eval(), Draw(np.float32)
    params, x = draw.parameters(network, SHAPE), draw.normal(*SHAPE, BATCH)
    give(peer.torch, network, params, twin)
    theirs = twin(to_torch(peer.torch, x, MAPS)).detach().numpy().T
    np.testing.assert_allclose(network.forward(params, x)[0], theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_both_sides_step_with_as_many_parameters(name, peer, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    case = Case("step", name, BATCH)
    sides = [work(case), peer.eager(case)]
    assert sides[0].parameters == sides[1].parameters > 0
    assert [side.run() for side in sides] == [None, None]


def in_jax(network: Sequential, params: dict[str, Any]) -> dict[str, Any]:
    """Our parameters in JAX's order: rows, columns, channels, units; a dense layer's inputs are one axis."""
    turned: dict[str, Any] = {}
    for (name, arrays), shape in zip(params.items(), network.shapes(SHAPE), strict=False):
        if not arrays:
            continue
        W = arrays["W"] if arrays["W"].ndim == 4 or len(shape) == 1 else arrays["W"].reshape(-1, *shape)
        W = W.T if W.ndim == 2 else W.transpose(1, 3, 2, 0)
        turned[name] = dict(arrays) | {"W": W if arrays["W"].ndim == 4 else W.reshape(-1, W.shape[-1])}
    return turned


@pytest.mark.parametrize("name", NETWORKS)
def test_two_steps_in_jax_lead_to_the_same_parameters(name):
    """The second one has momentum. Nothing is dropped: both draw numbers of their own for that."""
    jax = pytest.importorskip("jax")
    import peer_jax

    network, draw, rate = OURS[name](background=0.0), Draw(np.float32), 0.1
    start, x, labels = draw.parameters(network, SHAPE), draw.normal(*SHAPE, BATCH), np.arange(BATCH)
    theirs = jax.tree.map(jax.numpy.array, in_jax(network, start))
    shapes = mapped(np.shape, in_jax(network, start))
    assert mapped(np.shape, peer_jax.start(name, jax.random.key(0))) == shapes
    step, state = peer_jax.stepping(peer_jax.TWINS[name][0], rate), (theirs, mapped(jax.numpy.zeros_like, theirs), None)
    theta, optimizer, loss = pack(start), SGD(momentum=MOMENTUM), SoftmaxCrossEntropy()
    params, velocity = unpack(theta, start), optimizer.init(theta)
    workspace = Workspace(network, params, SHAPE)
    for _ in range(2):
        value, _, gradient = workspace.loss_gradient(loss, x, labels, None)
        optimizer.step(theta, gradient, velocity, rate)
        state, theirs = step(state, x.transpose(3, 0, 2, 1), labels)
        np.testing.assert_allclose(theirs, value, rtol=1e-5)
    for layer, arrays in in_jax(network, params).items():
        for key, array in arrays.items():
            np.testing.assert_allclose(state[0][layer][key], array, atol=1e-5 * np.abs(array).max())


def test_jax_takes_a_turn_with_a_network_that_drops_values():
    pytest.importorskip("jax")
    case, worker = Case("step", "keras_convnet", BATCH), Worker("peer_jax:jitted")
    try:
        assert worker.ask("prepare", case).parameters == work(case).parameters
        assert worker.ask("turn").seconds > 0
    finally:
        worker.close()


@pytest.fixture(scope="module")
def plans():
    return sweep_of("first_look", ["seed=0"]).plans


def test_a_sweep_and_its_peer_train_the_same_arms(plans, peer):
    import peer_sweep

    learners = [plan.learner for plan in plans]
    ours = [
        ({word: plan.words[word] for word in peer_sweep.WORDS}, learner.lr)
        for plan, learner in zip(plans, learners, strict=True)
    ]
    assert ours == peer_sweep.arms() and len(ours) == ARMS
    assert {learner.epochs for learner in learners} == {peer_sweep.EPOCHS}
    assert {learner.batch_size for learner in learners} == {peer_sweep.BATCH}
    assert {learner.optimizer for learner in learners} == {SGD(momentum=peer_sweep.MOMENTUM)}
    assert {learner.schedule for learner in learners} == {Cosine()}
    assert measuring.STEPS == peer_sweep.MEASURED
    theirs = peer_sweep.digits()[0]
    data = plans[0].data
    for images, (pixels, labels) in zip((data.train, data.val, data.test), theirs, strict=True):
        np.testing.assert_array_equal(data.normalizer.table[images.pixels], pixels)
        np.testing.assert_array_equal(images.labels, labels)


def test_the_arms_of_a_sweep_and_of_its_peer_are_the_same_networks(plans, peer):
    import peer_sweep

    (sets, background), data = peer_sweep.digits(), mnist5k()
    few = [(pixels[:BATCH], labels[:BATCH]) for pixels, labels in sets]
    for (words, _), plan in zip(peer_sweep.arms(), plans, strict=True):
        network, twin = plan.learner.network(data), peer_sweep.lenet5(words)
        params = Draw(np.float32).parameters(network, data.shape)
        give(peer.torch, network, params, twin, data.shape)
        images, labels = peer_sweep.padded(few, background, peer_sweep.PADDINGS[words["padding"]])[0]
        outputs = network.forward(params, data.batch(data.train, slice(BATCH)))[0]
        theirs = twin(images).detach()
        wanted = theirs.numpy()
        np.testing.assert_allclose(outputs.T, wanted, atol=1e-4 * np.abs(wanted).max())
        value = peer_sweep.LOSSES[words["loss"]](theirs, labels).item()
        assert value == pytest.approx(plan.learner.loss(outputs, labels.numpy())[0], rel=1e-4)


@pytest.mark.slow
def test_a_sweep_and_its_peer_run_as_whole_commands():
    """Two arms of each, on few images: what is rehearsed before the whole is timed."""
    pytest.importorskip("torch")
    (case,) = chosen("sweep/*")
    for side in (commands.sweep(case), commands.peer_sweep(case)):
        assert 0.05 < side.rehearse() < 0.95
