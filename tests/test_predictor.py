"""Trained networks put to use from Python: what images they take, and what they answer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Home, is_one_line, plan_of

from cnnlab import load, models
from cnnlab.data import Dataset, Images, Normalizer
from cnnlab.data.dataset import grounds
from cnnlab.journal import Watcher
from cnnlab.measuring import outputs_for
from cnnlab.networks import network_bytes
from cnnlab.nn import Dense, Layer, Sequential, Sigmoid, Softmax
from cnnlab.predictor import Predictor
from cnnlab.runs import make
from cnnlab.tracking.log import RunLog

WORDS = ("model=mlp", "model.hidden=[8]", "data.test=100", "data.train=300", "data.validation=0", "epochs=1")


def predictor(
    shape: tuple[int, int, int] = (4, 1, 3), levels: int = 255, last: object = None, seeds: int = 1
) -> Predictor:
    """Untrained networks of one layer, of five classes."""
    network = Sequential({"OUT": Dense(5)} | ({"OUT_f": last} if last else {}))
    trained = [(network, network.init(shape, np.random.default_rng(seed))[0]) for seed in range(seeds)]
    return Predictor(trained, shape, Normalizer(2.0, -1.0, levels), tuple("abcde"))


def pictures(*shape: int, levels: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, levels + 1, shape, dtype=np.uint8)


def test_images_come_in_several_shapes_and_types_and_mean_the_same() -> None:
    taken, images = predictor(), pictures(6, 4, 3)
    images[0] = 255
    expected = taken.predict_proba(images)
    alike = [
        images.reshape(6, 12),
        images[..., None],
        images[:, None],
        images.astype(int),
        images.astype(float),
        images / 255,
    ]
    for same in (*alike, (images / 255).astype(np.float32), images.tolist(), images.astype(np.uint16)):
        assert (taken.predict_proba(same) == expected).all()
    assert taken.predict_proba(images[2]) == pytest.approx(expected[2:3], rel=1e-5)  # BLAS may add up in another order
    colour = pictures(6, 4, 3, 3)
    seen = predictor((4, 3, 3)).predict_proba(colour)
    assert (predictor((4, 3, 3)).predict_proba(colour.reshape(6, -1)) == seen).all()
    assert (predictor((4, 3, 3)).predict_proba(colour.transpose(0, 3, 1, 2)) == seen).all()
    assert predictor((4, 3, 3)).predict_proba(colour[1]) == pytest.approx(seen[1:2], rel=1e-5)
    few = pictures(6, 4, 3, levels=16)
    few[0] = 16
    sixteen = predictor(levels=16)
    assert (sixteen.predict_proba(few) == sixteen.predict_proba(few / 16)).all()
    assert (sixteen.predict_proba(few) == sixteen.predict_proba(few.astype(float))).all()
    assert taken.predict(images[:0]).shape == (0,) and taken.predict_proba(images[:0]).shape == (0, 5)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((6, 3, 4)), r"images of shape \(6, 3, 4\): choose \(N, 4, 3\), \(4, 3\) or \(N, 12\), as this"),
        (np.zeros((6, 4, 3, 3)), r"images of shape \(6, 4, 3, 3\): choose"),
        (np.zeros(12), r"images of shape \(12,\): choose"),
        (0, r"images of shape \(\): choose"),
        (np.full((1, 4, 3), "x"), "images of type <U1: choose whole numbers from 0 to 255, or floats"),
        (np.zeros((1, 4, 3), complex), "images of type complex128"),
        (np.full((1, 4, 3), 256), "images with pixels from 256 to 256: choose whole numbers from 0 to 255, or floats"),
        (np.full((1, 4, 3), -0.5), "images with pixels from -0.5 to -0.5: choose"),
        (np.full((1, 4, 3), np.nan), "images with pixels from nan to nan: choose"),
    ],
)
def test_other_images_are_refused_in_one_line(images: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        predictor().predict(images)
    assert is_one_line(str(refused.value))


@pytest.mark.parametrize("last", [None, Softmax(), Sigmoid()], ids=["scores", "softmax", "sigmoid"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_probabilities_add_up_to_one_and_rank_as_the_outputs_do(last: Layer | None, seeds: int) -> None:
    taken, images = predictor(last=last, seeds=seeds), pictures(50, 4, 3)
    found, outputs = taken.predict_proba(images), taken.outputs(images).T / seeds
    assert found.shape == (50, 5) and found.dtype == np.float64 and found.min() > 0
    assert found.sum(1) == pytest.approx(1)
    assert (found.argmax(1) == taken.predict(images)).all() and taken.predict(images).dtype == np.int64
    scores = outputs if last else np.exp(outputs)
    assert found == pytest.approx(scores / scores.sum(1, keepdims=True), rel=1e-5)


def test_sigmoids_that_are_all_0_leave_every_class_as_likely() -> None:
    taken = predictor(last=Sigmoid())
    taken.networks[0][1]["OUT"]["b"][:] = -1e5
    assert taken.predict_proba(pictures(2, 4, 3)) == pytest.approx(np.full((2, 5), 0.2))


def test_several_networks_add_up() -> None:
    three, images = predictor(seeds=3), pictures(20, 4, 3)
    ones = [Predictor([each], three.shape, three.normalizer, three.classes) for each in three.networks]
    assert (three.outputs(images) == np.sum([one.outputs(images) for one in ones], axis=0)).all()


@pytest.mark.parametrize("levels", [255, 16])
def test_dark_strokes_on_a_bright_ground_are_refused_where_all_of_training_was_the_other_way_round(levels: int) -> None:
    any_ground = predictor((6, 1, 5), levels)
    dark_ground = replace(any_ground, dark_ground=True)
    drawn = pictures(4, 6, 5, levels=levels)
    drawn[:, [0, -1]] = drawn[:, :, [0, -1]] = 0
    drawn[1, 0, 0] = levels  # a stroke may touch the edge
    turned = levels - drawn
    mixed = np.stack([drawn[0], turned[1], drawn[2], turned[3]])
    assert (dark_ground.predict(drawn) == any_ground.predict(drawn)).all()
    replace(predictor((28, 1, 28), levels), dark_ground=True).predict(pictures(99, 28, 28, levels=levels))  # noise
    for images, bright in ((mixed, 2), (turned, 4), (turned / levels, 4), (turned.reshape(4, -1), 4), (turned[0], 1)):
        any_ground.predict(images)
        with pytest.raises(ValueError, match=rf"^{bright} of \d images have a bright ground") as refused:
            dark_ground.predict(images)
        assert is_one_line(str(refused.value)) and f"({levels} - pixels)" in str(refused.value)


def test_a_ground_is_dark_where_that_of_every_training_image_is(digits: Dataset) -> None:
    assert digits.dark_ground
    one_turned = np.concatenate([digits.train.pixels[:9], 255 - digits.train.pixels[9:10]])
    labels = digits.train.labels[:10]
    assert not replace(digits, train=Images(one_turned, labels)).dark_ground
    assert grounds(one_turned).tolist() == [0] * 9 + [255]
    assert grounds(np.repeat(one_turned[..., None], 3, axis=3)).tolist() == [0] * 9 + [255]  # in colour


def test_what_it_says_of_itself() -> None:
    assert repr(predictor()) == "<Predictor: 4x3 grey images, 5 classes>"
    assert repr(predictor((8, 3, 8), seeds=3)) == "<Predictor: 3 networks, 8x8 colour images, 5 classes>"


def test_a_network_is_loaded_from_a_file_or_a_folder(digits: Dataset, tmp_path: Path) -> None:
    network, names = models.mlp((8,)), tuple("ABCDEFGHIJ")
    params, _ = network.init(digits.shape, np.random.default_rng(3))
    files = [tmp_path / "artifacts" / name for name in ("network.npz", "network1.npz")]
    files[0].parent.mkdir()
    files[0].write_bytes(network_bytes(network, params, digits.shape, digits.normalizer, names))
    expected = outputs_for(network, params, digits, digits.test)
    for place in (files[0], str(files[0]), tmp_path, str(tmp_path), files[0].parent):
        found = load(place)
        assert (found.outputs(digits.test.pixels) == expected).all() and found.classes == names
    files[1].write_bytes(network_bytes(network, params, digits.shape, digits.normalizer))
    assert (load(tmp_path).outputs(digits.test.pixels) == 2 * expected).all()
    assert load(files[1]).classes == tuple("0123456789")  # as a file of old


def test_what_is_no_network_is_refused_in_one_line(inside: Home, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "answers.npz", answers=np.zeros(3))
    for name in ("text.npz", "answers.npz"):
        with pytest.raises(ValueError, match=rf"{name} is no file of a network: choose one from the folder"):
            load(tmp_path / name)
    for nothing in (tmp_path / "empty", str(tmp_path / "empty"), tmp_path / "gone", "gone.npz", "./gone"):
        with pytest.raises(ValueError, match=r"there is no network here: choose an npz file"):
            load(nothing)
    with pytest.raises(ValueError, match=r"^there is no finished run or study 'gone': choose a run") as refused:
        load("gone")
    assert is_one_line(str(refused.value))


@pytest.mark.slow
def test_the_network_of_a_run_answers_as_the_run_did(inside: Home, tmp_path: Path) -> None:
    for words in (WORDS, (*WORDS, "seed=1"), ("model=linear", *WORDS[2:5], "study=others")):
        assert make(plan_of(*words), RunLog(), Watcher()).status == "finished"
    run, _ = inside.runs()
    files = inside.artifacts(run)
    with np.load(files["answers.npz"]) as kept:
        answers = kept["answers"]
    pixels = plan_of(*WORDS).data.test.pixels
    shutil.copytree(files["model/MLmodel"].parent, tmp_path / "downloaded")
    for place in (run.info.run_id, run.info.run_id[:12], tmp_path / "downloaded"):
        assert (load(place).predict(pixels) == answers).all()
    assert (inside.model(run).predict(pixels) == answers).all()
    for asked in (load(run.info.run_id), inside.model(run)):
        with pytest.raises(ValueError, match="100 of 100 images have a bright ground, none of training had"):
            asked.predict(255 - pixels)
    with pytest.raises(ValueError, match=r"^runs has 2 finished runs: choose one by its id: \w+ \(.*\), \w+ \(.*\)$"):
        load("runs")
    with pytest.raises(ValueError, match=r"^model=linear is no network, and only networks are kept$"):
        load("others")
