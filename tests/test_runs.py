"""One run by the command line, and all that its record promises."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from tests.conftest import CONF, ROOT, SMALL, Home, Said, end, epochs_done, is_one_line, plan_of, untimed, wait_for

from cnnlab.composing import Plan, objects
from cnnlab.config import GROUPS, NUMBERS
from cnnlab.data import Dataset
from cnnlab.journal import Watcher
from cnnlab.runs import Outcome, make
from cnnlab.tracking.circumstances import code
from cnnlab.tracking.log import RunLog

if TYPE_CHECKING:
    from mlflow.entities import Run

WORDS = ("activation=tanh", "pooling=subsample", "epochs=3", "confusion_every=2", "lr=0.01", *SMALL)
LAYERS, SQUASHED = ("C1", "S2", "C3", "S4", "C5", "F6", "OUT"), ("A1", "A2", "A3", "A4", "A5", "A6")
EACH_EPOCH = {
    *("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/error_percent"),
    *("time/epoch_s", "time/images_per_s", "lr"),
    *(f"{kind}/{name}" for kind in ("grad_norm", "update_ratio") for name in LAYERS),
    *(f"saturation/{name}" for name in SQUASHED),
}
ONCE = {"test/loss", "test/accuracy", "test/error_percent", "time/total_s", "size/parameters", "size/macs"}
PICTURES = {
    *(f"plots/{name}.png" for name in ("learning_curves", "gradient_norms", "kernels", "mistakes")),
    *(f"confusion/{name}.png" for name in ("test", "val_epoch_002", "val_epoch_003")),
}
FILES = {
    *PICTURES,
    *(f"confusion/{name}.json" for name in ("test", "val_epoch_002", "val_epoch_003")),
    *(f"config/{name}" for name in ("config.yaml", "overrides.txt", "packages.txt", "git.diff", "network.txt")),
    *("history.csv", "answers.npz", "model/MLmodel", "model/artifacts/network.npz", "model/requirements.txt"),
}


@dataclass(frozen=True)
class Finished:
    """A finished run: its home, its record, its files, and what was said when it was made and asked for again."""

    home: Home
    run: Run
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
    test, val = (finished.run.data.metrics[f"{split}/error_percent"] for split in ("test", "val"))
    assert lines[1].startswith(f"finished {label}")
    assert f"validation error {val:.2f}%  test error {test:.2f}%" in lines[1]
    assert finished.run.info.run_id in lines[2] and len(lines) == 3


def test_the_second_time_it_is_skipped_and_says_so(finished: Finished) -> None:
    said = finished.again
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1].startswith("was done tanh") and "other code" not in said.out
    assert finished.run.info.run_id in said.out
    assert len(finished.home.runs()) == 1


def test_no_file_stays_beside_the_records(finished: Finished) -> None:
    """Locks, checkpoints and temporary folders, of a run that was made and of one that was skipped."""
    assert finished.home.leftovers() == []
    assert sorted(path.name for path in finished.home.folder.iterdir()) == [
        *("conf", "mlartifacts", "mlflow.db", "outputs")
    ]


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
    assert set(curves) == EACH_EPOCH | ONCE
    assert {key: sorted(curves[key]) for key in EACH_EPOCH} == {key: [1, 2, 3] for key in EACH_EPOCH}
    assert {key: sorted(curves[key]) for key in ONCE} == {key: [0] for key in ONCE}  # MLflow draws bars of these
    assert all(np.isfinite(list(curve.values())).all() for curve in curves.values())


def test_tags_say_where_it_comes_from(finished: Finished, digits: Dataset) -> None:
    tags = finished.run.data.tags
    expected = {"git.commit": code()["git.commit"], "cnnlab.data.digest": digits.digest, "blas.threads": "1"}
    plan = plan_of(*WORDS)
    expected |= {"cnnlab.fingerprint": plan.fingerprint, "cnnlab.code": plan.code, "cnnlab.lr_source": "given"}
    expected |= {"cnnlab.sweep": "runs", "cnnlab.kind": "run"}
    assert expected.items() <= tags.items()
    assert tags["blas"] not in ("", "unknown")
    errors = [f"{finished.run.data.metrics[f'{split}/error_percent']:.2f}%" for split in ("val", "test")]
    found = "{}: validation error {}, test error {}.".format(finished.run.info.run_name, *errors)
    assert tags["mlflow.note.content"] == found
    assert {"cnnlab.host", "cnnlab.pid", "python", "machine"} <= tags.keys()
    assert not {"diverged", "cnnlab.resumed_after_epoch", "cnnlab.made_in"} & tags.keys()
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
    expected = {"test": (1000, curves["test/accuracy"][0])}
    expected |= {f"val_epoch_00{epoch}": (100, curves["val/accuracy"][epoch]) for epoch in (2, 3)}
    for name, (images, right) in expected.items():
        kept = json.loads(finished.text(f"confusion/{name}.json"))
        matrix = np.array(kept["rows are truth"])
        assert kept["classes"] == list("0123456789")
        assert matrix.shape == (10, 10) and matrix.sum() == images
        assert np.ptp(matrix.sum(1)) == 0  # rows are the classes, and the splits are stratified
        assert np.trace(matrix) / images == pytest.approx(right, abs=1e-12)
    for split, step in (("test", 0), ("val", 3)):
        assert curves[f"{split}/error_percent"][step] == pytest.approx(100 - 100 * curves[f"{split}/accuracy"][step])


def test_the_answers_are_kept(finished: Finished, digits: Dataset) -> None:
    with np.load(finished.files["answers.npz"], allow_pickle=False) as kept:
        answers, labels = kept["answers"], kept["labels"]
    assert (labels == digits.test.labels).all() and answers.shape == labels.shape
    assert np.mean(answers == labels) == finished.run.data.metrics["test/accuracy"]
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (labels, answers), 1)
    assert json.loads(finished.text("confusion/test.json"))["rows are truth"] == matrix.tolist()


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
    assert config == plan_of(*WORDS).config
    assert config["pooling"]["_target_"] == "cnnlab.nn.Subsample" and config["lr"] == config["learner"]["lr"] == 0.01


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_kept_model_answers_as_the_run_did(finished: Finished, digits: Dataset) -> None:
    model = finished.home.model(finished.run)
    answers = model.predict(digits.test.pixels)
    assert answers.shape == (1000,) and answers.dtype == np.int64
    assert np.mean(answers == digits.test.labels) == finished.run.data.metrics["test/accuracy"]
    assert model.metadata.metadata["images"].startswith("28x28 grey")
    assert f"cnnlab=={version('cnnlab')}" in finished.text("model/requirements.txt").splitlines()


def made(*words: str) -> Outcome:
    """A run that this process makes."""
    return made_of(plan_of(*words))


def made_of(plan: Plan) -> Outcome:
    return make(plan, RunLog(), Watcher())


def test_a_rerun_is_a_second_record_with_the_same_numbers(finished: Finished, inside: Home) -> None:
    outcomes = [made(*WORDS), made(*WORDS, "rerun=true"), made(*WORDS)]
    assert [outcome.status for outcome in outcomes] == ["finished", "finished", "skipped"]
    runs = inside.runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    for run in runs:  # another process made the finished one
        assert untimed(inside.curves(run)) == untimed(finished.home.curves(finished.run))
    assert not inside.leftovers()


BRIEF = ("model=mlp", "model.hidden=[8]", "epochs=2", *SMALL)


@pytest.mark.parametrize("apart", [False, True], ids=["here", "by the command"])
def test_what_another_study_finished_is_copied(apart: bool, inside: Home) -> None:
    first = made(*BRIEF, "study=one")
    if apart:
        said = inside.train(*BRIEF, "study=two")
        assert (said.code, said.err) == (0, "") and "was done in another study: relu" in said.out
    else:
        outcome = made(*BRIEF, "study=two")
        assert (outcome.status, outcome.metrics) == ("copied", inside.run("one").data.metrics)
        assert str(outcome).startswith("was done in another study: relu")
    one, two = inside.run("one"), inside.run("two")
    made_in = {"cnnlab.made_in": first.run_id, "cnnlab.sweep": "two"}
    assert two.info.run_id != one.info.run_id and two.info.status == "FINISHED"
    assert two.data.tags == one.data.tags | made_in
    assert (two.data.params, two.info.end_time) == (one.data.params, one.info.end_time)
    assert inside.curves(two) == inside.curves(one)  # clocks too: it was not trained again
    ours, theirs = inside.artifacts(two), inside.artifacts(one)
    assert ours.keys() == theirs.keys() and all(ours[name].read_bytes() == theirs[name].read_bytes() for name in ours)
    (used,) = two.inputs.dataset_inputs
    assert used.dataset == one.inputs.dataset_inputs[0].dataset
    assert made(*BRIEF, "study=two").status == "skipped"
    if not apart:
        made(*BRIEF, "study=two/again")
        assert inside.run("two/again").data.tags["cnnlab.made_in"] == first.run_id  # of a copy: the original
        made(*BRIEF, "study=two", "rerun=true")
        assert [run.data.tags.get("cnnlab.made_in") for run in inside.runs("two")] == [first.run_id, None]
    assert not inside.leftovers()


def test_a_copy_is_called_as_it_is_asked_for(inside: Home) -> None:
    """0.9 is the default: said or not, it is the same run."""
    made(*BRIEF, "study=one")
    outcome = made(*BRIEF, "optimizer.momentum=0.9", "study=two")
    (copy,) = inside.runs("two")
    assert (outcome.status, copy.data.params["optimizer.momentum"]) == ("copied", "0.9")
    assert copy.info.run_name == outcome.label and "optimizer.momentum=0.9" in outcome.label


@pytest.mark.parametrize("gone", ["", "answers.npz"])
def test_what_has_lost_its_files_is_made_again_in_another_study(gone: str, inside: Home) -> None:
    first = made(*BRIEF, "study=one")
    lost = inside.folder / "mlartifacts/one" / first.run_id / "artifacts" / gone
    lost.unlink() if gone else shutil.rmtree(lost)
    assert made(*BRIEF, "study=two").status == "finished"
    assert [run.info.status for run in inside.runs("two")] == ["FINISHED"]


def test_code_that_comes_back_is_run_again_where_a_copy_would_be_older(inside: Home) -> None:
    """Else every `rerun=changed` would copy it once more, since the newest run speaks for a study."""
    plan = plan_of(*BRIEF, "rerun=changed")
    made_of(replace(plan, config=plan.config | {"study": "other"}))
    assert made_of(replace(plan, code="tried")).status == "finished"
    assert [made_of(plan).status for _ in range(2)] == ["finished", "skipped"]


def test_a_run_of_other_code_is_not_silently_done(inside: Home) -> None:
    """As if the code had changed between two commands: plans of another digest."""
    plan, later = plan_of(*BRIEF), replace(plan_of(*BRIEF), code="today")
    assert made_of(plan).status == "finished"
    skipped = made_of(later)
    assert (skipped.status, skipped.other_code) == ("skipped", True)
    assert is_one_line(str(skipped))
    assert str(skipped).endswith("(by other code than today's: rerun=changed makes it again)")
    elsewhere = replace(later, config=later.config | {"study": "other"})
    assert made_of(elsewhere).status == "finished"  # other code's result is not copied
    changed = replace(later, config=later.config | {"rerun": "changed"})
    assert [made_of(changed).status for _ in range(2)] == ["copied", "skipped"]
    unchanged = replace(plan, config=plan.config | {"rerun": "changed"}, code="today")
    assert made_of(unchanged).status == "skipped"
    assert [run.data.tags["cnnlab.code"] for run in inside.runs()] == [plan.code, "today"]


@pytest.mark.slow
def test_changed_code_is_noticed_by_the_command(home: Home) -> None:
    """The engine changes: networks are of other code, classifiers are not, and `rerun=changed` makes just these."""
    source = home.folder / "src"
    shutil.copytree(ROOT / "src", source)

    def train(*words: str) -> Said:
        said = home.train(*words, "epochs=1", *SMALL, PYTHONPATH=str(source))
        assert (said.code, said.err) == (0, "")
        return said

    both = ("-m", "model=mlp,linear", "hydra/launcher=basic")
    train(*both)
    with (source / "cnnlab/nn/dense.py").open("a") as file:
        file.write("\nADDED = 1\n")
    (line,) = (line for line in train("model=mlp").out.splitlines() if "other code" in line)
    assert line.startswith("was done relu cross_entropy mlp") and line.endswith("rerun=changed makes it again)")
    out = train(*both, "rerun=changed").out
    assert "1 arm to do, 1 finished" in out and "1 of 1 done: finished relu cross_entropy mlp" in out
    assert "other code" not in out
    models = [run.data.params["model"] for run in home.runs()]
    assert sorted(models) == ["linear", "mlp", "mlp"]
    assert len({run.data.tags["cnnlab.code"] for run in home.runs()}) == 3


SOURCE = '''"""Images from a file."""

import numpy as np

from cnnlab.data import Images
from cnnlab.data.source import RawData, source


@source()
def archive(folder):
    """Images and labels in an npz file."""
    with np.load(folder / "set.npz") as kept:
        images = Images(kept["pixels"], kept["labels"])
    return RawData("mine", images, images, tuple("0123456789"))
'''


def test_other_images_behind_a_name_are_another_run(
    inside: Home, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set of one's own, whose file is replaced by one in which one pixel of one image is another."""
    (inside.folder / "conf").unlink()
    shutil.copytree(CONF, inside.folder / "conf")
    (inside.folder / "conf/data/mine.yaml").write_text("_target_: mine.archive\nvalidation: 50\nfolder: null\n")
    (inside.folder / "mine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(inside.folder)
    monkeypatch.setenv("CNNLAB_TRUST", "mine")
    pixels, outcomes = digits.train.pixels.copy(), []
    for shade in (0, 0, 1):
        pixels[7, 3, 3] = shade
        np.savez(inside.folder / "set.npz", pixels=pixels, labels=digits.train.labels)
        objects._loaded.cache_clear()  # as in a new process
        outcomes.append(made("data=mine", f"data.folder={inside.folder}", "model=mlp", "model.hidden=[8]", "epochs=1"))
    assert [outcome.status for outcome in outcomes] == ["finished", "skipped", "finished"]
    for tag in ("cnnlab.data.digest", "cnnlab.fingerprint"):
        assert len({run.data.tags[tag] for run in inside.runs()}) == 2
    assert len({run.data.tags["cnnlab.code"] for run in inside.runs()}) == 1


def test_a_run_that_distorts_keeps_a_sheet_of_what_it_was_trained_on(inside: Home) -> None:
    for words in (("augment=affine_elastic",), ()):
        made("model=mlp", "epochs=1", *words, *SMALL)
    sheets = [inside.artifacts(run).get("plots/distortions.png") for run in inside.runs()]
    assert sheets[0] is not None and sheets[1] is None
    assert [run.data.params.get("augment") for run in inside.runs()] == ["affine_elastic", None]


def test_test_images_that_are_watched_are_no_validation_images(inside: Home) -> None:
    outcome = made("model=mlp", "epochs=2", "data.train=300", "data.validation=test")
    curves = inside.curves(inside.run())
    assert not [key for key in outcome.metrics if key.startswith("val/")]
    watched = {key.removeprefix("watch/") for key in curves if key.startswith("watch/")}
    assert watched == {"loss", "accuracy", "error_percent"}
    for key in watched:
        assert sorted(curves[f"watch/{key}"]) == [1, 2]
        assert curves[f"watch/{key}"][2] == pytest.approx(curves[f"test/{key}"][0])
    assert [name for name in inside.artifacts(inside.run()) if name.startswith("confusion/val")] == []
    assert not [line for line in str(outcome).split("  ") if line.startswith("validation")]


def test_an_option_that_is_off_is_no_part_of_the_identity(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new option, null by default, of the learner and of a layer: runs of today keep their identity."""
    known = plan_of(*BRIEF).fingerprint
    (inside.folder / "conf").unlink()
    shutil.copytree(CONF, inside.folder / "conf")
    for file, option in (("learner/network", "mu: null"), ("model/mlp", "mu: null"), ("data/mnist5k", "mu: none")):
        with (inside.folder / f"conf/{file}.yaml").open("a") as config:
            config.write(f"\n{option}\n")
    monkeypatch.setattr("cnnlab.composing.plans.typed", lambda config: config)  # no class has such an option yet
    for room in ("objects", "plans"):
        monkeypatch.setattr(f"cnnlab.composing.{room}.instantiated", without_mu)
    assert plan_of(*BRIEF).fingerprint == known
    assert plan_of(*BRIEF, "learner.mu=3").fingerprint != known
    assert plan_of(*BRIEF, "learner.mu=0").fingerprint != known  # off is null or none, and 0 is a number


def without_mu(node: dict[str, Any]) -> Any:
    """The objects of a node, as if its classes took `mu`."""
    from hydra.utils import instantiate

    def stripped(node: Any) -> Any:
        return {k: stripped(v) for k, v in node.items() if k != "mu"} if isinstance(node, dict) else node

    return instantiate(stripped(node), _convert_="all")


@pytest.mark.slow
def test_a_notebooks_back_end_does_not_stand_in_the_way(home: Home) -> None:
    said = home.train(*BRIEF, MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert (said.code, said.err) == (0, "")
    assert home.run().info.status == "FINISHED" and "plots/learning_curves.png" in home.artifacts(home.run())


def test_another_store_wins(
    inside: Home, new_home: Callable[..., Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_home(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.uri)
    outcome = made("model=mlp", "epochs=1", *SMALL, "data.validation=0")
    run = other.run()
    assert inside.runs() == []
    assert (run.info.run_id, run.info.status) == (outcome.run_id, "FINISHED")
    assert "test/error_percent" in run.data.metrics and "val/loss" not in run.data.metrics
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
    assert line.endswith(f"Diverged: NaN or infinity at step {step}") and "confusion/test.json" not in home.artifacts(
        run
    )
    assert "Diverged: NaN or infinity" in home.artifacts(run)["traceback.txt"].read_text()
    assert not home.leftovers()
    assert "Diverged" in run.data.tags["cnnlab.reason"] and "test/error_percent" not in run.data.metrics


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_is_killed_and_says_what_it_keeps(number: signal.Signals, home: Home) -> None:
    process = home.start("model=mlp", "epochs=500", *SMALL)
    wait_for(home.checkpoints, process)
    process.send_signal(number)
    said = end(process)
    assert said.code != 0
    assert home.run().info.status == "KILLED"
    (kept,) = home.checkpoints()
    assert home.leftovers() == [kept]
    epochs = epochs_done(kept)
    assert is_one_line(said.err), said.err
    assert f"seed=0: {epochs} whole epoch{'s' * (epochs > 1)} kept: the same command goes on from there" in said.err


def test_a_store_that_does_not_work_is_one_line(inside: Home) -> None:
    (inside.folder / "mlflow.db").write_bytes(b"no database" * 999)
    with pytest.raises(OSError) as caught:
        made("model=mlp", "epochs=1", *SMALL)
    assert is_one_line(str(caught.value)) and "mlflow.db" in str(caught.value)
    said = inside.train("model=mlp", "epochs=1", *SMALL)
    assert said.code == 1 and is_one_line(said.err) and "mlflow.db" in said.err
