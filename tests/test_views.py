"""What MLflow's pages are told of a study: its views, its description, names, the registered model, and pictures."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.conftest import SMALL, Home, is_one_line, plan_of
from threadpoolctl import threadpool_info

from cnnlab.commands import compare
from cnnlab.composing import Sweep
from cnnlab.config import OURS
from cnnlab.journal import Watcher
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.runs import make
from cnnlab.summaries import report_again
from cnnlab.sweeps import make_missing
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.means import _means
from cnnlab.tracking.store import NOTE, VIEW, Study, link, run_link, studies, tag, view_tag
from cnnlab.tracking.views import NAMES, show

BRIEF = ("model=mlp", "model.hidden=[8]", "epochs=2", "confusion_every=1", "study=brief", *SMALL)


def made(*words: str) -> str:
    """A run that this process makes; its id."""
    outcome = make(plan_of(*BRIEF, *words), RunLog(), Watcher())
    assert outcome.status == "finished", outcome.reason
    return outcome.run_id


@pytest.fixture
def study(inside: Home) -> Study:
    """A study of two arms, whose report was written."""
    for word in ("activation=sigmoid", "activation=relu"):
        made(word)
    (found,) = studies()
    report_again(found)
    return found


def tags(study: Study) -> dict[str, str]:
    return dict(study.client.get_experiment(study.experiment_id).tags)


def unpacked(view: str) -> dict[str, Any]:
    """The state of a page that the tag of a view holds."""
    return json.loads(zlib.decompress(base64.b64decode(json.loads(view)["state"].removeprefix("deflate;"))))


def views(study: Study) -> dict[str, dict[str, Any]]:
    """The states of a study's views, by key, in the order of their names."""
    found = {key.removeprefix(view_tag("")): said for key, said in tags(study).items() if key.startswith(view_tag(""))}
    assert {key: json.loads(said)["name"] for key, said in found.items()}.items() <= NAMES.items()
    return {key: unpacked(found[key]) for key in NAMES if key in found}


def test_a_report_tells_the_pages_what_the_study_found(study: Study, inside: Home) -> None:
    said, won = tags(study), views(study)[VIEW]
    assert list(views(study)) == [VIEW] and won["groupBy"] is None
    assert won["searchFilter"] == "tags.`cnnlab.kind` = 'run'" and won["orderByKey"] == "metrics.`val/error_percent`"
    columns = ["params.`activation`", "metrics.`val/error_percent`", "metrics.`test/error_percent`"]
    assert won["selectedColumns"] == columns
    lines = [(chart["metricKey"], chart["scaleType"]) for chart in won["compareRunCharts"] if chart["type"] == "LINE"]
    assert lines == [("val/error_percent", "linear"), ("grad_norm/F1", "log"), ("grad_norm/OUT", "log")]
    best = min(inside.runs("brief"), key=lambda run: run.data.metrics["val/error_percent"])
    note = said["mlflow.note.content"]
    assert note.startswith(f"{best.data.params['activation']} has the lowest validation error of 2 arms: ")
    assert sorted(str(run.info.run_name) for run in inside.runs("brief")) == ["relu seed=0", "sigmoid seed=0"]
    error = f"test error {best.data.metrics['test/error_percent']:.2f}%"
    assert error in best.data.tags["mlflow.note.content"]
    assert link(study).endswith("&viewStateShareKey=cnnlab-won")
    model = study.client.get_model_version_by_alias("brief", "best")
    assert (model.run_id, str(model.version)) == (best.info.run_id, "1") and "models:/brief@best" in note
    assert (
        model.description
        == f"{note.split()[0]}: validation error {best.data.metrics['val/error_percent']:.2f}%, mean of 1 seed"
    )
    report_again(study)  # nothing is written twice
    assert tags(study) == said and len(study.client.search_model_versions("name = 'brief'")) == 1


def test_a_registered_network_says_the_mean_of_all_its_seeds(study: Study, inside: Home) -> None:
    first = study.client.get_model_version_by_alias("brief", "best")
    activation = first.description.partition(":")[0]
    made(f"activation={activation}", "seed=1")
    report_again(study)
    again = study.client.get_model_version("brief", first.version)
    errors = [
        run.data.metrics["val/error_percent"]
        for run in inside.runs("brief")
        if run.data.params["activation"] == activation
    ]
    assert again.description == f"{activation}: validation error {np.mean(errors):.2f}%, mean of 2 seeds"


def test_the_view_of_several_seeds_is_of_arms_and_another_of_all_runs(study: Study, inside: Home) -> None:
    study.client.set_experiment_tag(study.experiment_id, view_tag("cnnlab-old"), "{}")
    made("activation=relu", "seed=1")
    report_again(study)
    won, every = views(study).values()
    assert list(views(study)) == list(NAMES) and "**Every run** has the runs one by one" in tags(study)[NOTE]
    assert every["groupBy"] is None and every["searchFilter"] == "tags.`cnnlab.kind` = 'run'"
    assert won["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "cnnlab.arm"}]
    assert won["groupsExpanded"] == {"tag.cnnlab.arm.sigmoid": False, "tag.cnnlab.arm.relu": False}
    assert sorted(run.data.tags["cnnlab.arm"] for run in inside.runs("brief")) == ["relu", "relu", "sigmoid"]
    assert inside.runs("brief", "means") == []


def test_a_large_study_keeps_the_means_of_its_arms(study: Study, inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.tracking.views.LOADED", 2)
    made("activation=relu", "seed=1")
    report_again(study)
    won, every = views(study).values()
    assert won["searchFilter"] == "tags.`cnnlab.kind` = 'means'" and won["groupBy"] is every["groupBy"] is None
    kept = {str(run.info.run_name): run for run in inside.runs("brief", "means")}
    assert {name: run.data.params for name, run in kept.items()} == {
        "relu": {"activation": "relu"},
        "sigmoid": {"activation": "sigmoid"},
    }
    runs = [run for run in inside.runs("brief") if run.data.params["activation"] == "relu"]
    for error in ("val/error_percent", "test/error_percent"):
        assert kept["relu"].data.metrics[error] == pytest.approx(np.mean([run.data.metrics[error] for run in runs]))
    assert kept["relu"].data.tags[NOTE].startswith("The mean of 2 runs, a seed each")
    curves = [inside.curves(run)["val/error_percent"] for run in (*runs, kept["relu"])]
    assert curves[2] == pytest.approx({epoch: (curves[0][epoch] + curves[1][epoch]) / 2 for epoch in (1, 2)})
    report_again(study)  # the same runs have the same means
    assert {run.info.run_id for run in inside.runs("brief", "means")} == {run.info.run_id for run in kept.values()}
    made("activation=relu", "seed=2")
    report_again(study)
    again = {str(run.info.run_name): run for run in inside.runs("brief", "means")}
    assert again.keys() == kept.keys() and again["sigmoid"].info.run_id == kept["sigmoid"].info.run_id
    assert again["relu"].info.run_id != kept["relu"].info.run_id


def test_an_error_that_an_arm_does_not_have_is_no_mean() -> None:
    record = RunRecord("id", {"activation": "relu", "seed": "0"}, "FINISHED", {"test/error_percent": 1.0})
    (arm,) = arms([record], swept([record]))
    found = _means(arm, ["val/error_percent", "test/error_percent"], [])
    assert found == {"val/error_percent": {}, "test/error_percent": {0: 1.0}}


def test_means_that_a_member_may_not_delete_are_set_aside(
    study: Study, inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server where only who has made a study may."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    def refused(client: object, run_id: str) -> None:
        raise MlflowException("Permission denied", PERMISSION_DENIED)

    monkeypatch.setattr("cnnlab.tracking.views.LOADED", 2)
    monkeypatch.setattr(type(study.client), "delete_run", refused)
    for seed in (1, 2):
        made("activation=relu", f"seed={seed}")
        report_again(study)
    assert sorted(str(run.info.run_name) for run in inside.runs("brief", "means")) == ["relu", "sigmoid"]
    (old,) = inside.runs("brief", "removed")
    assert (old.info.run_name, old.info.status) == ("relu", "KILLED")


def test_a_store_that_keeps_no_views_fails_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    words = {"activation": "relu", "seed": "0"}
    record = RunRecord("id", words, "FINISHED", {"test/error_percent": 1.0})
    study = Study(SimpleNamespace(), "1", "broken")  # type: ignore[arg-type]
    show(study, [], arms([record], swept([record])), "Why?", [])
    assert link(study).endswith("/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("epochs=1",), (1,)),  # with one step alone there is no slider: the page shows that one
        (("epochs=2",), (0, 2)),
        (("epochs=6",), (0, 2, 4, 6)),
        (("epochs=5", "confusion_every=2"), (0, 4, 5)),
    ],
)
def test_a_run_shows_pictures_by_epoch_from_the_untrained_network_on(
    words: tuple[str, ...], steps: tuple[int, ...], inside: Home
) -> None:
    """No more of them than there are epochs to see: the slider of MLflow's page opens at step 0."""
    from PIL import Image

    run = inside.client().get_run(made(*words))
    files = inside.artifacts(run)
    assert run.data.tags["mlflow.loggedImages"] == "True"
    shown = [name.removeprefix("images/").split("+") for name in files if name.startswith("images/")]
    found = {(key, int(step)) for key, _, step, *_ in shown}
    assert found == {(key, step) for key in ("confusion", "kernels", "activations") for step in steps}
    assert len(shown) == 2 * len(found)  # each large and small
    for name, file in files.items():
        if name.startswith("images/"):
            assert name.endswith(("+compressed.webp", ".png")) and len(np.unique(np.asarray(Image.open(file)))) > 10
    every = 2 if "confusion_every=2" in words else 1
    epochs = {*range(every, steps[-1] + 1, every), steps[-1]}
    kept = {"test", *(f"val_epoch_00{epoch}" for epoch in epochs)}
    matrices = {name for name in files if name.startswith("confusion/")}
    assert matrices == {f"confusion/{name}.{kind}" for name in kept for kind in ("png", "json")}


def test_runs_of_one_seed_show_the_same_untrained_network(inside: Home) -> None:
    def shown(words: str, step: int) -> dict[str, bytes]:
        files = inside.artifacts(inside.client().get_run(made(words)))
        return {name.split("+")[0]: file.read_bytes() for name, file in files.items() if f"+step+{step}+" in name}

    first = shown("epochs=2", 0)
    assert len(first) == 3 and first == shown("epochs=3", 0)
    other, trained = shown("seed=1", 0), shown("epochs=4", 4)
    assert all(first[key] not in (other[key], trained[key]) for key in first)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_kept_model_gives_probabilities_where_asked_and_takes_the_usual_shapes(inside: Home) -> None:
    run = inside.client().get_run(made("activation=relu"))
    model = inside.model(run)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    answers, shares = model.predict(pixels), model.predict(pixels, params={"probabilities": True})
    assert shares.shape == (20, 10) and np.allclose(shares.sum(1), 1) and (shares.argmax(1) == answers).all()
    alike = [pixels.astype(float), pixels / 255, pixels.reshape(20, 784), pixels[..., None], pixels[:, None]]
    for same in (*alike, (pixels / 255).astype(np.float32), pixels.tolist(), (pixels / 255).tolist()):
        assert (model.predict(same) == answers).all()
    refused = {"10,001 images: choose at most 10,000": np.zeros((10_001, 28, 28), np.uint8)}
    refused |= {
        "images of shape \\(20, 27, 28\\): choose": pixels[:, :27],
        "pixels from 0 to 510": 2 * pixels.astype(int),
    }
    for said, images in refused.items():
        with pytest.raises(ValueError, match=said):
            model.predict(images)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_kept_model_takes_one_thread_unless_told_otherwise(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = inside.model(inside.client().get_run(made("activation=relu"))).unwrap_python_model()
    seen = list[int]()

    def look(images: np.ndarray) -> None:
        seen.extend(pool["num_threads"] for pool in threadpool_info())

    inner.predictor = SimpleNamespace(predict=look)
    inner.predict(None, [])
    assert seen and set(seen) == {1}
    monkeypatch.setenv("CNNLAB_THREADS", "none")
    with pytest.raises(ValueError, match=r"^CNNLAB_THREADS=none: choose a whole number above 0"):
        inner.predict(None, [])


def test_two_runs_are_compared_image_by_image(inside: Home, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = made("activation=sigmoid"), made("activation=relu")
    capsys.readouterr()
    compare.main([a, b])
    said = capsys.readouterr().out
    counts = [int(word) for word in said.splitlines()[2].replace(",", "").split() if word.isdecimal()]
    given = [np.load(inside.artifacts(inside.client().get_run(run))["answers.npz"]) for run in (a, b)]
    right = [one["answers"] == one["labels"] for one in given]
    expected = [right[0] & right[1], right[0] & ~right[1], ~right[0] & right[1], ~right[0] & ~right[1]]
    assert counts == [int(which.sum()) for which in expected]
    (study,) = studies()
    assert run_link(study, a) in said and run_link(study, b) in said and "McNemar's exact p" in said
    assert [path.name for path in (inside.folder / "reports/compare").iterdir()] == [f"{a[:8]}-{b[:8]}.png"]


OWN = ("tags.course='ml101'", "tags.group=3", "description='Of **lesson 2**, as asked'")


def test_own_tags_and_a_description_describe_a_run_and_make_no_other(inside: Home, tmp_path: Path) -> None:
    plain, described = plan_of(*BRIEF), plan_of(*BRIEF, *OWN)
    assert (plain.key, plain.code, plain.words, plain.label) == (
        *(described.key, described.code),
        *(described.words, described.label),
    )
    run = made(*OWN)
    found = inside.client().get_run(run).data.tags
    assert (found["course"], found["group"]) == ("ml101", "3")
    assert found["mlflow.note.content"].startswith(f"Of **lesson 2**, as asked\n\n{plain.label}: validation error ")
    assert {name for name in found if "." not in name} == {"course", "group", *OURS} - {"diverged"}
    again = make(plan_of(*BRIEF, "tags.group=4"), RunLog(), Watcher())  # finished, and described anew
    assert (again.status, again.run_id) == ("skipped", run)
    (study,) = studies()
    report_again(study)
    found = inside.client().get_run(run).data.tags
    assert (found["course"], found["group"]) == ("ml101", "4")
    assert found["mlflow.note.content"].startswith("Of **lesson 2**, as asked\n\n")
    assert "validation error" in found["mlflow.note.content"]
    sweep = Sweep([plan_of(*BRIEF, "description=new")], "", None, {}, [])
    runs, failed = make_missing(sweep, {study.name: study}, lambda numbers: pytest.fail("it is finished"), tmp_path)
    assert [each.data.tags["mlflow.note.content"] for each in runs.values()] == ["new"] and not failed


def test_what_cannot_be_compared_gets_one_line(inside: Home) -> None:
    run = made()
    made("seed=1")
    for words in ([run, "nothing"], [run, "brief"]):
        with pytest.raises(ValueError) as error:
            compare.main(words)
        assert is_one_line(str(error.value)) and words[1] in str(error.value)


def test_tags_of_old_runs_are_read_without_their_prefix() -> None:
    def run(**found: str) -> Any:
        return SimpleNamespace(
            data=SimpleNamespace(tags={name.replace("_", "."): said for name, said in found.items()})
        )

    assert [tag(one, "cnnlab.host") for one in (run(cnnlab_host="a"), run(host="b"), run())] == ["a", "b", ""]
