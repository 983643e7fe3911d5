"""Sweeps by the command line: every arm once, a summary, and whatever dies or fails costs no other arm."""

import errno
import json
import os
import random
import re
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import numpy as np
import psutil
import pytest
import yaml
from omegaconf import OmegaConf
from tests import fake_slurm
from tests.conftest import CONF, SMALL, Home, Said, arms_of, composed, end, is_one_line, plan_of, theta_of, wait_for

from cnnlab.composing import Plan, Sweep, sweep_of, told_apart
from cnnlab.orphans import MARK
from cnnlab.report.arms import RunRecord, swept
from cnnlab.report.arms import arms as group
from cnnlab.report.contrasts import Contrast, stairs
from cnnlab.summaries import report_again
from cnnlab.sweeps import Notices, duration, make_arm, run_sweep, time_left
from cnnlab.tracking import records
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.records import _say_once
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, Study
from hydra_plugins.cnnlab_launchers import SlurmLauncher, _heeding

slow = pytest.mark.slow
TINY = ("epochs=1", *SMALL)
TINIEST = ("data=digits", "data.train=200", "model=mlp", "model.hidden=[4]", "epochs=1")
DEADLY = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from cnnlab.nn import Tanh

@dataclass(frozen=True)
class Deadly(Tanh):
    '''Kills the worker that trains it, so many times.'''

    times: int = 1

    def f(self, x, y):
        folder = Path(os.environ["DEATHS"])
        deaths = len(list(folder.iterdir()))
        if "CNNLAB_SWEEP" in os.environ and deaths < self.times:
            (folder / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().f(x, y)
"""
IMPATIENT = {  # launchers that look for 15 seconds for a result of a dead worker: a shared folder may be slow
    "submitit_local": "from submitit.core.core import Job\n\nJob._results_timeout_s = 1\n",
    "slurm": "from hydra_plugins import cnnlab_launchers\n\ncnnlab_launchers.LATE = 1.0\n",
}


def files(folder: Path) -> set[str]:
    """Every file and folder below a home, but for its configs."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in nested dicts, with the way to it."""
    if not isinstance(node, dict):
        yield path, node
        return
    for name, value in node.items():
        yield from leaves(value, (*path, name))


def arms_said(said: Said) -> list[str]:
    """The lines of the arms that ended."""
    return [line for line in said.out.splitlines() if " done" in line and " of " in line]


@pytest.fixture(scope="session")
def smoke(
    shared: Path, once: Callable[..., Any], new_home: Callable[..., Home], data_folder: Path
) -> tuple[Home, list[Said]]:
    """`cnnlab sweep smoke`, twice."""
    home = Home(shared / "smoke", data_folder)

    def make() -> list[list[Any]]:
        new_home(home.folder)
        ends = [home.command("sweep", "smoke") for _ in range(2)]
        return [[said.code, said.out, said.err] for said in ends]

    return home, [Said(*said) for said in once("smoke", make)]


@slow
def test_the_first_time_every_arm_is_made(smoke: tuple[Home, list[Said]]) -> None:
    home, (said, _) = smoke
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "smoke: 2 arms to do, 0 finished, 2 workers"
    first, second = arms_said(said)
    assert first.startswith("1 of 2 done: finished ")  # one of two workers says nothing of the time that is left
    assert second.startswith("2 of 2 done: finished ")
    assert {line.split()[5] for line in (first, second)} == {"relu", "tanh"} and "seed" not in first + second
    shared = [line for line in lines if line.startswith("smoke: all arms have ")]
    assert len(shared) == 1 and "cross_entropy" in shared[0] and shared[0].endswith(" seed=0 epochs=1")
    assert any(line.startswith("report: ") and "reports/smoke/index.html" in line for line in lines)
    assert any("/#/experiments/" in line for line in lines)
    runs = home.runs("smoke")
    assert [run.info.status for run in runs] == 2 * ["FINISHED"]
    assert {run.data.tags["cnnlab.sweep"] for run in runs} == {"smoke"}
    assert {run.data.params["activation"] for run in runs} == {"tanh", "relu"}
    expected = sorted(arm.fingerprint for arm in arms_of("smoke"))
    assert sorted(run.data.tags["cnnlab.fingerprint"] for run in runs) == expected
    assert {run.data.tags["blas.threads"] for run in runs} == {"1"}


@slow
def test_the_second_time_nothing_is_done(smoke: tuple[Home, list[Said]]) -> None:
    home, (_, said) = smoke
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "smoke: nothing to do, 2 arms finished"
    assert len(home.runs("smoke")) == 2 and len(home.runs("smoke", "summary")) == 1


@slow
def test_no_lock_sweep_or_temporary_folder_stays(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    assert home.leftovers() == [] and list((home.folder / "outputs/sweeps").iterdir()) == []
    assert {path.name for path in home.folder.iterdir()} == {
        *("conf", "mlartifacts", "mlflow.db", "outputs", "reports")
    }


@slow
def test_the_summary_carries_the_report_and_no_metrics(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    summary = home.run("smoke", "summary")
    assert (summary.info.status, summary.data.metrics) == ("FINISHED", {})
    assert "cnnlab.sweep" not in summary.data.tags
    kept = home.artifacts(summary)
    assert {"report/report.md", "report/index.html", "arms.json"} <= kept.keys()
    assert any(name.startswith("report/") and name.endswith(".png") for name in kept)
    fingerprints = sorted(run.data.tags["cnnlab.fingerprint"] for run in home.runs("smoke"))
    arms = json.loads(kept["arms.json"].read_text())
    assert sorted(arms["fingerprints"]) == fingerprints and arms["command"] == "cnnlab sweep smoke"
    page = kept["report/index.html"].read_text()
    assert all(f"{run.data.metrics['test/error_percent']:.2f}" in page for run in home.runs("smoke"))
    assert (home.folder / "reports/smoke/index.html").is_file()


@slow
def test_arms_differ_in_the_swept_words_only(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    tanh, relu = (
        dict(leaves(yaml.safe_load(home.artifacts(run)["config/config.yaml"].read_text())))
        for run in sorted(home.runs("smoke"), key=lambda run: run.data.params["activation"] == "relu")
    )
    differing = {path for path in tanh.keys() | relu.keys() if tanh.get(path) != relu.get(path)}
    assert {path for path in differing if "activation" not in path} <= {("lr",), ("learner", "lr")}
    assert tanh["data", "train"] == relu["data", "train"] == 400


@slow
def test_a_dry_run_says_which_arms_are_finished_and_makes_none(smoke: tuple[Home, list[Said]]) -> None:
    home, _ = smoke
    said = home.command("sweep", "smoke", "--dry-run", "--seeds", "2", "--jobs", "1")
    assert (said.code, said.err) == (0, "")
    *arms, last = said.out.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in sorted(arms)] == [
        *2 * [("finished", "seed=0")],
        *2 * [("to", "seed=1")],
    ]
    assert last == "2 of 4 arms are finished"
    assert len(home.runs("smoke")) == 2


@slow
@pytest.mark.parametrize("launcher", ["basic", "submitit_local", "slurm"])
def test_another_launcher_says_as_much(launcher: str, home: Home, tmp_path: Path) -> None:
    """In a study of a group, whose own report it is kept apart from."""
    words = ("smoke", "--launcher", launcher, "data.train=300", "study=group/in")
    said = home.command("sweep", *words, OPENBLAS_NUM_THREADS="2", **fake_slurm.install(tmp_path / "slurm"))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "group/in: 2 arms to do, 0 finished"
    assert [line.split(":")[0].split(",")[0] for line in arms_said(said)] == ["1 of 2 done", "2 of 2 done"]
    assert {run.data.tags["blas.threads"] for run in home.runs("group/in")} == {"1"}
    assert list(home.temporary.iterdir()) == [] and list((home.folder / "outputs/state").iterdir()) == []
    assert [path.name for path in (home.folder / "reports").iterdir()] == ["group"]
    assert (home.folder / "reports/group/in/index.html").is_file()
    assert [path.name for path in (home.folder / "mlartifacts").iterdir()] == ["group"]
    above = home.command("sweep", "smoke", "--launcher", "basic", "data.train=300", "study=group")
    assert above.code == 0 and "was done in another study" in above.out
    kept = home.artifacts(home.run("group", "summary"))
    assert "report/index.html" in kept and not any(name.startswith("report/in/") for name in kept)


@slow
def test_arms_that_fail_or_cannot_be_stop_no_other(home: Home) -> None:
    said = home.train("-m", "pooling=stochastic,avg", "activation=tanh,relu", "lr=1e30", "study=half", *TINY)
    assert (said.code, said.err) == (1, "")
    runs = {(run.data.params["activation"], run.data.params["pooling"]): run for run in home.runs("half")}
    assert {arm: run.info.status for arm, run in runs.items()} == {
        ("tanh", "avg"): "FINISHED",
        ("relu", "avg"): "FAILED",
        ("relu", "stochastic"): "FAILED",
    }
    refused, *failed = (line for line in said.out.splitlines() if line.startswith("FAILED"))
    assert "pooling=stochastic" in refused and "do not go together" in refused
    assert len(failed) == 2 and all("relu cross_entropy" in line and "Diverged" in line for line in failed)
    assert "Traceback" in home.artifacts(runs["relu", "avg"])["traceback.txt"].read_text()
    assert home.runs("half", "summary") == []


@slow
def test_two_sweeps_at_once_share_the_arms(fresh_home: Home) -> None:
    """On a store that neither has made yet."""
    words = ("smoke", "--jobs", "1", "data.train=600", "epochs=2")
    processes = [fresh_home.start(*words, command="sweep") for _ in range(2)]
    ends = [end(process) for process in processes]
    assert [(said.code, said.err) for said in ends] == 2 * [(0, "")], ends
    runs = fresh_home.runs("smoke")
    assert sorted(run.data.params["activation"] for run in runs) == ["relu", "tanh"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert list((fresh_home.folder / "outputs/state").iterdir()) == []
    assert len(fresh_home.runs("smoke", "summary")) == 1


def marked(study: str) -> list[psutil.Process]:
    """All processes that carry the mark of a study's sweep."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(f"{study} "):
                found.append(process)
        except psutil.Error:
            continue
    return found


@slow
def test_a_sweep_killed_again_and_again_leaves_no_process_and_ends_with_every_arm_once(home: Home) -> None:
    """While its workers start, in the middle of the training, and at random moments in between."""
    study, rng = f"killed_{uuid4().hex}", random.Random(0)
    words = ("smoke", f"study={study}", "epochs=8", "data.train=900")
    moments: list[Callable[[], Any]] = [lambda: marked(study), home.checkpoints]
    for moment in (moments[0], moments[1], moments[0]):
        process = home.start(*words, command="sweep")
        wait_for(moment, process)
        time.sleep(rng.random() * (2 if moment is moments[0] else 0.2))
        os.kill(process.pid, signal.SIGKILL)  # it alone, as the system does when memory is short
        process.communicate()
        limit = time.monotonic() + 20  # a few seconds where nothing else is going on
        while (left := marked(study)) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not left
    said = home.command("sweep", *words)
    assert (said.code, said.err) == (0, "")
    runs = home.runs(study)
    finished = {run.data.params["activation"]: run for run in runs if run.info.status == "FINISHED"}
    assert sorted(finished) == ["relu", "tanh"]
    assert len(runs) == 2 + sum(run.info.status == "KILLED" for run in runs)
    assert len(home.runs(study, "summary")) == 1 and not home.checkpoints()
    assert list((home.folder / "outputs/state").glob("*.npz*")) == []
    assert list((home.folder / "outputs/sweeps").iterdir()) == []
    assert home.train("sweep=smoke", "activation=relu", *words[2:], "study=whole", "rerun=true").code == 0
    networks = [home.artifacts(run)["model/artifacts/network.npz"] for run in (finished["relu"], home.run("whole"))]
    assert theta_of(networks[0]).tobytes() == theta_of(networks[1]).tobytes()


@slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_sweep_says_what_is_finished_and_kept(number: signal.Signals, home: Home) -> None:
    process = home.start("smoke", "epochs=200", "data.train=900", command="sweep")
    wait_for(home.checkpoints, process)
    process.send_signal(number)
    said = end(process)
    kept = r"0 of 2 arms finished, and \d+ whole epochs? of [12] arms? under way kept"
    assert said.code != 0 and re.search(rf"(?m)^interrupted: {kept}: the same command goes on from there$", said.err)


@slow
@pytest.mark.parametrize(
    ("number", "after"), [(signal.SIGINT, 0), (signal.SIGINT, 1), (signal.SIGINT, 4), (signal.SIGHUP, 4)]
)
def test_workers_that_are_starting_answer_ctrl_c_with_no_traceback(
    number: signal.Signals, after: float, home: Home
) -> None:
    """It is pressed twice, in a terminal, which tells all processes of the command; so does one that is closed."""

    def workers() -> list[psutil.Process]:
        with suppress(psutil.Error):
            started = psutil.Process(process.pid).children(recursive=True)
            return [each for each in started if "popen_loky" in " ".join(each.cmdline())]
        return []

    process = home.start("smoke", "epochs=200", "data.train=900", "--jobs=2", command="sweep")
    wait_for(workers, process)
    time.sleep(after)
    for _ in range(2):
        os.killpg(process.pid, number)
        time.sleep(0.05)
    said = end(process)
    assert said.code != 0 and is_one_line(said.err) and said.err.startswith("interrupted: "), said.err


@pytest.mark.parametrize("place", ["sweep/.submitit/%j", "mine/%j", "mine"])
def test_a_slurm_sweep_removes_no_folder_of_the_user(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What submitit writes goes where all arms are made, unless another folder was asked for."""
    utils = pytest.importorskip("submitit.core.utils")
    paths = utils.JobPaths(tmp_path / place, "7_0")
    paths.folder.mkdir(parents=True)
    paths.result_pickle.touch()
    (tmp_path / "thesis").touch()
    launcher = SlurmLauncher(submitit_folder=str(tmp_path / place))
    cfg = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    launcher.setup(hydra_context=None, task_function=None, config=cfg)  # type: ignore[arg-type]
    job = Mock(job_id="7_0", paths=paths, result=lambda: "made")
    monkeypatch.setattr(launcher, "_submitted", lambda arms: [job])
    assert list(launcher.ends([["seed=0"]])) == [(["seed=0"], "made")]
    assert (tmp_path / "thesis").exists() and paths.folder.exists() == ("sweep" not in place)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_task_of_slurm_has_no_temporary_folder_of_another_machine(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("TMPDIR", str(tmp_path if is_there else tmp_path / "elsewhere"))
    try:
        left = _heeding(lambda cfg: os.environ.get("TMPDIR"), OmegaConf.create())
        assert left == (str(tmp_path) if is_there else None)
    finally:
        signal.signal(signal.SIGTERM, heard)


@slow
@pytest.mark.parametrize(("times", "launcher"), [(1, "workers"), (3, "workers"), (3, "submitit_local"), (1, "slurm")])
def test_an_arm_whose_worker_dies_costs_no_other(times: int, launcher: str, home: Home, tmp_path: Path) -> None:
    """On one machine, whose system may have killed a worker that did nothing wrong, it is tried again."""
    folder, deaths = home.folder / "mine", home.folder / "deaths"
    (folder / "activation").mkdir(parents=True)
    deaths.mkdir()
    (folder / "deadly.py").write_text(IMPATIENT.get(launcher, "") + DEADLY)
    (folder / "activation/deadly.yaml").write_text(f"_target_: deadly.Deadly\ntimes: {times}\n")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = ("-m", f"--config-dir={folder}", "activation=deadly,tanh,relu", "lr=0.01", *TINY, "study=deadly")
    variables = {"PYTHONPATH": path, "CNNLAB_TRUST": "deadly", "DEATHS": str(deaths)}
    variables |= fake_slurm.install(tmp_path / "slurm")
    said = home.train(*words, f"hydra/launcher={launcher}", **variables)
    assert said.err == ""
    finished = sorted(run.data.params["activation"] for run in home.runs("deadly") if run.info.status == "FINISHED")
    assert len(list(deaths.iterdir())) == times
    lost = [line for line in said.out.splitlines() if line.startswith("FAILED")]
    if launcher == "slurm":
        assert said.code == 1 and finished == ["relu", "tanh"]
        (line,) = lost
        assert "deadly cross_entropy" in line and ": its worker died: " in line
        assert "RUNNING" not in {run.info.status for run in home.runs("deadly")}
        again = home.train(*words, "hydra/launcher=slurm", **variables)
        assert again.code == 0 and again.out.startswith("deadly: 1 arm to do, 2 finished\n")
    elif times == 1:
        assert said.code == 0 and finished == ["deadly", "relu", "tanh"] and lost == []
        assert said.out.count("the launcher stopped") == 1
    else:
        assert said.code == 1 and finished == ["relu", "tanh"]
        (line,) = lost
        assert "deadly cross_entropy" in line and line.endswith("its worker died 3 times")


@slow
def test_studies_are_names_and_a_sweep_makes_all_of_them(home: Home) -> None:
    """What one has made is copied to the next."""
    names = ["1.10", "2024_01_15", "1e3", "true", "größe", "a/b"]
    said = home.train("-m", f"study={','.join(names)}", *TINIEST)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0].startswith(f"{', '.join(names)}: 6 arms to do, 0 finished")
    for name in names:
        assert home.run(name).info.status == "FINISHED", name
        assert (home.folder / "reports" / name / "index.html").is_file()
        assert (home.folder / "mlartifacts" / name / home.run(name).info.run_id).is_dir()
    assert {path.name for path in (home.folder / "reports").iterdir()} == {*names[:-1], "a"}
    assert sum("cnnlab.made_in" in home.run(name).data.tags for name in names) == 5
    assert home.train("study=0x10", *TINIEST).code == 0 and home.run("0x10").info.status == "FINISHED"


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "/abs",
        "../../x",
        "Default",
        "default",
        "a/../b",
        "a/",
        "a//b",
        ".a",
        "",
        "a b",
        "-a",
        "ä/ö/../..",
        "x" * 64,
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^study=.*: choose a name of letters, digits") as refused:
        plan_of(f"study='{name}'", *TINIEST)
    assert is_one_line(str(refused.value))


@slow
@pytest.mark.parametrize("words", [("study=../x",), ("-m", "study=../../x,Default")], ids=["run", "sweep"])
def test_a_refused_name_writes_nothing(words: tuple[str, ...], home: Home) -> None:
    home.temporary.mkdir()
    before = files(home.folder.parent)
    said = home.train(*words, *TINIEST)
    assert said.code == 1 and is_one_line(said.err) and "choose a name of letters" in said.err
    assert files(home.folder.parent) == before


@slow
def test_the_command_of_a_report_can_be_given_again(home: Home) -> None:
    assert home.train("-m", *TINIEST, "study=again", "activation=tanh,relu").code == 0
    page = (home.folder / "reports/again/report.md").read_text()
    (command,) = (line.strip() for line in page.splitlines() if line.startswith("    cnnlab train"))
    assert "nothing to do, 2 arms finished" in home.train(*shlex.split(command)[2:]).out


def test_the_command_of_a_named_sweep_is_in_the_words_of_cnnlab_sweep() -> None:
    asked = sweep_of("smoke", ["hydra/launcher=basic", "seed=0,1", *TINIEST])
    assert asked.command == shlex.join(["cnnlab", "sweep", "smoke", "--launcher=basic", "seed=0,1", *TINIEST])
    assert "smoke --jobs=3 " in sweep_of("smoke", ["hydra.launcher.n_jobs=3", *TINIEST]).command


@slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("hydra.launcher.n_jobs=0",), "hydra.launcher.n_jobs=0: choose a whole number from 1 up"),
        (("--launcher", "submitit_slurm"), 'no arm could begin: Could not detect "srun"'),
        (("--launcher", "basic", "--jobs", "2"), "cnnlab sweep: argument --jobs: goes with the launchers joblib"),
        (("--jobs", "0"), "cnnlab sweep: argument --jobs: invalid whole number above 0 value: '0'"),
        (("--only", "linear"), "--only linear: this sweep is a grid, which has no rows"),
    ],
)
def test_what_cannot_be_launched_gets_one_line(words: tuple[str, ...], line: str, home: Home) -> None:
    said = home.command("sweep", "smoke", *words, PATH=os.devnull)  # Slurm may be installed
    assert said.code in (1, 2) and is_one_line(said.err) and said.err.startswith(line)
    assert home.runs("smoke") == []


@slow
def test_the_list_has_every_sweep_and_its_question(home: Home) -> None:
    said = home.command("sweep", "--list")
    assert (said.code, said.err) == (0, "")
    lines = [line for line in said.out.splitlines() if not line.startswith(" ")]  # others go on with a question
    listed = {line.split()[0]: line.partition(" ")[2].strip() for line in lines}
    assert listed.keys() == {file.stem for file in (CONF / "sweep").glob("*.yaml")} and all(listed.values())
    assert home.command("sweep", "nothing").err.startswith("sweep=nothing: there is no such choice")


def record(plan: Plan, code: str = "") -> None:
    """A finished record of a plan, without any training."""
    log = RunLog()
    tags = {FINGERPRINT: plan.fingerprint, CODE: code or plan.code, KIND: "run", "machine": "m", "python": "3"}
    tags |= {"blas": "b", "blas.threads": "1", "git.commit": "none", "git.dirty": "false"}
    log.begin(plan.study, plan.label, plan.words | {"epochs": "none"}, tags, "true")
    log.text("config/config.yaml", "learner:\ndata:\n")
    log.arrays("answers.npz", answers=np.array([0, 1]), labels=np.array([0, 1]))
    log.metrics({"test/error_percent": 1.0, "time/total_s": 1.0})
    log.upload()
    log.close("FINISHED")


class Launcher:
    """Launches arms without training them: each launch makes `each` of them, leaves the next under way and dies."""

    def __init__(self, plans: Sequence[Plan], folder: Path, each: int, begins: bool) -> None:
        self.plans, self.notices, self.each, self.begins = plans, Notices(folder), each, begins
        self.launched: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> None:
        self.launched.append(list(numbers))
        for number in numbers[: self.each]:
            record(self.plans[number])
            self.notices.post(self.plans[number].overrides, "finished", "finished")
        if self.begins and numbers[self.each :]:
            self.notices.post(self.plans[numbers[self.each]].overrides, "begun")
        if numbers[self.each :]:
            raise RuntimeError("a worker\nwas killed")


@pytest.mark.parametrize("rerun", ["false", "true"])
@pytest.mark.parametrize(
    ("each", "begins", "launched"),
    [
        (3, True, [[0, 1, 2]]),
        (1, True, [[0, 1, 2], [1], [2]]),
        (2, True, [[0, 1, 2], [2]]),
        (1, False, [[0, 1, 2], [1, 2], [2]]),
        (0, True, [[0, 1, 2], *2 * [[0]], [1, 2], *2 * [[1]], *3 * [[2]]]),
        (0, False, 3 * [[0, 1, 2]]),
    ],
)
def test_a_launcher_that_dies_is_started_again_for_what_is_left(
    each: int,
    begins: bool,
    launched: list[list[int]],
    rerun: str,
    inside: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was under way is launched alone; where three launches begin nothing, the sweep ends."""
    plans = [plan_of(*TINIEST, f"seed={seed}", f"rerun={rerun}", "study=fake") for seed in range(3)]
    for plan in plans if rerun == "true" else ():
        record(plan)
    launch, folder = Launcher(plans, tmp_path / "sweep", each, begins), tmp_path / "sweep"
    sweep = Sweep(plans, "a command", 1, {}, [])
    if each == 0 and not begins:
        with pytest.raises(OSError, match=r"^no arm could begin: a worker was killed$"):
            run_sweep(sweep, launch, folder)
    else:
        assert run_sweep(sweep, launch, folder) == (3 if each == 0 else 0)
    assert launch.launched == launched and not folder.exists()
    said = capsys.readouterr().out
    assert said.count("its worker died 3 times") == (3 if each == 0 and begins else 0)
    assert sum(" of 3 done" in line for line in said.splitlines()) == len(plans) * bool(each)


def test_only_what_other_code_has_made_is_made_again(
    inside: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [plan_of(*TINIEST, f"seed={seed}", "study=fake") for seed in range(3)]
    for plan, code in zip(plans, ("", "older", ""), strict=True):
        record(plan, code)
    launch = Launcher(plans, tmp_path / "sweep", 1, False)
    assert run_sweep(Sweep(plans, "a command", 1, {}, []), launch, tmp_path / "sweep") == 0
    said, page = capsys.readouterr().out, inside.folder / "reports/fake/index.html"
    assert "nothing to do, 3 arms finished" in said and launch.launched == []
    assert "fake: 1 of these were made by other code than today's; rerun=changed makes them again" in said
    assert page.read_text().count("finished, by other code") == 1
    changed = [replace(plan, config=plan.config | {"rerun": "changed"}) for plan in plans]
    assert run_sweep(Sweep(changed, "a command", 1, {}, []), launch, tmp_path / "sweep") == 0
    assert launch.launched == [[1]] and "other code" not in capsys.readouterr().out
    assert "by other code" not in page.read_text()


def test_a_change_of_the_code_reaches_a_report_of_finished_arms(inside: Home, tmp_path: Path) -> None:
    plans = [plan_of(*TINIEST, f"seed={seed}", "study=fake") for seed in range(2)]
    for plan in plans:
        record(plan)
    page = inside.folder / "reports/fake/index.html"
    for code, marks in ((plans[0].code, 0), ("newer", 3)):
        today = [replace(plan, code=code) for plan in plans]
        assert run_sweep(Sweep(today, "a command", 1, {}, []), pytest.fail, tmp_path / "sweep") == 0
        assert page.read_text().count("finished, by other code") == marks  # two runs and their arm
    assert len(inside.runs("fake", "summary")) == 2


@pytest.mark.parametrize("gone", ["", "answers.npz"])
def test_a_finished_run_that_lost_its_files_stops_no_other(
    gone: str, inside: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [plan_of(*TINIEST, f"seed={seed}", "study=fake") for seed in range(3)]
    for plan in plans:
        record(plan)
    lost = inside.runs("fake")[1]
    kept = inside.folder / "mlartifacts/fake" / lost.info.run_id / "artifacts"
    (kept / gone).unlink() if gone else shutil.rmtree(kept)
    sweep, folder = Sweep(plans, "a command", 1, {}, []), tmp_path / "sweep"
    line = f"run {lost.info.run_id} of study fake ({plans[1].label}) lacks files that runs keep"
    page = inside.folder / "reports/fake/index.html"
    for ask in (lambda: run_sweep(sweep, pytest.fail, folder), lambda: report_again(Study.open("fake"))):
        _say_once.cache_clear()  # as in another process
        page.unlink(missing_ok=True)
        assert ask() in (0, page.parent)
        (said,) = (line for line in capsys.readouterr().out.splitlines() if "lacks files" in line)
        assert said == f"{line}: rerun=true makes it again"
        assert page.read_text().count("finished") >= 3
    again = [replace(plan, config=plan.config | {"rerun": "true"}) for plan in plans]
    assert run_sweep(Sweep(again, "a command", 1, {}, []), Launcher(plans, folder, 3, False), folder) == 0
    _say_once.cache_clear()
    assert report_again(Study.open("fake")) == page.parent and "lacks files" not in capsys.readouterr().out


ASKS = """
# @package _global_
# What is asked?
study: asks
epochs: 1
data: {train: 300, validation: 100}
hydra:
  mode: MULTIRUN
  sweeper:
    params: {activation: "tanh,relu", loss: "mse,cross_entropy"}
    {what}
"""


def asks(home: Home, what: str) -> None:
    """Give a home a sweep of its own, which asks for this."""
    conf = home.folder / "conf"
    if conf.is_symlink():
        conf.unlink()
        shutil.copytree(CONF, conf)
    (conf / "sweep/asks.yaml").write_text(ASKS.lstrip().replace("{what}", what), encoding="utf-8")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("contrasts: [activation=tanh]", "contrast 'activation=tanh': write one change, and what else is fixed"),
        ("contrasts: [activation=tanh->rleu]", "contrast 'activation=tanh->rleu': no two arms of this sweep differ by"),
        ("contrasts: [pooling=avg->max]", "contrast 'pooling=avg->max': no two arms of this sweep differ by that"),
        ("contrasts: [row=a->b]", "contrast 'row=a->b': no two arms of this sweep differ by that"),
        ("within: pooling", "within=pooling: this sweep has only one option of it"),
        ("staircase: [loss=mse->cross]", "staircase loss=mse->cross: not every set of these changes has one arm"),
        ("staircase: [loss]", "contrast 'loss': write one change"),
        ("evaluate: [shft=8]", "evaluate: shft=8: there is no such change (did you mean shift?): choose from shift,"),
        ("evaluate: [shift=8, noise=200]", "evaluate: noise=200: choose a whole number from 1 to 100, as in noise=10"),
    ],
)
def test_what_a_sweep_cannot_answer_is_refused_before_it_runs(what: str, line: str, inside: Home) -> None:
    asks(inside, what)
    with pytest.raises(ValueError, match=f"^{re.escape(line)}") as refused:
        sweep_of("asks")
    assert is_one_line(str(refused.value))


@slow
def test_a_contrast_that_is_none_costs_one_line_and_no_run(home: Home) -> None:
    asks(home, "contrasts: [activation=tanh->rleu]")
    said = home.command("sweep", "asks")
    assert said.code != 0 and is_one_line(said.err) and said.err.startswith("contrast 'activation=tanh->rleu': no two")
    assert home.runs("asks") == []


def test_a_command_line_may_leave_out_what_a_file_asks_for(inside: Home) -> None:
    asks(inside, "contrasts: [activation=tanh->relu, loss=mse->cross_entropy]")
    sweep = sweep_of("asks", ["loss=mse", "seed=0,1"])
    assert len(sweep.plans) == 4 and len(sweep.asked.contrasts) == 2


def test_what_a_file_asks_is_answered_by_its_report_and_kept_with_its_summary(
    inside: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asks(inside, "contrasts: [activation=tanh->relu]\n    within: loss")
    sweep, page = sweep_of("asks"), inside.folder / "reports/asks/index.html"
    for plan in sweep.plans:
        record(plan)
    sentence = "relu instead of tanh changed the error by 0.00 points with loss=mse, and"
    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0
    assert sentence in capsys.readouterr().out and sentence in page.read_text("utf-8")
    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0
    assert len(inside.runs("asks", "summary")) == 1
    page.unlink()
    report_again(Study.open("asks"))
    assert sentence in page.read_text("utf-8")
    asks(inside, "contrasts: [loss=mse->cross_entropy]")  # another question to the same runs
    assert run_sweep(sweep_of("asks"), pytest.fail, tmp_path / "sweep") == 0
    assert sentence not in page.read_text("utf-8") and len(inside.runs("asks", "summary")) == 2


def test_a_list_is_answered_by_its_rows(inside: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "rows: {a: {words: activation=tanh, goal: [90, 100]}, b: {words: activation=relu, seeds: 2}}"
    asks(inside, f"{rows}\n    contrasts: [row=a->b]")
    sweep = sweep_of("asks")
    for plan in sweep.plans:
        record(plan)
    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0
    said, page = capsys.readouterr().out, (inside.folder / "reports/asks/index.html").read_text("utf-8")
    for sentence in ("Of 1 row with a goal, 0 met it and 1 missed it (a).", "b instead of a changed the error by 0.00"):
        assert sentence in said and sentence in page


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "sweep").glob("*.yaml")))
def test_a_study_names_about_a_dozen_contrasts_of_arms_that_it_has(name: str) -> None:
    """`sweep_of` would refuse others; that they have arms is seen here once more."""
    asked = yaml.safe_load((CONF / "sweep" / f"{name}.yaml").read_text("utf-8"))["hydra"]["sweeper"]
    named = asked.get("contrasts", [])
    assert len(named) == len(set(named)) <= 15
    if not named:
        return
    sweep = sweep_of(name, ["data=mnist5k", "seed=0"])
    names = {plan.key: row.name for row, plans in sweep.rows.items() for plan in plans}
    found = [RunRecord("", plan.words, "", row=names.get(plan.key, "")) for plan in sweep.plans]
    arms = group(found, swept(found))
    assert sweep.asked.contrasts == tuple(named) and all(Contrast.parse(text).pairs(arms) for text in named)
    assert bool(stairs(arms, sweep.asked.steps)) == bool(sweep.asked.staircase)


def test_sweeps_of_a_study_that_end_together_keep_one_summary(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each looks for a summary before the other has one to show, unless they wait for each other."""
    plans = [plan_of(*TINIEST, "study=fake")]
    record(plans[0])
    look, both = records.newest_summary, threading.Barrier(2)

    def slowly(study: Study) -> Any:
        found = look(study)
        with suppress(threading.BrokenBarrierError):
            both.wait(1)
        return found

    monkeypatch.setattr(records, "newest_summary", slowly)
    with ThreadPoolExecutor(2) as threads:
        ends = [
            threads.submit(run_sweep, Sweep(plans, "a command", 1, {}, []), pytest.fail, tmp_path / name)
            for name in "ab"
        ]
        assert [end.result() for end in ends] == [0, 0]
    assert len(inside.runs("fake", "summary")) == 1
    assert list((inside.folder / "outputs/state").iterdir()) == []


def test_nothing_to_do_costs_the_same_however_many_runs_there_are(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by the runs that the store hands out, since a clock depends on what else the machine does."""
    from mlflow import MlflowClient

    plans = [plan_of(*TINIEST, f"seed={seed}", "study=fake") for seed in range(2)]
    for plan in plans:
        record(plan)
    sweep, ask, given = Sweep(plans, "a command", 1, {}, []), MlflowClient.search_runs, list[int]()

    def count(*arguments: Any, **options: Any) -> Any:
        page = ask(*arguments, **options)
        given.append(len(page))
        return page

    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0  # which writes the report
    monkeypatch.setattr(MlflowClient, "search_runs", count)
    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0
    few, study = list(given), Study.open("fake")
    for number in range(30):
        tags = {KIND: "run", FINGERPRINT: f"other{number}"}
        study.client.set_terminated(study.client.create_run(study.experiment_id, tags=tags).info.run_id, "FINISHED")
    given.clear()
    assert run_sweep(sweep, pytest.fail, tmp_path / "sweep") == 0
    assert given == few and sum(given) == 3  # two arms and a summary


def test_an_arm_says_when_it_begins_and_how_it_ends(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = composed(*TINIEST, "study=fake", f"hydra.sweep.dir={tmp_path}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/no/such/place.db?mode=ro")
    monkeypatch.setattr("cnnlab.tracking.outbox.HASTE", 0.5)
    outcome = make_arm(cfg, cfg.hydra)
    begun, ended = Notices(tmp_path).read()
    assert (begun["arm"], begun["status"]) == ([*TINIEST, "study='fake'"], "begun")
    assert (ended["status"], ended["line"], outcome.status) == ("finished", str(outcome), "finished")
    assert len(list(inside.folder.glob("outputs/state/*.outbox"))) == 1  # what the store could not take
    cfg.data.train = 9999
    refused = make_arm(cfg, cfg.hydra)  # as where a worker's machine has other data
    ended = Notices(tmp_path).read()[-1]
    assert (ended["status"], ended["reason"], refused.status) == ("failed", refused.reason, "failed")
    assert is_one_line(refused.reason) and "train=9999: choose" in refused.reason


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (100, "1 min 40 s"), (7500, "2 h 5 min")]
)
def test_a_duration_as_a_person_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("done", "workers", "said"),
    [(1, 1, ", about 1 min 10 s left"), (1, 2, ""), (2, 2, ", about 30 s left"), (2, None, ""), (8, 2, "")],
)
def test_what_is_left_is_said_once_each_worker_has_made_an_arm(done: int, workers: int | None, said: str) -> None:
    assert time_left(10, done, todo=8, workers=workers) == said


def test_the_clock_of_a_sweep_starts_with_its_first_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notices, times = Notices(tmp_path), iter([100.0, 110.0])
    monkeypatch.setattr("cnnlab.sweeps.time.monotonic", lambda: next(times))
    notices.post(["seed=0"], "begun")
    notices.post(["seed=0"], "finished", "finished seed=0")
    with notices.told(3, workers=1):
        pass
    assert capsys.readouterr().out == "1 of 3 done, about 20 s left: finished seed=0\n"


@pytest.mark.parametrize(
    ("arms", "shared", "called"),
    [
        (("activation=tanh",), "", None),
        (("activation=tanh", "activation=relu"), "seed=0 epochs=1", ["tanh", "relu"]),
        (("seed=0", "seed=1"), "relu", ["seed=0", "seed=1"]),
        (("epochs=1", "epochs=2"), "seed=0", ["epochs=1", "epochs=2"]),
        (("lr=0.1 seed=5", "lr=0.2 seed=5"), "seed=5", ["lr=0.1", "lr=0.2"]),
        (("optimizer.momentum=0.5", "seed=0"), "relu", ["optimizer.momentum=0.5", None]),
        (("study=a", "study=b"), "relu", None),
    ],
)
def test_arms_are_told_by_what_they_do_not_share(
    arms: Sequence[str], shared: str, called: list[str | None] | None
) -> None:
    plans = [plan_of(*TINIEST, *words.split()) for words in arms]
    said, names = told_apart(plans)
    assert shared in said
    for plan, name, expected in zip(plans, names, called or [None] * len(plans), strict=True):
        assert name == (plan.label if expected is None else expected)


def test_the_line_of_an_arm_has_its_short_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices(tmp_path)
    notices.post(["seed=0"], "finished", "finished relu mlp seed=0  test error 1.00%  2.0 s")
    with notices.told(1, 1, {("seed=0",): ("relu mlp seed=0", "seed=0")}, "all arms have relu mlp"):
        pass
    first, second = capsys.readouterr().out.splitlines()
    assert (first, second) == ("all arms have relu mlp", "1 of 1 done: finished seed=0  test error 1.00%  2.0 s")


def test_half_a_notice_is_left_out(tmp_path: Path) -> None:
    notices = Notices(tmp_path)
    notices.post(["seed=0"], "begun")
    with notices.file.open("a") as file:
        file.write('{"arm": ["seed=1"], "sta')
    assert [notice["arm"] for notice in notices.read()] == [["seed=0"]]


class Full:
    """A launcher whose arms cannot say that they begin, since the disk is full."""

    launched = 0

    def __call__(self, numbers: Sequence[int]) -> None:
        self.launched += 1
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_a_sweep_at_once(inside: Home, tmp_path: Path) -> None:
    launch, plans = Full(), [plan_of(*TINIEST, f"seed={seed}", "study=fake") for seed in range(2)]
    with pytest.raises(OSError, match="No space left"):
        run_sweep(Sweep(plans, "a command", 1, {}, []), launch, tmp_path / "sweep")
    assert launch.launched == 1


def test_a_bug_in_an_arm_costs_no_other_and_keeps_its_traceback(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(*TINIEST, "study=fake", f"hydra.sweep.dir={tmp_path}")
    monkeypatch.setattr("cnnlab.sweeps.plan", lambda *_: {}["no such key"])
    assert make_arm(cfg, cfg.hydra).reason == "KeyError: 'no such key'"
    assert "Traceback" in capsys.readouterr().err
