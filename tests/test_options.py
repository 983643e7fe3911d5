"""Every choice of every config group composes, builds and trains a step; what cannot be is refused in one line."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import numpy as np
import pytest
from tests.conftest import CONF, SMALL, Home, is_one_line, plan_of

from cnnlab.checkpoint import Checkpoints
from cnnlab.data import Dataset, archives
from cnnlab.journal import Journal, Watcher
from cnnlab.learners import Network
from cnnlab.nn import SGD, Sequential
from cnnlab.spelling import PRESETS, Grammar
from cnnlab.tracking.log import RunLog
from cnnlab.training import start, train

GRAMMAR = Grammar((CONF,))
CLASSIFIERS = ("knn", "linear", "pairwise_linear", "pca_quadratic", "rbf_network", "svm_poly4")
CHOICES = {group: choices for group, choices in GRAMMAR.groups.items() if group not in PRESETS}
OFFLINE = [
    f"{group}={choice}"
    for group, choices in CHOICES.items()
    for choice in choices
    if choice not in ("mnist", "mnist_deslanted", "fashion_mnist", "idx", "boosted", *CLASSIFIERS)
]
SHAPES = {
    "train-images-idx3-ubyte": (90, 28, 28),
    "train-labels-idx1-ubyte": (90,),
    "t10k-images-idx3-ubyte": (40, 28, 28),
    "t10k-labels-idx1-ubyte": (40,),
}
# Every experiment's network has as many parameters as its paper, page or program prints.
PARAMETERS = {
    "lenet5_1998": 60_000,
    "lenet5_modern": 61_706,
    "mlp_1998": 238_510,
    "keras_convnet": 34_826,
    "lecun1989": 9_760,
    "lenet1": 2_578,
    "lenet4_like": 16_998,
    "nielsen_conv": 289_630,
    "nielsen_conv2": 85_670,
    "nielsen_dropout": 1_672_570,
    "nielsen_mlp": 23_860,
    "nielsen_relu": 85_670,
    "nielsen_shift": 85_670,
    "nielsen_softmax": 79_510,
    "zhou": 13_602,
    "zhou_first1000": 13_602,
}
TINY = ("data=mnist5k", "data.train=150", "data.validation=50", "data.test=20")

pytestmark = pytest.mark.usefixtures("inside")


class Built(NamedTuple):
    """What words make: how a network is trained, which, and on what."""

    recipe: Network
    network: Sequential
    data: Dataset


def built(*words: str) -> Built:
    made = plan_of(*words)
    data = made.data
    assert isinstance(made.learner, Network)
    return Built(made.learner, made.learner.network(data), data)


def step(*words: str) -> dict[str, float]:
    """The record of an epoch of one step."""
    made = built(*words, "epochs=1", "batch_size=1000")
    state = start(made.recipe, made.network, made.data.shape, 0)
    before = state.theta.copy()
    (record,) = train(made.recipe, state, made.data)
    assert (state.theta != before).any()
    return record


@pytest.mark.parametrize("word", OFFLINE)
def test_every_choice_trains_a_step(word: str) -> None:
    assert np.isfinite(list(step(word, *SMALL).values())).all()


RULE_1998 = ("optimizer=sdlm", "init=fan_in", "schedule=lenet5_1998", "batch_size=1", "reshuffle=false", "lr=0.0005")
FROM_1998 = [
    (f"activation={activation}", f"loss={loss}", f"pooling={pooling}", f"model.connections={connections}", *kept)
    for activation in ("lenet_tanh", "relu")
    for loss in ("lenet5_map", "cross_entropy")
    for pooling in ("subsample", "max")
    for connections in ("table1", "full")
    for kept in [("model.f6=lenet_tanh",) if (activation, loss) == ("relu", "lenet5_map") else ()]
]


@pytest.mark.parametrize("rule", [(), RULE_1998], ids=["today", "1998"])
@pytest.mark.parametrize("words", FROM_1998, ids=" ".join)
def test_every_network_between_1998_and_today_trains_by_either_rule(
    words: tuple[str, ...], rule: tuple[str, ...]
) -> None:
    made = built(*words, *rule, "epochs=1", "data.train=140", "data.validation=100")
    state = start(made.recipe, made.network, made.data.shape, 0)
    (record,) = train(made.recipe, state, made.data)
    assert np.isfinite(list(record.values())).all()


@pytest.mark.parametrize(
    "words",
    [
        ("padding.fill=0", "padding=full", "model.c5=88"),
        ("padding.fill=0", "model=lenet4"),
        ("padding.fill=0", "model=zhou"),
        ("padding.fill=0", "model=keras_convnet"),
        ("model.connections=random", "model.table_seed=${seed}", "seed=3"),
        ("model.c3=10",),
        ("model.dropout=0.5", "optimizer.weight_decay=0.0005"),
        ("pooling=stride", "pooling.size=3", "pooling.stride=2", "optimizer=sdlm"),
        *((f"model=deep model.depth={depth} activation={a}").split() for depth in (2, 6) for a in ("sigmoid", "tanh")),
        ("model=deep", "pooling=global_avg", "model.maps=3", "augment=shift"),
        ("data.subset=50", "data.subset_seed=${seed}", "images_per_epoch=300", "steps_recorded=1"),
    ],
    ids=" ".join,
)
def test_what_a_study_may_say_trains_a_step_and_is_another_run(words: Sequence[str]) -> None:
    assert np.isfinite(list(step(*words, *SMALL).values())).all()
    plain = [word for word in words if "." not in word and not word.startswith(("images", "steps"))]
    assert plan_of(*words, *SMALL).fingerprint != plan_of(*plain, *SMALL).fingerprint


def test_each_seed_may_have_a_subset_and_a_table_of_its_own() -> None:
    words = ("data.subset=50", "data.subset_seed=${seed}", "model.connections=random", "model.table_seed=${seed}")
    one, other = (plan_of(*words, f"seed={seed}", *SMALL) for seed in (1, 2))
    data, tables = (
        [plan.data for plan in (one, other)],
        [plan.config["model"]["table_seed"] for plan in (one, other)],
    )
    assert data[0].train.digest != data[1].train.digest and data[0].val.digest == data[1].val.digest
    assert tables == [1, 2]
    assert one.fingerprint == plan_of(*words, "data.subset_seed=1", "model.table_seed=1", "seed=1", *SMALL).fingerprint


def test_the_losses_of_the_first_updates_are_recorded(tmp_path: Path) -> None:
    made = plan_of("steps_recorded=3", *SMALL, "epochs=2", "batch_size=100")
    data, log = made.data, Mock(spec=RunLog)
    made.learner.learn(data, 0, Journal(log, Checkpoints(tmp_path / "state.npz", {}), Watcher()))
    ((name, losses),) = (call.args for call in log.curve.call_args_list)
    assert (name, len(losses)) == ("first_steps/loss", 3)
    assert losses[:2] == pytest.approx([2.3, 2.3], abs=1)


@pytest.mark.parametrize(
    "words",
    [
        *((f"model={name}", *["model.centres=8"] * (name == "rbf_network")) for name in CLASSIFIERS),
        (),
        ("learner=boosted", "augment=shift", "model=mlp"),
    ],
    ids=" ".join,
)
def test_every_learner_learns(words: tuple[str, ...], tmp_path: Path) -> None:
    """From words to figures, for networks, boosted networks and classifiers alike; only the store is left out."""
    made = plan_of(*words, *SMALL, "epochs=1", "batch_size=1000")
    data, log = made.data, Mock(spec=RunLog)
    found = made.learner.learn(data, 0, Journal(log, Checkpoints(tmp_path / "state.npz", {}), Watcher()))
    assert {"test/error_percent", "test/accuracy", "time/total_s", "size/parameters", "size/macs"} <= found.keys()
    assert found["test/error_percent"] == pytest.approx(100 * (1 - found["test/accuracy"]))
    assert np.isfinite(list(found.values())).all()
    (answers,) = (call.kwargs for call in log.arrays.call_args_list if call.args == ("answers.npz",))
    assert 100 * np.mean(answers["answers"] != data.test.labels) == pytest.approx(found["test/error_percent"])


def test_the_classifiers_are_all_that_need_no_network() -> None:
    found = [model for model in CHOICES["model"] if not isinstance(plan_of(f"model={model}", *SMALL).learner, Network)]
    assert found == sorted(CLASSIFIERS)


@pytest.mark.parametrize("model", [model for model in CHOICES["model"] if model not in ("lenet5", *CLASSIFIERS)])
def test_the_codes_need_84_units_before_them(model: str) -> None:
    refused((f"model={model}", "loss=lenet5_map", *SMALL), f"model={model}", "loss=lenet5_map", "84")


@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_stochastic_pooling_needs_what_is_never_negative(activation: str) -> None:
    words = ("pooling=stochastic", f"activation={activation}", *SMALL)
    if activation in ("relu", "sigmoid", "softplus"):
        built(*words)
    else:
        refused(words, "never negative", "activation=relu or activation=sigmoid")


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (("pooling.size=99",), ("S2", "99x99", "28x28")),
        (("pooling.size=9", "padding=valid"), ("C3", "5x5", "2x2")),
        (("data=digits", "data.enlarge=1", "data.train=200", "padding=valid"), ("data=digits", "5x5")),
        (("model=lenet1", "data=digits", "data.enlarge=1"), ("model=lenet1", "data=digits")),
        (("model.connections=table2",), ("connections=table2", "table1", "random")),
        (("model.connections=table1", "model.c3=10"), ("c3=10", "16", "connections=table1")),
        (("model.table_seed=1",), ("table_seed=1", "connections=random")),
        (("model.c5=0",), ("model.c5=0", "from 1 up or null")),
        (("model.f6=relu",), ("model.f6=relu", "lenet_tanh or null")),
        (("model.dropout=1",), ("model.dropout=1", "not including, 1 or null")),
        (("padding.fill=background",), ("fill=background", "a number or null")),
        (("model=deep", "model.depth=0"), ("model.depth=0", "from 1 up")),
        (("data.subset=201",), ("data.subset=201", "from 1 to 200")),
        (("data.subset_seed=1",), ("data.subset_seed=1", "subset=")),
        (("images_per_epoch=0",), ("images_per_epoch=0", "from 1 up or null")),
        (("steps_recorded=1001",), ("steps_recorded=1001", "from 1 to 1000 or null")),
        (("learner=boosted", "augment=shift", "steps_recorded=5"), ("learner=boosted", "steps_recorded=5")),
        (("stop.patience=0",), ("stop.patience=0", "from 1 up or null")),
        (("stop.patience=2", "data.validation=0"), ("stop.patience=2", "no images are held out")),
        (("learner=boosted", "augment=shift", "stop.patience=2"), ("learner=boosted", "stop.patience=2")),
        (("model=keras_convnet", "model.dropout=1.0"), ("rate=1.0",)),
        (("pooling=mixed", "pooling.mix=1.5"), ("pooling.mix=1.5", "0", "1")),
        (("padding.mode=some",), ("padding=some", "same")),
        (("data.normalization=none",), ("data.normalization=none", "lecun")),
        (("data.train=9999",), ("data.train=9999", "4000")),
        (("data.test=9999",), ("data.test=9999", "1000")),
        (("data.size=0",), ("data.size=0", "1 to 99")),
        (("data.size=big",), ("data.size=big", "a whole number or null")),
        (("data.margin=-1",), ("data.margin=-1", "0 to 99")),
        (("data.enlarge=1000",), ("data.enlarge=1000", "1 to 99")),
        (("model=lenet4", "data.size=16"), ("model=lenet4", "C5", "5x5")),
        (("model=nielsen_cnn", "model.filters=[20,40,60]"), ("C3", "5x5", "4x4")),
        (("data.validation=300",), ("data.validation=300", "299")),
        (("augment=affine", "augment.scale=3"), ("augment.scale=3", "0 to 1")),
        (("optimizer=sdlm", "optimizer.mu=-1"), ("optimizer.mu=-1", "above 0")),
        (("optimizer=sdlm", "optimizer.every=0"), ("optimizer.every=0", "from 1 up")),
        (("loss=lenet5_map", "loss.criterion.j=0"), ("loss.criterion.j=0", "above 0")),
        (("loss=lenet5_map", "loss.output.factor=-1"), ("loss=lenet5_map", "factor=-1", "above 0")),
        (("learner=boosted",), ("learner=boosted", "another augment")),
        (("augment=shift", "augment.shift=0.5"), ("augment.shift=0.5", "a whole number")),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: tuple[str, ...], reasons: tuple[str, ...]) -> None:
    refused((*SMALL, *words) if "data=digits" not in words else words, *reasons)


def refused(words: tuple[str, ...], *reasons: str) -> None:
    with pytest.raises(ValueError) as caught:
        built(*words)
    message = str(caught.value)
    assert is_one_line(message) and not [reason for reason in reasons if reason not in message], message


@pytest.mark.parametrize("experiment", GRAMMAR.groups["experiment"])
def test_every_experiment_builds_its_network_and_trains_a_step(experiment: str) -> None:
    made = built(f"experiment={experiment}", *TINY)
    assert made.network.cost(made.data.shape).parameters == PARAMETERS[experiment]
    assert [len(split) for split in (made.data.train, made.data.val, made.data.test)] == [100, 50, 20]
    assert np.isfinite(list(step(f"experiment={experiment}", *TINY).values())).all()


@pytest.mark.parametrize(
    ("experiment", "side", "background", "drawn_on"), [("lecun1989", 16, -1, 15), ("lenet1", 28, -0.1, 16)]
)
def test_the_first_lenets_see_small_digits(experiment: str, side: int, background: float, drawn_on: int) -> None:
    data = built(f"experiment={experiment}", *TINY).data
    assert data.shape == (side, 1, side)
    assert data.normalizer.background == background
    drawn = data.train.pixels.any(0)
    assert drawn.any(0).sum() == drawn.any(1).sum() == drawn_on


def test_what_is_chosen_of_the_data_is_part_of_a_runs_identity() -> None:
    words = (), ("data.size=16",), ("data.margin=2",), ("data.train=1000",), ("data.test=999",)
    assert len({plan_of(*word).fingerprint for word in words}) == len(words)


def test_what_the_config_says_reaches_the_optimizer_and_the_recipe() -> None:
    words = ("optimizer=nesterov", "optimizer.weight_decay=0.01", "optimizer.clip_norm=2", "schedule=steps")
    made = built(*words, "schedule.at=[0.25]", "epochs=3", "batch_size=7", "lr=0.5", *SMALL)
    assert made.recipe.optimizer == SGD(weight_decay=0.01, clip_norm=2, momentum=0.9, nesterov=True)
    assert [made.recipe.schedule(progress) for progress in (0.2, 0.3)] == pytest.approx([1, 0.1])
    assert (made.recipe.lr, made.recipe.epochs, made.recipe.batch_size) == (0.5, 3, 7)
    assert (len(made.data.train), len(made.data.val), len(made.data.test)) == (200, 100, 1000)


@pytest.fixture
def idx(inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with made-up IDX files for mnist and fashion_mnist (of their own digests) and kmnist."""
    for number, name in enumerate(("mnist", "fashion_mnist", "kmnist")):
        for file, shape in SHAPES.items():
            path = tmp_path / "idx" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            top = 256 if len(shape) == 3 else 10
            header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
            path.write_bytes(
                header + np.random.default_rng([number, len(shape)]).integers(top, size=shape, dtype=np.uint8).tobytes()
            )
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "idx"))
    return tmp_path / "idx"


@pytest.fixture
def proved(idx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up files count as the published ones."""
    for name, archive in archives.ARCHIVES.items():
        digests = {file: f"md5:{hashlib.md5((idx / name / file).read_bytes()).hexdigest()}" for file in SHAPES}
        monkeypatch.setitem(archives.ARCHIVES, name, replace(archive, digests=digests))


@pytest.mark.usefixtures("proved")
def test_fashion_mnist_trains_a_step() -> None:
    assert step("data=fashion_mnist", "data.validation=20")["val/loss"] > 0
    assert len(built("data=fashion_mnist", "data.validation=0", "data.train=50").data.train) == 50


@pytest.mark.usefixtures("proved")
def test_deslanted_digits_train_a_step() -> None:
    words = ("experiment=mlp_1998", "data=mnist_deslanted", "data.validation=20", "optimizer=sgd", "lr=0.01")
    assert step(*words)["val/loss"] > 0
    made = built(*words)
    assert made.network.cost(made.data.shape).parameters == 123_310  # 400-300-10


def test_a_set_in_mnists_format_trains_a_step(idx: Path) -> None:
    words = ("data=idx", f"data.folder={idx / 'kmnist'}", "data.validation=20")
    assert step(*words)["val/loss"] > 0
    assert built(*words).data.name == "kmnist"
    refused((*words, "data.name=mnist"), "data.name=mnist: ", "choose another name")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_files_that_are_not_the_published_ones_are_one_line(name: str, idx: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"{name}/train-images-idx3-ubyte: cannot be verified as {name}'s: .*; run `"
    ) as caught:
        built(f"data={name}")
    assert is_one_line(str(caught.value))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_files_that_are_not_there_are_one_line(name: str, inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_DATA", str(inside.folder))
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*found none; run `") as caught:
        built(f"data={name}")
    assert is_one_line(str(caught.value))
