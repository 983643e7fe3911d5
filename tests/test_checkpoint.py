"""Files of states and networks: whole or not at all, no pickle, and nothing lost on the way."""

import errno
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import untimed

from cnnlab import checkpoint, models
from cnnlab.checkpoint import load_network, network_bytes, restore_state, save_state
from cnnlab.data import Dataset, Distortion
from cnnlab.nn import (
    SGD,
    Adam,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    MaxPool,
    OneCycle,
    Optimizer,
    ReLU,
    Schedule,
    Sequential,
    SoftmaxCrossEntropy,
    Steps,
    StochasticPool,
    Subsample,
)
from cnnlab.training import Recipe, State, predict, start, train

NOISY = Sequential(
    {
        "C1": Conv2D(4, 5, stride=2),
        "A1": ReLU(),
        "S2": StochasticPool(2),
        "D2": Dropout(0.3),
        "OUT": Dense(10),
    }
)


def recipe(optimizer: Optimizer, schedule: Schedule, network: Sequential = NOISY) -> Recipe:
    return Recipe(network, SoftmaxCrossEntropy(), optimizer, schedule, 0.01, 5, 30)


ADAM = recipe(Adam(), OneCycle())
RECIPES = {
    "adam one_cycle": ADAM,
    "momentum steps": recipe(SGD(0.01, momentum=0.9), Steps()),
    "nesterov cosine": recipe(SGD(clip_norm=1, momentum=0.9, nesterov=True), Cosine()),
    "distorted": replace(ADAM, distortion=Distortion(translation=2, alpha=20)),
    "sgd without noise": recipe(SGD(), Cosine(), replace(NOISY, layers=NOISY.layers | {"S2": MaxPool(2)})),
}


@pytest.fixture
def saved(digits: Dataset, tmp_path: Path) -> tuple[Path, State]:
    """Two epochs' state, and its file."""
    state = begun(ADAM, digits, epochs=2)
    state.confusions["2"] = [[1, 2], [3, 4]]
    save_state(tmp_path / "state.npz", state)
    return tmp_path / "state.npz", state


def begun(recipe: Recipe, data: Dataset, epochs: int) -> State:
    state = start(recipe, data.shape, 7)
    list(itertools.islice(train(recipe, state, data), epochs))
    return state


def content(state: State) -> dict[str, Any]:
    """All that a state is, for comparison."""
    generators = [getattr(state, name).bit_generator.state for name in ("order", "noise", "distortion")]
    arrays = {name: array.tobytes() for name, array in {**state.optimizer, "theta": state.theta}.items()}
    history = [untimed(record) for record in state.history]
    return arrays | {"generators": generators, "history": history, "confusions": state.confusions}


@pytest.mark.parametrize("chosen", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_cut_training_ends_bit_equal(chosen: Recipe, epochs: int, digits: Dataset, tmp_path: Path) -> None:
    uncut = begun(chosen, digits, epochs=5)
    save_state(tmp_path / "state.npz", begun(chosen, digits, epochs))
    state = start(chosen, digits.shape, 99)  # whatever the seed, the file decides
    assert restore_state(tmp_path / "state.npz", state)
    assert len(state.history) == epochs
    list(train(chosen, state, digits))
    assert content(state) == content(uncut)
    assert all(np.shares_memory(array, state.theta) for array in state.params["OUT"].values())


def test_everything_comes_back(saved: tuple[Path, State], digits: Dataset) -> None:
    path, state = saved
    other = start(ADAM, digits.shape, 0)
    assert content(other) != content(state)
    assert restore_state(path, other)
    assert content(other) == content(state)
    assert other.history == state.history  # clocks too


def refuses(path: Path, data: Dataset, chosen: Recipe = ADAM) -> bool:
    """Whether a file is refused and leaves the state as it was."""
    state = begun(chosen, data, epochs=1)
    before = content(state)
    return not restore_state(path, state) and content(state) == before


def test_a_file_cut_off_anywhere_is_refused(saved: tuple[Path, State], digits: Dataset) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert refuses(path, digits), length


def test_a_file_with_a_flipped_byte_is_refused_or_the_same(saved: tuple[Path, State], digits: Dataset) -> None:
    path, state = saved
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        other = start(ADAM, digits.shape, 0)
        before = content(other)
        restored = restore_state(path, other)
        assert content(other) == (content(state) if restored else before), place


@pytest.mark.parametrize("garbage", [b"", b"\0" * 999, b"PK\x03\x04 or so", b'{"theta": 1}'])
def test_garbage_is_refused(garbage: bytes, digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    assert refuses(path, digits)  # nothing there
    path.write_bytes(garbage)
    assert refuses(path, digits)


def test_the_state_of_another_training_is_refused(saved: tuple[Path, State], digits: Dataset) -> None:
    path, _ = saved
    wider = replace(NOISY, layers=NOISY.layers | {"C1": Conv2D(5, 5, stride=2)})
    assert refuses(path, digits, replace(ADAM, network=wider))
    assert refuses(path, digits, replace(ADAM, optimizer=SGD(momentum=0.9)))


def test_a_network_is_not_a_state(digits: Dataset, tmp_path: Path) -> None:
    chosen = RECIPES["sgd without noise"]
    params = start(chosen, digits.shape, 1).params
    file = network_bytes(chosen.network, params, digits.shape, digits.normalizer)
    (tmp_path / "network.npz").write_bytes(file)
    assert refuses(tmp_path / "network.npz", digits, chosen)


def test_no_pickle_inside(saved: tuple[Path, State]) -> None:
    with np.load(saved[0], allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind for name in archive.files}
    assert kinds.pop("header") == "U"
    assert kinds == {"theta": "f", "optimizer.mean": "f", "optimizer.square": "f", "optimizer.steps": "i"}


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    failing: str, saved: tuple[Path, State], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved
    old, write = path.read_bytes(), Path.write_bytes

    def full(self: Path, content: Any) -> None:
        write(self, content[: len(content) // 2] if isinstance(content, bytes) else b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, full if failing == "write_bytes" else refuse)
        with pytest.raises(OSError, match="No space left"):
            save_state(path, begun(ADAM, digits, epochs=1))
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def refuse(self: Path, target: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


NETWORKS: dict[str, Callable[..., Sequential]] = {
    "lenet5": models.lenet5,
    "lenet5 modern": lambda: models.lenet5(ReLU(), MaxPool(2), output=models.DenseOutput(), connections="full"),
    "lenet5 stochastic": lambda: models.lenet5(ReLU(), StochasticPool(2), ((1, 2), (0, 3))),
    "lenet1": models.lenet1,
    "lenet4": models.lenet4,
    "lecun1989": models.lecun1989,
    "nielsen_cnn": lambda: models.nielsen_cnn((3, 4), (9, 8), dropout=0.5),
    "zhou": models.zhou,
    "keras_convnet": models.keras_convnet,
    "mlp": lambda: models.mlp((20, 15)),
    "nielsen_mlp": models.nielsen_mlp,
    "subsampled": lambda: models.zhou(pooling=Subsample((2, 3), mean=True)),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_network_goes_to_a_file_and_back(make: Callable[[], Sequential], digits: Dataset, tmp_path: Path) -> None:
    network = make()
    params, _ = network.init(digits.shape, np.random.default_rng(3))
    file = network_bytes(network, params, digits.shape, digits.normalizer)
    (tmp_path / "network.npz").write_bytes(file)
    again, theirs, shape, rule = load_network(tmp_path / "network.npz")
    assert (again, shape, rule) == (network, digits.shape, digits.normalizer)
    images = digits.test[:60]
    assert (predict(again, theirs, digits, images) == predict(network, params, digits, images)).all()
    assert {name: sorted(layer) for name, layer in theirs.items()} == {n: sorted(p) for n, p in params.items()}
    with np.load(tmp_path / "network.npz") as archive:  # a layer may move to another file of the engine
        assert "cnnlab.nn:" in str(archive["header"]) and "cnnlab.nn." not in str(archive["header"])


@pytest.mark.parametrize("kind", ["os:system", "pathlib:Path", "cnnlab.nn.layer:size"])
def test_a_file_cannot_name_anything_but_a_dataclass(kind: str, digits: Dataset, tmp_path: Path) -> None:
    network = {"type": kind, "fields": {}}
    header = {"network": network, "shape": [1]}
    (tmp_path / "x.npz").write_bytes(checkpoint._packed(header, theta=np.zeros(1, np.float32)))
    with pytest.raises(ValueError, match=f"^{kind} is not a layer$"):
        load_network(tmp_path / "x.npz")
