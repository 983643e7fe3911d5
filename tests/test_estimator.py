"""The network as a scikit-learn estimator: its conventions, its images, and that it is trained as a run is."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator
from tests.conftest import is_one_line, plan_of

from cnnlab import Classifier
from cnnlab.learners import Network
from cnnlab.training import start, train

LAST_BITS = "float32: the last bits of a product of matrices depend on how many images there are, and where each is"
SMALL = Classifier(model="mlp", epochs=8, batch_size=4, optimizer="adam", lr=0.01)  # for a few rows of a few numbers


@pytest.fixture(scope="module")
def eights() -> tuple[np.ndarray, np.ndarray]:
    """600 digits of 8x8 pixels from 0 to 16, as rows of floats."""
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def bytes_of(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with labels 0 and 1: of a 1 the left half is brighter."""
    X, y = np.random.default_rng(0).integers(0, 128, shape, dtype=np.uint8), np.arange(shape[0]) % 2
    X[y == 1, :, : shape[2] // 2] += 127
    return X, y


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # array API is off
def test_scikit_learns_own_checks() -> None:
    expected = dict.fromkeys(("check_methods_sample_order_invariance", "check_methods_subset_invariance"), LAST_BITS)
    results = check_estimator(SMALL, expected_failed_checks=expected)
    assert len(results) > 50
    assert {result["check_name"] for result in results if result["status"] in ("xfail", "failed")} <= expected.keys()
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= {"check_array_api_input"}


def test_the_order_and_number_of_images_change_but_the_last_bits(eights: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = eights
    fitted = clone(SMALL).set_params(epochs=1).fit(X, y)
    found = fitted.predict_proba(X)
    assert fitted.predict_proba(X[::-1])[::-1] == pytest.approx(found, rel=1e-4, abs=1e-7)
    assert np.concatenate([fitted.predict_proba(X[:7]), fitted.predict_proba(X[7:])]) == pytest.approx(found, rel=1e-4)


@pytest.mark.slow
def test_it_works_in_cross_validation_a_search_and_a_pipeline(eights: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = eights
    assert cross_val_score(Classifier(epochs=10), X, y, cv=2).min() > 0.8
    search = GridSearchCV(Classifier(model="mlp"), {"activation": ["relu", "tanh"], "epochs": [1, 20]}, cv=2).fit(X, y)
    assert search.best_params_["epochs"] == 20 and search.best_score_ > 0.8
    steps = make_pipeline(MinMaxScaler(), FunctionTransformer(lambda X: X.reshape(-1, 8, 8)), Classifier(epochs=20))
    assert steps.fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.8


def test_it_is_trained_as_a_run_is() -> None:
    words = ("activation=tanh", "pooling=avg", "epochs=2", "seed=3", "data.train=300", "data.validation=0")
    plan = plan_of(*words)
    data = plan.data
    assert isinstance(plan.learner, Network)
    state = start(plan.learner, plan.learner.network(data), data.shape, 3)
    *_, last = train(plan.learner, state, data)
    fitted = Classifier("tanh", pooling="avg", epochs=2, seed=3).fit(data.train.pixels, data.train.labels)
    ((network, params),) = fitted.predictor_.networks
    assert network == state.network
    for name, layer in state.params.items():
        for each, value in layer.items():
            assert (params[name][each] == value).all()
    assert fitted.history_[-1]["train/loss"] == last["train/loss"]
    assert (fitted.predict(data.test.pixels) == fitted.predict_proba(data.test.pixels).argmax(1)).all()


def test_images_and_rows_bytes_and_floats_are_the_same() -> None:
    X, y = bytes_of(60, 12, 12)
    X[0, 0, :2] = 0, 255
    expected = Classifier(epochs=1).fit(X, y).predict_proba(X)
    for same in (X.reshape(60, -1), X.astype(float), X.astype(np.int64).reshape(60, -1), X / 255, X.tolist()):
        fitted = Classifier(epochs=1).fit(same, y)
        assert (fitted.predict_proba(same) == expected).all()
        other = np.asarray(same).reshape(60, 12, 12) if np.ndim(same) == 2 else np.asarray(same).reshape(60, -1)
        assert (fitted.predict_proba(other) == expected).all()


@pytest.mark.parametrize("labels", [np.array(["no", "yes"]), np.array(["a", "b"], object), np.array([-7, 3])])
def test_labels_may_be_of_any_type(labels: np.ndarray) -> None:
    X, y = bytes_of(80, 12, 12)
    fitted = Classifier(epochs=8, lr=0.01).fit(X, labels[y])
    assert (fitted.classes_ == labels).all() and fitted.predict(X).dtype == labels.dtype
    assert fitted.score(X, labels[y]) == 1
    assert fitted.predict_proba(X).sum(1) == pytest.approx(1)


def test_images_of_any_size_and_colour() -> None:
    for shape, enlarged in {(40, 6, 9): 4, (40, 4, 4): 5, (40, 28, 28): 1, (40, 14, 13, 3): 1}.items():
        X, y = bytes_of(*shape)
        fitted = Classifier(epochs=1).fit(X, y)
        assert fitted.enlarge_ == enlarged and fitted.image_shape_ == shape[1:]
        assert fitted.predictor_.shape[0] == enlarged * shape[1] and len(fitted.predict(X[:5])) == 5
    assert Classifier(model="mlp", epochs=1).fit(X[:, 0, :5, 0], y).image_shape_ == (1, 5)


def test_a_fitted_one_is_pickled_and_a_clone_is_new() -> None:
    X, y = bytes_of(40, 12, 12)
    fitted = Classifier(epochs=1, pooling="avg").fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() and repr(copy) == "Classifier(epochs=1, pooling='avg')"
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_training_may_stop_early() -> None:
    X, y = bytes_of(80, 12, 12)
    fitted = Classifier(model="mlp", epochs=50, patience=2, validation_fraction=0.25).fit(X, y)
    errors = [epoch["val/error_percent"] for epoch in fitted.history_]
    assert len(errors) == np.argmin(errors) + 3 < 50
    assert "val/loss" not in Classifier(model="mlp", epochs=1).fit(X, y).history_[0]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"activation": "rellu"}, r"activation=rellu: there is no such choice \(did you mean relu\?\): choose from"),
        ({"epochs": 0}, "epochs=0: choose a whole number from 1 up"),
        ({"seed": -1}, "seed=-1: choose a whole number from 0 up"),
        ({"lr": 0}, "lr=0: choose a number above 0"),
        ({"lr": 1e30}, r"lr=1e\+30: NaN or infinity at step \d; choose a smaller one$"),
        ({"model": "knn"}, "model=knn is no network: choose one, such as lenet5 or mlp"),
        ({"activation": "tanh", "pooling": "stochastic"}, "pooling: StochasticPool needs activations that are never"),
        ({"loss": "lenet5_mse"}, "there are codes for 10 digits, but the data has 2 classes"),
        ({"patience": 2, "validation_fraction": 1.5}, "validation_fraction=1.5: choose a number between 0 and 1"),
        ({"patience": 0}, "stop.patience=0: choose a whole number from 1 up or null"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(parameters: dict[str, object], said: str) -> None:
    X, y = bytes_of(40, 12, 12)
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        Classifier(**({"epochs": 1} | parameters)).fit(X, y)
    assert is_one_line(str(refused.value))


def test_images_that_do_not_fit_are_refused_in_one_line() -> None:
    X, y = bytes_of(40, 12, 12)
    with pytest.raises(ValueError, match=r"^images of shape \(1, 50\): .*; rows of 50 values, which are no square"):
        Classifier().fit(X.reshape(40, -1)[:, :50], y)
    fitted = Classifier(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"^images of shape \(6, 24\): choose \(12, 12\), as those of fit$"):
        fitted.predict(X.reshape(40, 6, 24))
    with pytest.raises(ValueError, match="121 features"):
        fitted.predict(X[:, 1:, 1:].reshape(40, -1))


def test_images_that_are_all_alike_are_learned_without_a_warning() -> None:
    fitted = Classifier(model="mlp", epochs=1).fit(np.full((10, 4, 4), 7.0), np.arange(10) % 2)
    assert len(fitted.predict(np.full((3, 4, 4), 8.0))) == 3


def test_the_library_is_light_until_it_is_asked_for_something() -> None:
    program = """
import sys, cnnlab
heavy = {"hydra", "omegaconf", "mlflow", "sklearn", "numpy", "pandas", "matplotlib"}
assert not heavy & sys.modules.keys()
assert cnnlab.__version__ and set(cnnlab.__all__) <= {*dir(cnnlab), "Classifier", "load", "records", "run"}
from cnnlab import load, records, run
assert not heavy - {"numpy"} & sys.modules.keys(), heavy & sys.modules.keys()
from cnnlab import Classifier
X, y = [[[0, 9], [1, 0]], [[9, 0], [0, 1]]], [0, 1]
new = Classifier(model="mlp", epochs=1)
assert not {"hydra", "omegaconf", "mlflow"} & sys.modules.keys()
new.fit(X, y)
assert "hydra" in sys.modules and "mlflow" not in sys.modules
try:
    cnnlab.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "module 'cnnlab' has no attribute 'nothing'\n", "")
