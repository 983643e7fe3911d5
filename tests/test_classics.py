"""The other classifiers of 1998: their counts, their scores on real digits, and records like those of networks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cnnlab.classics import KNN, SVM, Classic, Linear, PairwiseLinear, PCAQuadratic, RBFNetwork
from cnnlab.classics.classifiers import quadratic
from cnnlab.classics.config import ClassicsConfig, plan
from cnnlab.classics.run import rows
from cnnlab.metrics import accuracy
from tests.conftest import CONF, ROOT, SMALL, Home, Said, is_one_line, plan_of

from cnnlab.config import GROUPS, NUMBERS
from cnnlab.data import Dataset, mnist5k
from cnnlab.spelling import Grammar, explain

GRAMMAR = Grammar(CONF, "classics", ClassicsConfig)
# A small case of each, and the error on 1,000 digits that 300 must beat (chance: 0.9).
SMALL_CASES = {
    "linear": (Linear(), 0.45),
    "pairwise_linear": (PairwiseLinear(), 0.25),
    "knn": (KNN(), 0.25),
    "pca_quadratic": (PCAQuadratic(20, ridge=1000), 0.25),
    "rbf_network": (RBFNetwork(8), 0.2),
    "svm_poly4": (SVM(cache_mb=50), 0.2),
}
CLASSICS = {name: classic for name, (classic, _) in SMALL_CASES.items()}


@pytest.fixture(scope="module")
def few(data_folder: Path) -> Dataset:
    """300 digits that train and 1,000 that test, in the paper's input scaling."""
    return mnist5k("lecun", train=300, validation=0, folder=data_folder)


def fitted(classic: Classic, data: Dataset, seed: int = 0) -> Any:
    return classic.fit(rows(data, data.train), data.train.labels, seed)


def scores(classic: Classic, data: Dataset, seed: int = 0) -> np.ndarray:
    return fitted(classic, data, seed).scores(rows(data, data.test))


def test_every_option_file_has_a_case() -> None:
    assert GRAMMAR.groups["classifier"] == sorted(CLASSICS)


@pytest.mark.parametrize("name", CLASSICS)
def test_every_option_file_says_the_defaults(name: str) -> None:
    content = yaml.safe_load((CONF / f"classifier/{name}.yaml").read_text())
    target = content.pop("_target_")
    assert target == f"cnnlab.classics.{type(CLASSICS[name]).__name__}"
    assert type(CLASSICS[name])(**content) == type(CLASSICS[name])()


@pytest.mark.parametrize("name", CLASSICS)
def test_digits_are_told_apart(name: str, few: Dataset) -> None:
    classic, worst = SMALL_CASES[name]
    found = scores(classic, few)
    assert found.shape == (1000, 10) and np.isfinite(found).all()
    assert 1 - accuracy(few.test.labels, found.argmax(1)) < worst


@pytest.mark.parametrize("name", CLASSICS)
def test_the_seed_decides(name: str, few: Dataset) -> None:
    classic = CLASSICS[name]
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
def test_the_papers_counts(classic: Classic, parameters: int, macs: int, few: Dataset) -> None:
    found = fitted(classic, few)
    assert (found.parameters, found.macs) == (parameters, macs)


def test_support_vectors_are_found_for_each_class_against_all_others(few: Dataset) -> None:
    labels, found = few.train.labels, fitted(SVM(cache_mb=50), few)
    assert (found.scores(rows(few, few.train)) > 0).sum(1).tolist() == [1] * len(labels)  # they are apart
    assert found.parameters - found.macs == 10  # biases


def test_a_linear_unit_solves_its_normal_equations(few: Dataset) -> None:
    x, labels = rows(few, few.train), few.train.labels
    targets = np.where(labels[:, None] == np.arange(10), 1.0, -1.0)
    left = (x - x.mean(0)).T @ (x - x.mean(0)) + 5 * np.eye(784)
    weights = np.linalg.solve(left, (x - x.mean(0)).T @ (targets - targets.mean(0)))
    expected = (rows(few, few.test) - x.mean(0)) @ weights + targets.mean(0)
    assert scores(Linear(5.0), few) == pytest.approx(expected, abs=1e-8)


def test_the_nearest_image_answers(few: Dataset) -> None:
    own = fitted(KNN(1), few).scores(rows(few, few.train)).argmax(1)
    assert (own == few.train.labels).all()


def test_products_of_pairs() -> None:
    assert (quadratic(np.array([[2.0, 3.0, 5.0]])) == [[4, 6, 10, 9, 15, 25]]).all()


def test_centres_are_as_many_to_each_class(few: Dataset) -> None:
    x, labels = rows(few, few.train), few.train.labels
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
def test_options_that_cannot_be_are_one_line(make: Callable[[], Classic], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}: choose a number above 0"):
        make()


@pytest.mark.parametrize(
    ("classic", "said"),
    [
        (KNN(301), "classifier.k=301: there are only 300 training images"),
        (PCAQuadratic(301), "classifier.components=301: choose a whole number from 1 to 300"),
        (RBFNetwork(31), "classifier.centres=31: a class has only 30 training images"),
    ],
)
def test_more_than_the_data_have_is_one_line(classic: Classic, said: str, few: Dataset) -> None:
    with pytest.raises(ValueError, match=said):
        fitted(classic, few)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("classifier=kn", "did you mean knn?"),
        ("classifier.k=3", "classifier=linear has no option k"),
        ("epochs=3", "there is no option epochs: choose from classifier, data"),
        ("classifier=linear,knn", "put -m before them"),
        ("seed=x", "seed=x: needs a whole number"),
    ],
)
def test_wrong_words_get_one_line(argument: str, said: str) -> None:
    message = explain([argument], CONF, "classics", ClassicsConfig)
    assert message is not None and is_one_line(message) and said in message


def test_right_words_get_none() -> None:
    words = ["classifier=knn,linear", "data=mnist5k", "data.train=300", "seed=0,1", "study=mine"]
    assert explain(["-m", *words], CONF, "classics", ClassicsConfig) is None


def config(**more: Any) -> dict[str, Any]:
    kind = {"_target_": "cnnlab.classics.KNN", "k": 3}
    return {"study": "runs", "rerun": False, "seed": 0, "threads": 1, "data": {}, "classifier": kind} | more


CHOICES = {"classifier": "knn", "data": "mnist5k"}


def test_a_plan_has_the_words_of_a_network() -> None:
    made = plan(config(), CHOICES, ["classifier=knn", "classifier.k=3"])
    assert set(made.words) == {*GROUPS, *NUMBERS, "classifier.k"}
    assert {word for word, value in made.words.items() if value != "none"} == {"model", "data", "seed", "classifier.k"}
    assert made.label == "knn mnist5k classifier.k=3 seed=0"


def test_identity_hangs_on_what_can_change_the_result() -> None:
    known = plan(config(), CHOICES).fingerprint
    assert plan(config(study="other", rerun=True), CHOICES).fingerprint == known
    others = [config(seed=1), config(data={"train": 5}), config(classifier={"_target_": "cnnlab.classics.KNN", "k": 1})]
    assert known not in {plan(other, CHOICES).fingerprint for other in others}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (config(seed=-1), "seed=-1: choose a whole number from 0 up"),
        (config(classifier={"_target_": "cnnlab.classics.KNN", "k": "x"}), "classifier.k=x: needs a whole number"),
        (config(classifier={"_target_": "cnnlab.classics.KNN", "j": 1}), "classifier.j: cnnlab.classics.KNN takes k"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(wrong, CHOICES)


def classics(home: Home, *words: str, script: str = "classics.py") -> Said:
    """A script with these words, from start to end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
    command = [sys.executable, str(ROOT / "experiments" / script), *words]
    variables = kept | home.places | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, cwd=home.folder, capture_output=True, text=True, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


WORDS = ("classifier=rbf_network", "classifier.centres=5", "data=mnist5k", *SMALL)


@pytest.mark.slow
def test_a_run_is_recorded_as_a_networks_is_and_made_once(home: Home, digits: Dataset) -> None:
    first, again = classics(home, *WORDS), classics(home, *WORDS)
    assert (first.code, first.err, again.code, again.err) == (0, "", 0, "")
    assert first.out.splitlines()[1].startswith("finished rbf_network") and "was done rbf_network" in again.out
    run = home.run()
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "rbf_network" and set(run.data.params) >= {*GROUPS, *NUMBERS}
    judged = {f"{split}/{kind}" for split in ("train", "val", "test") for kind in ("accuracy", "error")}
    assert set(run.data.metrics) == judged | {f"time/{kind}_s" for kind in ("fit", "predict", "total")} | {
        f"size/{kind}" for kind in ("parameters", "macs")
    }
    assert run.data.metrics["size/parameters"] == 50 * 784 + 10 * 51
    expected = {"cnnlab.kind": "run", "mlflow.source.name": "experiments/classics.py", "blas.threads": "1"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["data.digest"] == digits.digest
    files = home.artifacts(run)
    kept = {"confusion/test.png", "confusion/test.json", "plots/mistakes.png", "config/config.yaml"}
    assert set(files) >= kept | {"config/overrides.txt", "config/packages.txt", "config/git.diff"}
    counts = np.array(json.loads(files["confusion/test.json"].read_text())["rows are truth"])
    assert 1 - counts.trace() / counts.sum() == pytest.approx(run.data.metrics["test/error"])


@pytest.mark.slow
def test_a_run_that_fails_keeps_its_reason_and_the_next_study_is_reported(home: Home) -> None:
    said = classics(home, "classifier=knn", "classifier.k=201", "data=mnist5k", *SMALL)
    assert said.code == 1 and "FAILED" in said.out and is_one_line(said.out.splitlines()[1])
    run = home.run()
    assert run.info.status == "FAILED" and "only 200 training images" in run.data.tags["cnnlab.reason"]
    assert classics(home, "-m", "classifier=linear,knn", "data=mnist5k", *SMALL).code == 0
    assert classics(home, "runs", script="report.py").code == 0
    page = (home.folder / "reports/runs/index.html").read_text()
    assert "knn" in page and "linear" in page


@pytest.mark.slow
@pytest.mark.parametrize("word", ["classifier=kn", "classifier.ridge=x", "classifier=knn classifier.k=0", "data=mnist"])
def test_a_wrong_word_makes_no_run(word: str, home: Home) -> None:
    said = classics(replace(home, data=home.folder), *word.split())
    assert said.code == 1 and said.out == "" and is_one_line(said.err)


def test_the_fully_connected_networks_of_1998() -> None:
    made = plan_of("experiment=mlp_1998", "model.hidden=[500,150]")
    assert made.words["model.hidden"] == "[500,150]"
    assert [made.words[word] for word in ("model", "loss", "optimizer")] == ["mlp", "mse_signed", "sdlm"]
