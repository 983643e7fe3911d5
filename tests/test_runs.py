"""One run by the command line, and all that its record promises."""

import csv
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from cnnlab.recording import Outcome
from tests.conftest import SMALL, Home, Said, end, is_one_line, plan_of, untimed, wait_for

from cnnlab import console
from cnnlab.config import GROUPS, NUMBERS, fingerprint
from cnnlab.data import Dataset
from cnnlab.tracking.circumstances import code

if TYPE_CHECKING:
    from mlflow.entities import Run

WORDS = ("activation=tanh", "pooling=subsample", "epochs=3", "confusion_every=2", "lr=0.01", *SMALL)
LAYERS, SQUASHED = ("C1", "S2", "C3", "S4", "C5", "F6", "OUT"), ("A1", "A2", "A3", "A4", "A5", "A6")
EACH_EPOCH = {
    *("train/loss", "train/accuracy", "val/loss", "val/accuracy", "time/epoch_s", "time/images_per_s", "lr"),
    *(f"{kind}/{name}" for kind in ("grad_norm", "update_ratio") for name in LAYERS),
    *(f"saturation/{name}" for name in SQUASHED),
}
AT_THE_END = {"test/loss", "test/accuracy", "test/error", "time/total_s", "size/parameters", "size/macs"}
PICTURES = {
    *(f"plots/{name}.png" for name in ("learning_curves", "gradient_norms", "kernels", "mistakes")),
    *(f"confusion/{name}.png" for name in ("test", "val_epoch_002", "val_epoch_003")),
}
FILES = {
    *PICTURES,
    *(f"confusion/{name}.json" for name in ("test", "val_epoch_002", "val_epoch_003")),
    *(f"config/{name}" for name in ("config.yaml", "overrides.txt", "packages.txt", "git.diff", "network.txt")),
    *("history.csv", "model/MLmodel", "model/artifacts/network.npz", "model/requirements.txt"),
}


@dataclass(frozen=True)
class Finished:
    """A finished run: its home, its record, its files, and what was said when it was made and asked for again."""

    home: Home
    run: "Run"
    files: dict[str, Path]
    first: Said
    again: Said

    def text(self, name: str) -> str:
        return self.files[name].read_text()


@pytest.fixture(scope="session")
def finished(shared: Path, once: Callable[..., Any], new_home: Callable[..., Home], data_folder: Path) -> Finished:
    """One run, asked for twice."""
    home = Home(shared / "finished", data_folder)

    def make() -> list[list[Any]]:
        new_home(home.folder)
        return [[said.code, said.out, said.err] for said in (home.train(*WORDS), home.train(*WORDS))]

    first, again = (Said(*said) for said in once("finished", make))
    run = home.run()
    return Finished(home, run, home.artifacts(run), first, again)


def test_the_command_says_what_it_did_and_no_more(finished: Finished) -> None:
    said = finished.first
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    label = (
        "tanh cross_entropy subsample same lenet5 glorot momentum mnist5k "
        "confusion_every=2 data.train=300 data.validation=100 lr=0.01 seed=0"
    )
    assert lines[0] == f"{label}  learning rate 0.01 (given)"
    error = 100 * finished.run.data.metrics["test/error"]
    assert lines[1].startswith(f"finished {label}") and f"test error {error:.2f}%" in lines[1]
    assert finished.run.info.run_id in lines[2] and len(lines) == 3


def test_the_second_time_it_is_skipped_and_says_so(finished: Finished) -> None:
    said = finished.again
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1].startswith("was done tanh")
    assert finished.run.info.run_id in said.out
    assert len(finished.home.runs()) == 1


def test_status_and_words(finished: Finished) -> None:
    assert finished.run.info.status == "FINISHED"
    expected = {"activation": "tanh", "loss": "cross_entropy", "pooling": "subsample", "padding": "same"}
    expected |= {"model": "lenet5", "init": "glorot", "optimizer": "momentum", "data": "mnist5k"}
    expected |= {"seed": "0", "epochs": "3", "batch_size": "32", "lr": "0.01"}
    assert set(expected) == {*GROUPS, *NUMBERS}
    details = {"confusion_every": "2", "data.train": "300", "data.validation": "100"}
    assert finished.run.data.params == expected | details


def test_every_metric_at_every_epoch(finished: Finished) -> None:
    curves = finished.home.curves(finished.run)
    assert set(curves) == EACH_EPOCH | AT_THE_END
    assert {key: sorted(curves[key]) for key in EACH_EPOCH} == {key: [1, 2, 3] for key in EACH_EPOCH}
    assert {key: sorted(curves[key]) for key in AT_THE_END} == {key: [3] for key in AT_THE_END}
    assert all(np.isfinite(list(curve.values())).all() for curve in curves.values())


def test_tags_say_where_it_comes_from(finished: Finished, digits: Dataset) -> None:
    tags = finished.run.data.tags
    expected = {"git.commit": code()["git.commit"], "data.digest": digits.digest, "blas.threads": "1"}
    expected |= {"cnnlab.fingerprint": plan_of(*WORDS).fingerprint, "cnnlab.kind": "run", "cnnlab.lr_source": "given"}
    expected |= {"cnnlab.sweep": "runs"}
    assert expected.items() <= tags.items()
    assert tags["blas"] not in ("", "unknown")
    assert {"host", "pid", "python", "machine"} <= tags.keys()
    assert not {"diverged", "cnnlab.resumed_after_epoch"} & tags.keys()
    (used,) = finished.run.inputs.dataset_inputs
    assert used.dataset.name == "mnist5k" and digits.digest.startswith(used.dataset.digest)


def test_every_file_is_kept(finished: Finished) -> None:
    assert set(finished.files) >= FILES
    assert "traceback.txt" not in finished.files
    assert finished.text("config/overrides.txt").split() == list(WORDS)
    assert f"numpy=={np.__version__}\n" in finished.text("config/packages.txt")
    network = [line.split() for line in finished.text("config/network.txt").splitlines()]
    assert ["S2", "Subsample", "6@14x14", "12", "5,880", "1,176"] in network


@pytest.mark.parametrize("picture", sorted(PICTURES))
def test_pictures_show_something(picture: str, finished: Finished) -> None:
    from matplotlib.image import imread

    pixels = imread(finished.files[picture])[..., :3]
    assert min(pixels.shape[:2]) > 100
    assert pixels.std() > 0.02
    assert len(np.unique(pixels)) > 10


def test_confusion_matrices_agree_with_the_accuracies(finished: Finished) -> None:
    curves = finished.home.curves(finished.run)
    expected = {"test": (1000, curves["test/accuracy"][3])}
    expected |= {f"val_epoch_00{epoch}": (100, curves["val/accuracy"][epoch]) for epoch in (2, 3)}
    for name, (images, right) in expected.items():
        kept = json.loads(finished.text(f"confusion/{name}.json"))
        matrix = np.array(kept["rows are truth"])
        assert kept["classes"] == list("0123456789")
        assert matrix.shape == (10, 10) and matrix.sum() == images
        assert np.ptp(matrix.sum(1)) == 0  # rows are the classes, and the splits are stratified
        assert np.trace(matrix) / images == pytest.approx(right, abs=1e-12)
    assert curves["test/error"][3] == pytest.approx(1 - curves["test/accuracy"][3])


def test_the_history_is_the_metrics(finished: Finished) -> None:
    rows = list(csv.DictReader(finished.text("history.csv").splitlines()))
    curves = finished.home.curves(finished.run)
    assert set(rows[0]) == EACH_EPOCH | {"epoch"}
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for row in rows:
        epoch = int(row["epoch"])
        assert {key: float(row[key]) for key in EACH_EPOCH} == {key: curves[key][epoch] for key in EACH_EPOCH}


def test_the_kept_config_is_the_run(finished: Finished) -> None:
    config = yaml.safe_load(finished.text("config/config.yaml"))
    assert fingerprint(config) == finished.run.data.tags["cnnlab.fingerprint"]
    assert config["pooling"]["_target_"] == "cnnlab.nn.Subsample" and config["lr"] == 0.01


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_kept_model_answers_as_the_run_did(finished: Finished, digits: Dataset) -> None:
    model = finished.home.model(finished.run)
    answers = model.predict(digits.test.pixels)
    assert answers.shape == (1000,) and answers.dtype == np.int64
    assert np.mean(answers == digits.test.labels) == finished.run.data.metrics["test/accuracy"]
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 28, 28)


def made(*words: str) -> Outcome:
    """A run that this process makes."""
    from hydra_plugins.cnnlab_sweeper import build

    return console.single(plan_of(*words), build)


def test_a_rerun_is_a_second_record_with_the_same_numbers(finished: Finished, inside: Home) -> None:
    outcomes = [made(*WORDS), made(*WORDS, "rerun=true"), made(*WORDS)]
    assert [outcome.status for outcome in outcomes] == ["finished", "finished", "skipped"]
    runs = inside.runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    for run in runs:  # another process made the finished one
        assert untimed(inside.curves(run)) == untimed(finished.home.curves(finished.run))


def test_a_run_that_distorts_keeps_a_sheet_of_what_it_was_trained_on(inside: Home) -> None:
    for words in (("augment=affine_elastic",), ()):
        made("model=mlp", "epochs=1", *words, *SMALL)
    sheets = [inside.artifacts(run).get("plots/distortions.png") for run in inside.runs()]
    assert sheets[0] is not None and sheets[1] is None
    assert [run.data.params.get("augment") for run in inside.runs()] == ["affine_elastic", None]


def test_another_store_wins(
    inside: Home, new_home: Callable[..., Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_home(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.uri)
    outcome = made("model=mlp", "epochs=1", *SMALL, "data.validation=0")
    run = other.run()
    assert inside.runs() == []
    assert (run.info.run_id, run.info.status) == (outcome.run_id, "FINISHED")
    assert "test/error" in run.data.metrics and "val/loss" not in run.data.metrics
    assert "confusion/test.json" in other.artifacts(run)


@pytest.mark.slow
def test_a_run_that_diverges_fails_at_once(home: Home) -> None:
    said = home.train("activation=leaky_relu", "pooling=avg", "lr=1000000", "epochs=50", *SMALL)
    assert (said.code, said.err) == (1, "")
    (line,) = (line for line in said.out.splitlines() if line.startswith("FAILED"))
    run = home.run()
    assert run.info.status == "FAILED"
    step = run.data.tags["diverged"].removeprefix("step ")
    assert 1 <= int(step) <= 7
    assert line.endswith(f"Diverged: NaN or infinity at step {step}")
    assert "Diverged: NaN or infinity" in home.artifacts(run)["traceback.txt"].read_text()
    assert "Diverged" in run.data.tags["cnnlab.reason"] and "test/error" not in run.data.metrics


@pytest.mark.slow
def test_an_interrupted_run_is_killed_and_keeps_its_checkpoint(home: Home) -> None:
    process = home.start("model=mlp", "epochs=500", *SMALL)
    wait_for(home.checkpoints, process)
    process.send_signal(signal.SIGINT)
    said = end(process)
    assert said.code != 0
    assert home.run().info.status == "KILLED"
    assert len(home.checkpoints()) == 1
    assert not said.err or is_one_line(said.err), said.err


def test_a_store_that_does_not_work_is_one_line(inside: Home) -> None:
    (inside.folder / "mlflow.db").write_bytes(b"no database" * 999)
    with pytest.raises(SystemExit) as caught:
        made("model=mlp", "epochs=1", *SMALL)
    assert is_one_line(str(caught.value)) and "mlflow.db" in str(caught.value)
