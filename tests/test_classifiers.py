"""The other classifiers of 1998: their counts, their scores on real digits, and records like those of networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.conftest import CONF, SMALL, Home, is_one_line, plan_of

from cnnlab import learners
from cnnlab.config import GROUPS, NUMBERS
from cnnlab.data import Dataset, mnist5k
from cnnlab.journal import Watcher
from cnnlab.learners import KNN, SVM, Linear, PairwiseLinear, PCAQuadratic, RBFNetwork
from cnnlab.learners.classifiers import Classifier, _rows, quadratic
from cnnlab.runs import make
from cnnlab.spelling import check_words
from cnnlab.statistics import accuracy
from cnnlab.tracking.log import RunLog

# A small case of each, and the error on 1,000 digits that 300 must beat (chance: 0.9).
SMALL_CASES = {
    "linear": (Linear(), 0.45),
    "pairwise_linear": (PairwiseLinear(), 0.25),
    "knn": (KNN(), 0.25),
    "pca_quadratic": (PCAQuadratic(20, ridge=1000), 0.25),
    "rbf_network": (RBFNetwork(8), 0.2),
    "svm_poly4": (SVM(cache_mb=50), 0.2),
}
CLASSIFIERS = {name: classic for name, (classic, _) in SMALL_CASES.items()}


@pytest.fixture(scope="module")
def few(data_folder: Path) -> Dataset:
    """300 digits that train and 1,000 that test, in the paper's input scaling."""
    return mnist5k("lecun", train=300, validation=0, folder=data_folder)


def fitted(classic: Classifier, data: Dataset, seed: int = 0) -> Any:
    return classic.fit(_rows(data, data.train), data.train.labels, seed)


def scores(classic: Classifier, data: Dataset, seed: int = 0) -> np.ndarray:
    return fitted(classic, data, seed).scores(_rows(data, data.test))


def test_every_classifier_has_a_case() -> None:
    kinds = {kind for kind in vars(learners).values() if isinstance(kind, type) and issubclass(kind, Classifier)}
    assert {type(classifier) for classifier in CLASSIFIERS.values()} == kinds


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_option_file_says_the_defaults(name: str) -> None:
    content = yaml.safe_load((CONF / f"model/{name}.yaml").read_text())
    kind = type(CLASSIFIERS[name])
    assert content.pop("_target_") == f"cnnlab.learners.{kind.__name__}"
    assert kind(**content) == kind()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_digits_are_told_apart(name: str, few: Dataset) -> None:
    classic, worst = SMALL_CASES[name]
    found = scores(classic, few)
    assert found.shape == (1000, 10) and np.isfinite(found).all()
    assert 1 - accuracy(few.test.labels, found.argmax(1)) < worst


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_seed_decides(name: str, few: Dataset) -> None:
    classic = CLASSIFIERS[name]
    again = scores(classic, few, seed=3)
    assert (scores(classic, few, seed=3) == again).all()
    assert (scores(classic, few, seed=4) != again).any() == isinstance(classic, RBFNetwork)


@pytest.mark.parametrize(
    ("classic", "parameters", "macs"),
    [
        (Linear(), 7_850, 7_840),  # III-C.1
        (PairwiseLinear(), 45 * 785, 45 * 784),
        (KNN(), 300 * 784, 300 * 784),
        (PCAQuadratic(), 40 * 784 + 10 * 821, 40 * 784 + 820 + 10 * 820),  # III-C.3: a linear classifier, 821 inputs
        (RBFNetwork(20), 200 * 784 + 10 * 201, 200 * 784 + 10 * 200),
    ],
)
def test_the_papers_counts(classic: Classifier, parameters: int, macs: int, few: Dataset) -> None:
    found = fitted(classic, few)
    assert (found.parameters, found.macs) == (parameters, macs)


def test_support_vectors_are_found_for_each_class_against_all_others(few: Dataset) -> None:
    labels, found = few.train.labels, fitted(SVM(cache_mb=50), few)
    assert (found.scores(_rows(few, few.train)) > 0).sum(1).tolist() == [1] * len(labels)  # they are apart
    assert found.parameters - found.macs == 10  # biases


def test_a_linear_unit_solves_its_normal_equations(few: Dataset) -> None:
    x, labels = _rows(few, few.train), few.train.labels
    targets = np.where(labels[:, None] == np.arange(10), 1.0, -1.0)
    left = (x - x.mean(0)).T @ (x - x.mean(0)) + 5 * np.eye(784)
    weights = np.linalg.solve(left, (x - x.mean(0)).T @ (targets - targets.mean(0)))
    expected = (_rows(few, few.test) - x.mean(0)) @ weights + targets.mean(0)
    assert scores(Linear(5.0), few) == pytest.approx(expected, abs=1e-8)


def test_the_nearest_image_answers(few: Dataset) -> None:
    own = fitted(KNN(1), few).scores(_rows(few, few.train)).argmax(1)
    assert (own == few.train.labels).all()


def test_products_of_pairs() -> None:
    assert (quadratic(np.array([[2.0, 3.0, 5.0]])) == [[4, 6, 10, 9, 15, 25]]).all()


def test_centres_are_as_many_to_each_class(few: Dataset) -> None:
    x, labels = _rows(few, few.train), few.train.labels
    centres = RBFNetwork(3)._centres(x, labels, 0)
    nearest = ((x[:, None] - centres) ** 2).sum(2).argmin(1) // 3
    assert centres.shape == (30, 784) and (nearest == labels).mean() > 0.7


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: KNN(0), "k=0"),
        (lambda: Linear(-1.0), "ridge=-1.0"),
        (lambda: SVM(cost=float("nan")), "cost=nan"),
        (lambda: RBFNetwork(width=0.0), "width=0.0"),
        (lambda: PCAQuadratic(-3), "components=-3"),
    ],
)
def test_options_that_cannot_be_are_one_line(make: Callable[[], Classifier], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}: choose a (number above 0|whole number from 1 up)$"):
        make()


@pytest.mark.parametrize(
    ("classic", "said"),
    [
        (KNN(301), "model.k=301: there are only 300 training images"),
        (PCAQuadratic(301), "model.components=301: choose a whole number from 1 to 300"),
        (RBFNetwork(31), "model.centres=31: a class has only 30 training images"),
    ],
)
def test_more_than_the_data_have_is_one_line(classic: Classifier, said: str, few: Dataset) -> None:
    with pytest.raises(ValueError, match=said):
        fitted(classic, few)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=kn",), "did you mean knn?"),
        (("model=linear", "model.k=3"), "model=linear has no option k"),
        (("model=linear,knn",), "put -m before them"),
        (("model=knn", "model.k=x"), "model.k=x: choose a whole number"),
        (("model=knn", "model.k=0"), "model.k=0: choose a whole number from 1 up"),
        (("model=knn", "learner=boosted"), "learner=boosted: is for networks, and model=knn is none"),
    ],
)
def test_wrong_words_get_one_line(words: tuple[str, ...], said: str, inside: Home) -> None:
    with pytest.raises(ValueError, match="model") as caught:
        check_words(words, [CONF])
        plan_of(*words)
    assert is_one_line(str(caught.value)) and said in str(caught.value)


def test_a_plan_has_the_words_of_a_network(inside: Home) -> None:
    made = plan_of("model=knn", "model.k=5", "seed=2")
    assert set(made.words) == {*GROUPS, *NUMBERS, "model.k"}
    assert {word for word, value in made.words.items() if value != "none"} == {"model", "data", "seed", "model.k"}
    assert made.label == "knn mnist5k model.k=5 seed=2" and made.learner == KNN(5) and made.lr_source == ""


def test_identity_hangs_on_what_can_change_the_result(inside: Home) -> None:
    words = ("model=knn", *SMALL)
    known = plan_of(*words)
    for same in ("study=other", "rerun=true", "epochs=3", "activation=tanh", "lr=3", "optimizer=adam"):
        assert plan_of(*words, same).fingerprint == known.fingerprint, same
    for other in ("seed=1", "data.train=200", "model.k=1", "threads=2"):
        assert plan_of(*words, other).fingerprint != known.fingerprint, other
    assert known.code != plan_of("model=mlp").code


def test_more_than_the_data_have_is_a_failed_run(inside: Home) -> None:
    outcome = make(plan_of("model=knn", "model.k=201", *SMALL), RunLog(), Watcher())
    assert outcome.status == "failed" and is_one_line(str(outcome))
    run = inside.run()
    assert run.info.status == "FAILED" and "only 200 training images" in run.data.tags["cnnlab.reason"]


WORDS = ("model=rbf_network", "model.centres=5", *SMALL)


def test_a_run_is_recorded_as_a_networks_is(inside: Home, digits: Dataset) -> None:
    outcomes = [make(plan_of(*WORDS), RunLog(), Watcher()) for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == ["finished", "skipped"]
    assert str(outcomes[0]).startswith("finished rbf_network mnist5k") and not inside.leftovers()
    run, curves = inside.run(), inside.curves(inside.run())
    assert run.info.status == "FINISHED" and run.info.run_id == outcomes[0].run_id
    assert run.data.params["model"] == "rbf_network" and set(run.data.params) >= {*GROUPS, *NUMBERS}
    once = {f"{split}/{kind}" for split in ("train", "val", "test") for kind in ("accuracy", "error_percent")}
    once |= {f"time/{kind}_s" for kind in ("fit", "predict", "total")} | {"size/parameters", "size/macs"}
    assert {key: sorted(curve) for key, curve in curves.items()} == {key: [0] for key in once}
    assert run.data.metrics["size/parameters"] == 50 * 784 + 10 * 51
    assert {
        "cnnlab.kind": "run",
        "blas.threads": "1",
        "cnnlab.data.digest": digits.digest,
    }.items() <= run.data.tags.items()
    files = inside.artifacts(run)
    kept = {"confusion/test.png", "confusion/test.json", "plots/mistakes.png", "config/config.yaml", "answers.npz"}
    assert set(files) >= kept | {"config/overrides.txt", "config/packages.txt", "config/git.diff"}
    counts = np.array(json.loads(files["confusion/test.json"].read_text())["rows are truth"])
    assert 100 * (1 - counts.trace() / counts.sum()) == pytest.approx(run.data.metrics["test/error_percent"])
    with np.load(files["answers.npz"], allow_pickle=False) as archive:
        answers, labels = archive["answers"], archive["labels"]
    assert (labels == digits.test.labels).all()
    fitted_again = fitted(plan_of(*WORDS).learner, digits)
    assert (answers == fitted_again.scores(_rows(digits, digits.test)).argmax(1)).all()


@pytest.mark.slow
def test_classifiers_and_networks_are_arms_of_one_sweep(home: Home) -> None:
    said = home.train("-m", "model=mlp,linear,knn", "epochs=1", *SMALL)
    assert (said.code, said.err) == (0, "")
    for done, model in enumerate(("mlp", "linear", "knn"), 1):
        assert f"{done} of 3 done" in said.out and f" {model} " in said.out
    page = (home.folder / "reports/runs/index.html").read_text()
    assert all(model in page for model in ("mlp", "linear", "knn"))
    assert [run.info.status for run in home.runs()] == ["FINISHED"] * 3 and not home.leftovers()


@pytest.mark.slow
@pytest.mark.parametrize("words", ["model=kn", "model=linear model.ridge=x", "model=knn model.k=0", "data=mnist"])
def test_a_wrong_word_makes_no_run(words: str, home: Home) -> None:
    said = replace(home, data=home.folder).train(*words.split())
    assert said.code == 1 and said.out == "" and is_one_line(said.err)
    assert not (home.folder / "mlartifacts").exists()


def test_the_fully_connected_networks_of_1998(inside: Home) -> None:
    made = plan_of("experiment=mlp_1998", "model.hidden=[500,150]", "data=mnist5k", "data.validation=0")
    assert made.words["model.hidden"] == "[500,150]"
    assert [made.words[word] for word in ("model", "loss", "optimizer")] == ["mlp", "mse_signed", "sdlm"]
