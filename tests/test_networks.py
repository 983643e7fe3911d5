"""Files of trained networks: nothing lost on the way, and nothing built but what a network is made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnlab import models
from cnnlab.data import Dataset, Normalizer
from cnnlab.measuring import outputs_for
from cnnlab.networks import known_of_images, load_network, network_bytes, trusted
from cnnlab.nn import Dense, MaxPool, ReLU, Sequential, StochasticPool, Subsample

NORMALIZER = Normalizer(1.0, 0.0)
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
    assert (outputs_for(again, theirs, digits, images) == outputs_for(network, params, digits, images)).all()
    assert {name: sorted(layer) for name, layer in theirs.items()} == {n: sorted(p) for n, p in params.items()}
    with np.load(tmp_path / "network.npz") as archive:  # a layer may move to another file of the engine
        assert "cnnlab.nn:" in str(archive["header"]) and "cnnlab.nn." not in str(archive["header"])


def write(path: Path, **changed: Any) -> Path:
    """The file of a small network with another header."""
    with np.load(network_file(path), allow_pickle=False) as archive:
        header, theta = json.loads(archive["header"].item()), archive["theta"]
    theta = changed.pop("theta", theta)
    np.savez(path, allow_pickle=False, header=np.array(json.dumps(header | changed)), theta=theta)
    return path


def network_file(path: Path) -> Path:
    network = Sequential({"OUT": Dense(2)})
    params, _ = network.init((3,), np.random.default_rng(0))
    path.write_bytes(network_bytes(network, params, (3,), NORMALIZER))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "os:system",
            "pathlib:Path",
            "subprocess:Popen",
            "builtins:eval",
            "this:s",
            "cnnlabel.x:Y",
            ":x",
            "cnnlab/..:x",
        ),
        *("cnnlab.nn.layer:size", "cnnlab.training:State", "cnnlab.data:Dataset", "cnnlab.nn:SGD", "cnnlab.nn:nothing"),
    ],
)
def test_a_file_cannot_name_anything_but_a_layer(kind: str, tmp_path: Path) -> None:
    file = write(tmp_path / "x.npz", network={"type": kind, "fields": {}})
    with pytest.raises(ValueError, match=f"^{kind} is no layer, normaliser or initialiser of cnnlab"):
        load_network(file)
    assert "this" not in sys.modules  # looked at before it was imported


def test_a_package_that_is_trusted_may_bring_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guest_layers.py").write_text(
        "from dataclasses import dataclass\nfrom cnnlab.nn import Sequential\n\n\n"
        "@dataclass(frozen=True)\nclass Net(Sequential):\n    pass\n\n\n@dataclass\nclass Other:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CNNLAB_TRUST", raising=False)
    kept = {"fields": {"layers": {"dict": [["OUT", {"type": "cnnlab.nn:Dense", "fields": {"units": 2}}]]}}}
    file = write(tmp_path / "x.npz", network=kept | {"type": "guest_layers:Net"})
    with pytest.raises(ValueError, match=r"CNNLAB_TRUST=guest_layers$"):
        load_network(file)
    assert "guest_layers" not in sys.modules
    monkeypatch.setenv("CNNLAB_TRUST", "others, guest_layers")
    assert type(load_network(file)[0]).__name__ == "Net"
    with pytest.raises(ValueError, match=r"^guest_layers:Other is no layer"):
        load_network(write(tmp_path / "x.npz", network=kept | {"type": "guest_layers:Other"}))


def test_parameters_of_another_network_are_refused(tmp_path: Path) -> None:
    for wrong in (np.zeros(7, np.float32), np.zeros(9, np.float32), np.zeros((2, 4), np.float32)):
        with pytest.raises(ValueError, match=rf"^x\.npz: {wrong.size} parameters where its layers have 8$"):
            load_network(write(tmp_path / "x.npz", theta=wrong))


def test_what_is_known_of_the_images_goes_along_and_files_of_old_know_nothing(tmp_path: Path) -> None:
    assert known_of_images(network_file(tmp_path / "x.npz")) == ((), False)
    assert known_of_images(write(tmp_path / "x.npz", classes=["a", "b"], dark_ground=True)) == (("a", "b"), True)
    for wrong in ({"classes": "ab"}, {"classes": [1, 2]}, {"dark_ground": "yes"}):
        with pytest.raises(ValueError, match=r"^x\.npz: what it says of its images makes no sense$"):
            known_of_images(write(tmp_path / "x.npz", **wrong))


def test_what_is_trusted_is_a_package_and_not_how_a_name_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNNLAB_TRUST", raising=False)
    assert trusted("cnnlab") and trusted("cnnlab.nn.layer")
    assert not any(trusted(name) for name in ("cnnlabel", "os", "", ".", "cnnlab.", "cnnlab..nn", "cnnlab.nn;os", "nn"))
    monkeypatch.setenv("CNNLAB_TRUST", "os")
    assert trusted("os.path") and not trusted("")
