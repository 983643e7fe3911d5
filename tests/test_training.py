"""Training: the same bits again, every measurement against its literal definition, divergence at its step."""

import platform
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from tests.conftest import untimed
from tests.recipes import Training

from cnnlab import measuring
from cnnlab.data import Dataset, Images, mnist5k
from cnnlab.models import DenseOutput, lenet5, mlp, nielsen_mlp
from cnnlab.nn import (
    GELU,
    SGD,
    Activation,
    Adam,
    Constant,
    Conv2D,
    Cosine,
    Dense,
    DiagonalLM,
    Dropout,
    LeakyReLU,
    MaxPool,
    MixedPool,
    OneCycle,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    StochasticPool,
    Subsample,
    Tanh,
    mean_curvature,
    pack,
)
from cnnlab.training import Diverged, TrainingState, train

MLP = mlp((20,))
DEFAULTS = {
    "network": MLP,
    "loss": SoftmaxCrossEntropy(),
    "optimizer": SGD(),
    "schedule": Constant(),
    "lr": 0.1,
    "epochs": 2,
    "batch_size": 32,
}


def recipe(**options: Any) -> Training:
    return Training(**DEFAULTS | options)


def small(**changes: Any) -> Sequential:
    """Convolution, squashing, pooling, output, where each can be another."""
    layers = {"C1": Conv2D(4, 5, stride=2), "A1": ReLU(), "S2": MaxPool(2)} | changes
    return Sequential(layers | {"OUT": Dense(10)})


def trained(recipe: Training, data: Dataset, seed: int = 0) -> TrainingState:
    state = recipe.start(data, seed)
    list(train(recipe, state, data))
    return state


def judged(recipe: Training, state: TrainingState, data: Dataset, images: Images) -> tuple[float, float]:
    """Loss and accuracy on images, which go through the network all at once."""
    outputs, _ = recipe.network.forward(state.params, data.batch(images, slice(None)))
    return recipe.loss(outputs, images.labels)[0], float(np.mean(outputs.argmax(0) == images.labels))


@dataclass(frozen=True, eq=False)
class Watched(Dataset):
    """Data that remember which training images were asked for by number."""

    asked: list[np.ndarray] = field(default_factory=list)

    def batch(self, images: Images, index: Any) -> np.ndarray:
        if images is self.train and isinstance(index, np.ndarray):
            self.asked.append(index)
        return super().batch(images, index)


@pytest.fixture
def watched(digits: Dataset) -> Callable[[], Watched]:
    fields = ("name", "train", "val", "test", "classes", "normalizer")
    return lambda: Watched(*(getattr(digits, name) for name in fields))


@pytest.mark.parametrize(
    "chosen",
    [
        recipe(),
        recipe(network=lenet5(ReLU(), StochasticPool(2), output=DenseOutput()), batch_size=50, epochs=1),
        recipe(network=small(D2=Dropout()), optimizer=Adam(), lr=0.01),
    ],
    ids=["mlp", "stochastic", "dropout"],
)
def test_the_seed_decides_every_bit(chosen: Training, digits: Dataset) -> None:
    one, same, other = (trained(chosen, digits, seed) for seed in (3, 3, 4))
    assert one.theta.tobytes() == same.theta.tobytes()
    assert [untimed(record) for record in one.history] == [untimed(record) for record in same.history]
    assert not np.allclose(one.theta, other.theta)
    assert one.history[-1]["train/loss"] != other.history[-1]["train/loss"]


def test_no_velocity_is_subnormal_and_no_weight_differs_for_it(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(digits, train=digits.train[:500])  # at this rate and these images, units stop to fire
    wild = recipe(network=mlp((20,), ReLU()), optimizer=SGD(momentum=0.8), lr=0.5, batch_size=1)
    flushed = trained(wild, few)
    monkeypatch.setattr("cnnlab.training.subnormals_flushed", nullcontext)
    kept = trained(wild, few)

    def subnormal(state: TrainingState) -> int:
        size = abs(state.optimizer["velocity"])
        return int(((size > 0) & (size < np.finfo(size.dtype).tiny)).sum())

    assert subnormal(kept) > 1000, "none to flush: this test shows nothing"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert subnormal(flushed) == 0
    assert flushed.theta.tobytes() == kept.theta.tobytes()


@pytest.mark.parametrize(
    "layers", [{"S2": StochasticPool(2)}, {"D2": Dropout()}, {"S2": StochasticPool(2), "D2": Dropout(0.9)}]
)
def test_arms_are_paired(layers: dict[str, Any], watched: Callable[[], Watched]) -> None:
    """However much a network draws, it sees the same images in the same order from the same weights."""
    plain, noisy = watched(), watched()
    trained(recipe(network=small()), plain)
    trained(recipe(network=small(**layers)), noisy)
    assert [index.tolist() for index in plain.asked] == [index.tolist() for index in noisy.asked]
    begun = [recipe(network=small(**changes)).start(plain, 5).params for changes in ({}, layers)]
    for name in ("C1", "OUT"):
        assert (begun[0][name]["W"] == begun[1][name]["W"]).all()


def test_every_image_once_an_epoch_in_a_new_order(watched: Callable[[], Watched]) -> None:
    data = watched()
    trained(recipe(batch_size=32, epochs=2), data)
    sizes = [len(index) for index in data.asked]
    assert sizes == 2 * [32, 32, 32, 32, 32, 32, 8]
    first, second = np.concatenate(data.asked[:7]), np.concatenate(data.asked[7:])
    assert sorted(first) == sorted(second) == list(range(200))
    assert (first != second).any()


@pytest.mark.parametrize("reshuffle", [True, False])
def test_an_epoch_of_a_size_goes_through_the_images_pass_by_pass(
    reshuffle: bool, watched: Callable[[], Watched]
) -> None:
    data = watched()
    state = trained(recipe(batch_size=32, images_per_epoch=450, reshuffle=reshuffle), data)
    assert [len(index) for index in data.asked] == 2 * [*[32] * 14, 2]
    shown = np.concatenate(data.asked)
    first, second, cut, third = np.split(shown, [200, 400, 450])[0:4]
    assert sorted(first) == sorted(second) == sorted(third[:200]) == list(range(200))
    assert len(set(cut)) == 50
    assert (first == second).all() == (not reshuffle)
    assert [record["epoch"] for record in state.history] == [1, 2]
    assert 0 < state.history[0]["train/accuracy"] <= 1


def test_an_epoch_of_as_many_images_as_there_are_is_a_pass(digits: Dataset) -> None:
    one, same = (trained(recipe(images_per_epoch=count), digits) for count in (None, 200))
    assert one.theta.tobytes() == same.theta.tobytes()
    assert [untimed(record) for record in one.history] == [untimed(record) for record in same.history]


@pytest.mark.parametrize("patience", [1, 2])
def test_a_training_with_patience_goes_back_to_its_best_epoch(patience: int, digits: Dataset) -> None:
    """The rate is so large that the validation error rises again and again."""
    full = recipe(network=small(), lr=0.3, epochs=9)
    errors = [record["val/error_percent"] for record in trained(full, digits).history]
    last = next(n for n in range(1, 10) if n == 9 or n - 1 - int(np.argmin(errors[:n])) >= patience)
    best = int(np.argmin(errors[:last])) + 1
    assert best < last < 9
    state, until = trained(replace(full, stop=patience), digits), trained(replace(full, epochs=best), digits)
    assert [record["val/error_percent"] for record in state.history] == errors[:last]
    assert state.best_epoch == best and state.theta.tobytes() == until.theta.tobytes()
    assert judged(full, state, digits, digits.val)[1] == 1 - errors[best - 1] / 100
    assert (state.views[best]["confusion"] == until.views[best]["confusion"]).all()


@pytest.mark.parametrize(("every", "epochs"), [(0, [5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5])])
def test_a_view_shows_the_network_after_an_epoch(every: int, epochs: list[int], digits: Dataset) -> None:
    chosen = recipe(network=small(), epochs=5, confusion_every=every)
    state = trained(chosen, digits)
    assert sorted(state.views) == epochs
    early = trained(replace(chosen, epochs=epochs[0]), digits)
    view, maps = state.views[epochs[0]], early.params["C1"]
    assert (view["kernels"] == maps["W"]).all() and (view["digit"] == digits.val.pixels[0]).all()
    outputs = chosen.network.outputs(early.params, digits.batch(digits.val, slice(None)))
    assert {name for name in view if "/" in name} == {"maps/C1", "maps/A1", "maps/S2"}
    assert view["maps/S2"] == pytest.approx(outputs["S2"][..., 0], rel=1e-5)
    table = np.zeros((10, 10), int)
    np.add.at(table, (digits.val.labels, outputs["OUT"].argmax(0)), 1)
    assert (view["confusion"] == table).all()


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (3, 3), (9, 9), (99, 14)])
def test_the_losses_of_the_first_updates_are_kept_and_change_nothing(asked: int, kept: int, digits: Dataset) -> None:
    plain, state = (trained(recipe(steps_recorded=count), digits) for count in (0, asked))
    assert state.theta.tobytes() == plain.theta.tobytes()
    assert len(state.losses) == kept and plain.losses == []
    if kept == 14:
        shares = np.array([*[32] * 6, 8]) / 200
        for epoch, record in enumerate(state.history):
            assert shares @ state.losses[7 * epoch : 7 * epoch + 7] == pytest.approx(record["train/loss"])


def test_the_order_of_1998_is_the_same_in_all_epochs(watched: Callable[[], Watched]) -> None:
    data = watched()
    trained(recipe(batch_size=100, epochs=3, reshuffle=False), data)
    first, *others = [np.concatenate(data.asked[i : i + 2]) for i in (0, 2, 4)]
    assert sorted(first) == list(range(200)) and (first != np.arange(200)).any()
    assert all((first == other).all() for other in others)


def test_the_optimizer_sees_the_curvature_as_often_as_it_asks(watched: Callable[[], Watched]) -> None:
    data, seen = watched(), []

    class Curious(DiagonalLM):
        def observe_curvature(self, curvature: np.ndarray, state: dict[str, np.ndarray]) -> None:
            seen.append(curvature)
            super().observe_curvature(curvature, state)

    chosen = recipe(batch_size=10, epochs=1, optimizer=Curious(samples=30, every=80), lr=1e-3)
    state = chosen.start(data, 0)
    (record,) = train(chosen, state, data)
    looks = [step for step, index in enumerate(data.asked) if len(index) == 30]
    assert looks == [0, 9, 18]  # before the steps that begin with images 0, 80 and 160
    x, labels = Dataset.batch(data, data.train, data.asked[0]), data.train.labels[data.asked[0]]
    begun = chosen.start(data, 0).params
    np.testing.assert_array_equal(seen[0], mean_curvature(MLP, chosen.loss, begun, x, labels))
    np.testing.assert_allclose(state.optimizer["h"], np.maximum(0, np.max(seen, axis=0)), rtol=1e-6)
    np.testing.assert_allclose(state.optimizer["rates"], 1e-3 / (0.02 + state.optimizer["h"]), rtol=1e-6)
    assert record["val/accuracy"] > 0.3


def test_the_curvature_is_of_other_patterns_each_time_or_always_of_the_first(watched: Callable[[], Watched]) -> None:
    for first in (False, True):
        data = watched()
        trained(recipe(batch_size=100, epochs=1, optimizer=DiagonalLM(samples=30, every=100, first=first)), data)
        one, other = (index for index in data.asked if len(index) == 30)
        assert (one == other).all() == (one == np.arange(30)).all() == first


def test_the_last_smaller_batch_counts_by_its_size(digits: Dataset) -> None:
    """With a rate of almost nothing the running means are those over all images, whatever the batches."""
    one = trained(recipe(lr=1e-12, epochs=1, batch_size=64), digits)
    loss, right = judged(recipe(), one, digits, digits.train)
    assert one.history[0]["train/loss"] == pytest.approx(loss, rel=1e-5)
    assert one.history[0]["train/accuracy"] == pytest.approx(right)


def test_progress_tells_how_far_it_is(digits: Dataset) -> None:
    told: list[tuple[float, ...]] = []
    chosen = recipe(batch_size=80)
    state = chosen.start(digits, 0)
    history = list(train(chosen, state, digits, lambda *now: told.append(now)))
    assert [now[0] for now in told] == [80, 160, 200, 280, 360, 400]
    assert [now[1:3] for now in told] == 2 * [(400, 80), (400, 80), (400, 40)]
    assert [told[2][3:], told[5][3:]] == [(r["train/loss"], r["train/accuracy"]) for r in history]


@pytest.mark.parametrize(
    ("network", "layers", "activations"),
    [
        (small(), {"C1", "OUT"}, {"A1"}),
        (lenet5(), {"C1", "S2", "C3", "S4", "C5", "F6"}, {"A1", "A2", "A3", "A4", "A5", "A6"}),
        (nielsen_mlp((8,)), {"F1", "OUT"}, {"A1", "OUT_f"}),
    ],
    ids=["small", "lenet5", "nielsen"],
)
@pytest.mark.parametrize(("validation", "split"), [(100, "val"), (0, "watch"), (0, "")])
def test_the_history_has_the_promised_keys(
    network: Sequential, layers: set[str], activations: set[str], validation: int, split: str, digits: Dataset
) -> None:
    data = replace(digits, val=digits.val[:validation], watch_test=split == "watch")
    began = perf_counter()
    state = trained(recipe(network=network, batch_size=100, lr=1e-6), data)
    assert 0 < sum(record["time/epoch_s"] for record in state.history) <= perf_counter() - began
    expected = {"epoch", "lr", "train/loss", "train/accuracy", "time/epoch_s", "time/images_per_s"}
    expected |= {f"{split}/{kind}" for kind in ("loss", "accuracy", "error_percent") if split}
    expected |= {f"{kind}/{name}" for kind in ("grad_norm", "update_ratio") for name in layers}
    expected |= {f"saturation/{name}" for name in activations}
    assert [set(record) for record in state.history] == 2 * [expected]
    assert [record["epoch"] for record in state.history] == [1, 2]
    assert all(np.isfinite(list(record.values())).all() for record in state.history)
    assert state.history[0]["time/images_per_s"] >= 200 / state.history[0]["time/epoch_s"]


@pytest.mark.parametrize(("size", "measured"), [(100, 2), (20, 10), (7, 29), (5, 20)])
def test_about_twenty_steps_of_an_epoch_are_measured_or_all(
    size: int, measured: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    of_update = measuring.of_update
    monkeypatch.setattr(measuring, "of_update", lambda *given: seen.append(given[0]) or of_update(*given))
    trained(recipe(network=MLP, batch_size=size, epochs=1, lr=1e-6), replace(digits, train=digits.train[:200]))
    assert len(seen) == measured


def test_test_images_are_watched_under_a_name_of_their_own(digits: Dataset) -> None:
    """The training is the same whether they are watched, others are held out, or nothing is looked at."""
    plain = replace(digits, val=digits.val[:0])
    watching = replace(plain, watch_test=True)
    states = [trained(recipe(), data) for data in (digits, plain, watching)]
    assert len({state.theta.tobytes() for state in states}) == 1
    last, (loss, right) = states[2].history[-1], judged(recipe(), states[2], digits, digits.test)
    assert last["watch/loss"] == pytest.approx(loss, rel=1e-5)
    assert (last["watch/accuracy"], last["watch/error_percent"]) == (right, pytest.approx(100 - 100 * right))


@dataclass(frozen=True)
class Squared(Activation):
    """`x |x|`, which has `forward` alone; its slope is 0 at 0 and steepest at both ends."""

    def forward(self, params: Any, x: np.ndarray, rng: Any = None) -> Any:
        return x * np.abs(x), lambda dy: (2 * np.abs(x) * dy, {})


@pytest.mark.parametrize("activation", [Tanh(1.7159, 2 / 3), Sigmoid(), ReLU(), LeakyReLU(0.05), GELU(), Squared()])
@pytest.mark.parametrize(
    ("optimizer", "direction"),
    [
        (SGD(), lambda g, w: g),
        (SGD(momentum=0.9), lambda g, w: g),
        (SGD(momentum=0.5, nesterov=True), lambda g, w: 1.5 * g),
        (SGD(weight_decay=0.1), lambda g, w: g + 0.1 * w),
        (SGD(clip_norm=0.01), lambda g, w: 0.01 * g / np.linalg.norm(g)),
        (Adam(), lambda g, w: g / (np.abs(g) + 1e-8)),
    ],
    ids=["sgd", "momentum", "nesterov", "decay", "clip", "adam"],
)
def test_measurements_are_what_they_say(
    activation: Any, optimizer: Any, direction: Callable[..., np.ndarray], digits: Dataset
) -> None:
    """An epoch of one step, done again by hand."""
    network = small(A1=activation, S2=MixedPool(2))
    chosen = recipe(network=network, optimizer=optimizer, epochs=1, batch_size=200)
    state = chosen.start(digits, 1)
    before = state.theta.copy()
    (record,) = train(chosen, state, digits)

    begun = chosen.start(digits, 1)
    x = digits.batch(digits.train, slice(None))
    outputs, backward = network.forward(begun.params, x)
    loss, d_outputs = chosen.loss(outputs, digits.train.labels)
    gradients = backward(d_outputs)[1]
    assert record["train/loss"] == pytest.approx(loss, rel=1e-5)
    step = 0.1 * direction(pack(gradients, begun.params), before)
    np.testing.assert_allclose(state.theta, before - step, atol=2e-4 if optimizer == Adam() else 1e-6)
    weights = {"C1": slice(0, 104), "OUT": slice(104, None)}
    for name, part in weights.items():
        norm = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients[name].values()))
        assert record[f"grad_norm/{name}"] == pytest.approx(norm, rel=1e-4)
        ratio = np.linalg.norm(step[part]) / np.linalg.norm(before[part])
        assert record[f"update_ratio/{name}"] == pytest.approx(ratio, rel=1e-3)
    pre = network.layers["C1"].forward(state.params["C1"], x[..., : measuring.PROBE])[0]
    flat = np.mean(slopes(activation, pre) < 0.1 * slopes(activation, np.linspace(-10, 10, 2001)).max())
    assert record["saturation/A1"] == pytest.approx(flat, abs=1e-4)
    value, right = judged(chosen, state, digits, digits.val)
    assert record["val/loss"] == pytest.approx(value, rel=1e-5)
    assert (record["val/accuracy"], record["val/error_percent"]) == (right, pytest.approx(100 - 100 * right))


def slopes(activation: Activation, x: np.ndarray) -> np.ndarray:
    """How steep a function is, up or down, by differences."""
    above, below = (activation.forward({}, x.astype(float) + step)[0] for step in (1e-6, -1e-6))
    return np.abs(above - below) / 2e-6


def test_measurements_are_means_over_steps_of_the_epoch(digits: Dataset) -> None:
    """40 steps, of which every second one is measured."""
    chosen = recipe(batch_size=5, epochs=1)
    state = chosen.start(digits, 0)
    theta, params = state.theta.copy(), chosen.start(digits, 0)
    order = np.random.default_rng(np.random.SeedSequence(0).spawn(3)[1]).permutation(200)
    norms = []
    for step in range(40):
        index = order[5 * step : 5 * step + 5]
        outputs, backward = MLP.forward(params.params, digits.batch(digits.train, index))
        gradients = backward(chosen.loss(outputs, digits.train.labels[index])[1])[1]
        norms.append(np.linalg.norm(pack({"F1": gradients["F1"]})))
        params.theta -= np.float32(0.1) * pack(gradients, params.params)
    (record,) = train(chosen, state, digits)
    assert record["grad_norm/F1"] == pytest.approx(np.mean(norms[::2]), rel=1e-4)
    np.testing.assert_allclose(state.theta, params.theta, atol=1e-5)
    assert not np.allclose(state.theta, theta, atol=1e-3)


@pytest.mark.parametrize("schedule", [Constant(), Cosine(0.1), OneCycle()])
def test_the_schedule_runs_over_the_whole_training(schedule: Any, digits: Dataset) -> None:
    state = trained(recipe(schedule=schedule, epochs=3, batch_size=50, lr=0.2), digits)
    expected = [0.2 * schedule((4 * epoch - 1) / 12) for epoch in (1, 2, 3)]
    assert [record["lr"] for record in state.history] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [MaxPool(2), Subsample(2)])
def test_a_small_network_learns_real_digits(pooling: Any, data_folder: Any) -> None:
    data = mnist5k(train=1500, validation=300, folder=data_folder)
    chosen = recipe(network=small(S2=pooling), optimizer=SGD(momentum=0.9), lr=0.02, epochs=4)
    state = trained(chosen, data)
    losses = [record["train/loss"] for record in state.history]
    assert losses == sorted(losses, reverse=True)
    assert state.history[-1]["val/accuracy"] > 0.8
    assert judged(chosen, state, data, data.test)[1] > 0.8


@pytest.mark.parametrize("rate", [1, 10, 1e20])
def test_divergence_is_noticed_at_its_step(rate: float, digits: Dataset) -> None:
    chosen = recipe(network=mlp((5, 5), LeakyReLU(0.3)), lr=rate, epochs=4, batch_size=40)
    state = chosen.start(digits, 0)
    with np.errstate(all="ignore"):
        expected = first_bad_step(chosen, chosen.start(digits, 0), digits)
    with pytest.raises(Diverged) as caught:
        list(train(chosen, state, digits))
    assert caught.value.step == expected
    assert str(caught.value) == f"NaN or infinity at step {expected}"
    assert len(state.history) == (expected - 1) // 5


def first_bad_step(chosen: Training, state: TrainingState, data: Dataset) -> int:
    """The step of plain gradient descent whose loss, or at an epoch's end whose weights, are not finite."""
    for step in range(20):
        if step % 5 == 0:
            order = state.order.permutation(200)
        index = order[step % 5 * 40 :][:40]
        outputs, backward = chosen.network.forward(state.params, data.batch(data.train, index))
        value, d_outputs = chosen.loss(outputs, data.train.labels[index])
        state.theta -= chosen.lr * pack(backward(d_outputs)[1], state.params)
        if not np.isfinite(value) or (step % 5 == 4 and not np.isfinite(state.theta).all()):
            return step + 1
    raise AssertionError("it did not diverge")


def test_weights_that_overflow_in_the_last_step_are_noticed(digits: Dataset) -> None:
    chosen = recipe(lr=1e39, epochs=1, batch_size=200)
    with pytest.raises(Diverged, match=r"NaN or infinity at step 1$"):
        trained(chosen, digits)
