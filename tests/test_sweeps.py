"""Sweeps by the command line: every arm once, a summary, and one failing arm that stops no other."""

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from cnnlab.recording import Outcome
from tests.conftest import LIMIT, SMALL, Home, Said, arms_of, end, kill, plan_of, wait_for
from tests.test_config import leaves

from cnnlab.config import Plan
from cnnlab.sweeps import Sweep, run_sweep
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import FINGERPRINT, KIND

pytestmark = pytest.mark.slow
ONE_WORKER = "hydra.launcher.n_jobs=1"
TINY = ("epochs=1", *SMALL, ONE_WORKER)


@pytest.fixture(scope="session")
def smoke(
    shared: Path, once: Callable[..., Any], new_home: Callable[..., Home], data_folder: Path
) -> tuple[Home, list[Said]]:
    """`sweep=smoke`, twice."""
    home = Home(shared / "smoke", data_folder)

    def make() -> list[list[Any]]:
        new_home(home.folder)
        return [[said.code, said.out, said.err] for said in (home.train("sweep=smoke"), home.train("sweep=smoke"))]

    return home, [Said(*said) for said in once("smoke", make)]


def test_the_first_time_every_arm_is_made(smoke: tuple[Home, list[Said]]) -> None:
    home, (said, _) = smoke
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "smoke: 2 arms to do, 0 finished, 2 workers"
    assert sum("/2  finished " in line for line in lines) == 2
    assert any(line.startswith("report: ") and "reports/smoke/index.html" in line for line in lines)
    assert any("/#/experiments/" in line for line in lines)
    runs = home.runs("smoke")
    assert [run.info.status for run in runs] == 2 * ["FINISHED"]
    assert {run.data.tags["cnnlab.sweep"] for run in runs} == {"smoke"}
    assert {run.data.params["activation"] for run in runs} == {"tanh", "relu"}
    expected = sorted(arm.fingerprint for arm in arms_of("smoke"))
    assert sorted(run.data.tags["cnnlab.fingerprint"] for run in runs) == expected
    assert {run.data.tags["blas.threads"] for run in runs} == {"1"}
    assert not home.checkpoints()


def test_the_second_time_nothing_is_done(smoke: tuple[Home, list[Said]]) -> None:
    home, (_, said) = smoke
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "smoke: all 2 arms are finished, nothing to do"
    assert len(home.runs("smoke")) == 2 and len(home.runs("smoke", "summary")) == 1


def test_the_summary_carries_the_report_and_no_metrics(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    summary = home.run("smoke", "summary")
    assert (summary.info.status, summary.data.metrics) == ("FINISHED", {})
    assert "cnnlab.sweep" not in summary.data.tags
    files = home.artifacts(summary)
    assert {"report/report.md", "report/index.html", "arms.json"} <= files.keys()
    assert any(name.startswith("report/") and name.endswith(".png") for name in files)
    fingerprints = sorted(run.data.tags["cnnlab.fingerprint"] for run in home.runs("smoke"))
    kept = json.loads(files["arms.json"].read_text())
    assert sorted(kept["fingerprints"]) == fingerprints and "sweep=smoke" in kept["command"]
    page = files["report/index.html"].read_text()
    assert all(f"{100 * run.data.metrics['test/error']:.2f}" in page for run in home.runs("smoke"))
    assert (home.folder / "reports/smoke/index.html").is_file()


def test_arms_differ_in_the_swept_words_only(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    tanh, relu = (
        dict(leaves(yaml.safe_load(home.artifacts(run)["config/config.yaml"].read_text())))
        for run in sorted(home.runs("smoke"), key=lambda run: run.data.params["activation"] == "relu")
    )
    differing = {path for path in tanh.keys() | relu.keys() if tanh.get(path) != relu.get(path)}
    assert {path for path in differing if "activation" not in path} <= {("lr",)}
    assert tanh["data", "train"] == relu["data", "train"] == 400


def test_one_failing_arm_stops_no_other(home: Home) -> None:
    said = home.train("-m", "pooling=stochastic,avg", "activation=tanh", "study=half", *TINY)
    assert (said.code, said.err) == (1, "")
    runs = {run.data.params["pooling"]: run for run in home.runs("half")}
    assert {pooling: run.info.status for pooling, run in runs.items()} == {"avg": "FINISHED", "stochastic": "FAILED"}
    (last,) = (line for line in said.out.splitlines() if line.startswith("FAILED"))
    assert last == said.out.splitlines()[-1]
    assert "tanh cross_entropy stochastic" in last and "never negative" in last
    assert "Traceback" in home.artifacts(runs["stochastic"])["traceback.txt"].read_text()
    assert home.runs("half", "summary") == []


def test_two_sweeps_at_once_share_the_arms(fresh_home: Home) -> None:
    """On a store that neither has made yet."""
    words = ("sweep=smoke", ONE_WORKER, "data.train=600", "epochs=2")
    processes = [fresh_home.start(*words), fresh_home.start(*words)]
    ends = [end(process) for process in processes]
    assert [(said.code, said.err) for said in ends] == 2 * [(0, "")], ends
    runs = fresh_home.runs("smoke")
    assert sorted(run.data.params["activation"] for run in runs) == ["relu", "tanh"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_workers_end_when_their_sweep_is_killed(home: Home) -> None:
    process = home.start("sweep=smoke", "seed=0,1,2", "epochs=2000")
    wait_for(home.checkpoints, process)
    os.kill(process.pid, signal.SIGKILL)  # it alone, as the system does when memory is short
    process.wait()
    limit = time.monotonic() + LIMIT
    with suppress(ProcessLookupError):
        while time.monotonic() < limit:
            os.killpg(process.pid, 0)  # somebody is left
            time.sleep(0.1)
    kill(process)
    assert time.monotonic() < limit
    assert [run.info.status for run in home.runs("smoke")] == 2 * ["KILLED"] and home.checkpoints()


def test_a_sweep_killed_twice_ends_with_every_arm_once(home: Home) -> None:
    words = ("sweep=smoke", "epochs=8", "data.train=900")
    process = home.start(*words)
    wait_for(home.checkpoints, process)
    kill(process)  # in the middle of the training
    assert {run.info.status for run in home.runs("smoke")} == {"RUNNING"}
    process = home.start(*words)
    wait_for(lambda: list(home.folder.glob("mlartifacts/smoke/*/artifacts")), process)
    kill(process)  # in the middle of the keeping
    said = home.train(*words)
    assert (said.code, said.err) == (0, "")
    runs = home.runs("smoke")
    finished = [run.data.params["activation"] for run in runs if run.info.status == "FINISHED"]
    assert sorted(finished) == ["relu", "tanh"]
    assert {run.info.status for run in runs} == {"FINISHED", "KILLED"}
    assert len(home.runs("smoke", "summary")) == 1 and not home.checkpoints()


@pytest.mark.slow
def test_the_command_of_a_report_can_be_given_again(home: Home) -> None:
    words = ("-m", "data=digits", "data.train=200", "epochs=1", "study=again", "model=mlp", "model.hidden=[4]")
    assert home.train(*words, "activation=tanh,relu").code == 0
    page = (home.folder / "reports/again/report.md").read_text()
    (command,) = (line.strip() for line in page.splitlines() if line.startswith("    python experiments/train.py"))
    assert "all 2 arms are finished" in home.train(*shlex.split(command)[2:]).out


@pytest.mark.parametrize("again", [False, True], ids=["first time", "rerun"])
@pytest.mark.parametrize(("each", "asked", "failed"), [(2, [[0, 1]], 0), (1, [[0, 1], [1]], 0), (0, 3 * [[0, 1]], 2)])
def test_a_launcher_that_dies_is_started_again_for_what_is_left(
    each: int, asked: list[list[int]], failed: int, again: bool, inside: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    plans, launched = [plan_of(f"seed={seed}", f"rerun={again}") for seed in (0, 1)], []

    def make(plan: Plan) -> None:
        log = RunLog()
        log.begin(plan.study, plan.label, {}, {FINGERPRINT: plan.fingerprint, KIND: "run"}, again)
        log.close("FINISHED")

    def launch(numbers: Sequence[int]) -> list[Outcome]:
        launched.append(list(numbers))
        for number in numbers[:each]:
            make(plans[number])
        raise RuntimeError("a worker\nwas killed")

    if again:
        for plan in plans:
            make(plan)
        time.sleep(0.01)
    assert run_sweep(Sweep(plans, "a command", 1), launch, lambda *_: None) == failed
    assert launched == asked
    said = capsys.readouterr().out
    assert said.count("the launcher died (a worker was killed)") == len(asked)
    assert said.count("its worker died") == failed
