"""What is typed: each command explains itself at once, and says in one line what it cannot do."""

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.conftest import CONF, HEAVY, ROOT, SMALL, Home, end, is_one_line

from cnnlab import commands
from cnnlab.commands import COMMANDS
from cnnlab.config import RunConfig
from cnnlab.spelling import Grammar

MODULES = sorted(path.stem for path in (ROOT / "src/cnnlab/commands").glob("*.py"))


@pytest.fixture
def said(inside: Home, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str]]:
    """How a command ends in this very process, and what it prints or exits with."""

    def said(*words: str) -> tuple[object, str]:
        code: object = 0
        try:
            commands.main(words)
        except SystemExit as over:
            code = over.code
        printed = capsys.readouterr()
        text = printed.out + printed.err
        return (1, text + code) if isinstance(code, str) else (code, text)

    return said


def test_the_commands_are_listed_and_there(said: Callable[..., tuple[object, str]]) -> None:
    code, text = said("--help")
    assert code == 0 and all(f"  {name} " in text and what in text for name, what in COMMANDS.items())
    assert {*COMMANDS} <= {*MODULES}
    assert re.fullmatch(r"cnnlab \d+\.\d+.*\n", said("--version")[1])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "no command given: choose from train, sweep"),
        ("trian", "no command trian (did you mean train?): choose from train, sweep"),
        ("--foo", "no command --foo"),
        ("sweep nosuch", "sweep=nosuch: there is no such choice: choose from activation, batch_size"),
        ("sweep activation=relu", "the name of a sweep comes first"),
        ("sweep smoke activaton=relu", "did you mean activation?"),
        ("sweep smoke other", "there is no option other"),
        ("sweep smoke,loss", "one at a time"),
        ("sweep smoke --foo", "unrecognized arguments: --foo: choose from --help, --list, --dry-run"),
        ("sweep smoke --jobs x", "argument --jobs: invalid whole number above 0 value: 'x'"),
        ("sweep --seeds 0 smoke", "argument --seeds: invalid whole number above 0 value: '0'"),
        ("sweep smoke --seeds 2 seed=3", "--seeds: says the seeds, and so does seed=3"),
        (
            "sweep smoke --launcher basic --jobs 2",
            "--jobs: goes with the launchers joblib, slurm and ray, not with basic",
        ),
        ("sweep smoke --only tanh --dry-run", "--only tanh: this sweep is a grid"),
        ("sweep lenet_family --only linaer --dry-run", "there is no row linaer: choose from lenet5_1998"),
        ("sweep smoke pooling.size=99 --dry-run", "pooling=max"),
        ("sweep smoke epochs=${oc.env:NO_SUCH} --dry-run", "NO_SUCH"),
        ("reproduce --jobs 0", "cnnlab reproduce: argument --jobs: invalid whole number above 0 value: '0'"),
        ("reproduce linear --only", "unrecognized arguments: --only"),
        ("evaluate", "the following arguments are required: RUN"),
        (
            "evaluate nosuch",
            "there is no finished run or study 'nosuch': choose a run by its name or id, or a study: none",
        ),
        ("evaluate shift=4", "cnnlab evaluate: shift=4: a run or a study comes first"),
        (
            "evaluate x shft=4",
            "shft=4: there is no such change (did you mean shift?): choose from shift, rotation, scale",
        ),
        ("evaluate x shift", "shift=: choose a whole number from 1 to 99, as in shift=4"),
        ("evaluate x shift=1.5", "shift=1.5: choose a whole number from 1 to 99"),
        ("evaluate x rotation=-5", "rotation=-5: choose a whole number from 1 to 180"),
        ("evaluate x scale=nan", "scale=nan: choose a number from 1 to 10, as in scale=2"),
        ("evaluate x noise=5 noise=6", "noise=6: noise=5 is there already; one at a time, please"),
        ("evaluate x --all", "unrecognized arguments: --all: choose from --help"),
        ("predict", "the following arguments are required: IMAGE"),
        ("predict x.png", "no finished run knows digits yet: `make sweep` makes some"),
        ("predict x.png --out x.jpg", "--out x.jpg: choose the name of a file that ends in .png"),
        ("report nosuch", "there is no study 'nosuch': choose from none yet"),
        ("report a b", "unrecognized arguments: b"),
        ("tune nosuch", "sweep=nosuch: there is no such choice: choose from activation, batch_size"),
        ("tune activation=relu", "as in `cnnlab tune pooling activation=relu`"),
        ("tune pooling lr=0.1", "lr=0.1: leave it out; tuning says lr, seed, study, data.test itself"),
        ("ui --port 70000", "--port: choose a whole number from 1 to 65535"),
        ("ui --port x", "argument --port: invalid whole number above 0 value: 'x'"),
        ("train -padding=x", "unrecognized arguments: -padding=x: choose from --help, --multirun, --cfg"),
        ("train --cfg", "argument -c/--cfg: expected one argument"),
        ("train --cfg=x", "argument -c/--cfg: invalid choice: 'x'"),
        ("train --config-dir=/nowhere", "argument -cd/--config-dir: /nowhere: there is no such folder"),
        ("train -m seed=1 lr=1 seed=2", "seed=2: seed=1 is there already; one at a time, please"),
        ("sweep smoke --launcher basic hydra/launcher=joblib", "hydra/launcher=joblib is there already"),
        ("sweep smoke hydra.launcher.n_jobs=two", "hydra.launcher.n_jobs=two: choose a whole number from 1 up"),
        ("data foo", "invalid choice: 'foo' (choose from"),
    ],
)
def test_what_cannot_be_is_one_line(words: str, named: str, said: Callable[..., tuple[object, str]]) -> None:
    code, text = said(*words.split(" ")) if words else said()
    assert code in (1, 2) and is_one_line(text), text
    assert named in text


@pytest.mark.parametrize(
    ("launcher", "extra"), [("slurm", "slurm"), ("submitit_local", "slurm"), ("ray", "ray"), ("ray_cluster", "ray")]
)
def test_a_launcher_that_is_not_installed_names_its_extra(
    launcher: str, extra: str, said: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnlab.spelling.find_spec", lambda name: None)
    name = "ray_cluster" if launcher == "ray" else launcher
    line = f"hydra/launcher={name}: needs a package more: pip install 'cnnlab[{extra}]'"
    assert said("sweep", "smoke", "--launcher", launcher) == (1, line)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ((), ["sweep=smoke"]),
        (("--launcher=joblib", "--jobs=3"), ["sweep=smoke", "hydra.launcher.n_jobs=3"]),
        (("--launcher=slurm", "--jobs=3"), ["hydra/launcher=slurm", "hydra.launcher.array_parallelism=3"]),
        (("--launcher=ray", "--jobs=3"), ["hydra/launcher=ray_cluster", "hydra.launcher.n_jobs=3"]),
    ],
)
def test_jobs_are_the_workers_of_each_launcher(
    words: tuple[str, ...], asked: list[str], inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("cnnlab.spelling.find_spec", lambda name: "there")
    monkeypatch.setattr("cnnlab.commands.train.main", told.extend)
    commands.main(["sweep", "smoke", *words])
    assert told[-len(asked) :] == asked


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["activaton=relu"], ["activaton", "did you mean activation?", "padding"]),
        (["lr=abc"], ["lr=abc", "a number above 0 or null"]),
        (["optimizer.momentum=abc"], ["optimizer.momentum=abc", "a number"]),
        (["sweep=null"], ["sweep=null"]),
        (["pooling.mix=0.3"], ["pooling", "mix", "size"]),  # an option that another choice has
        (["epochs=${oc.env:NO_SUCH}"], ["epochs", "NO_SUCH"]),
        (["hydra/launcher=nan", "sweep=smoke"], ["hydra/launcher=nan", "basic, joblib"]),
        (["hydra.launcher.speed=1", "sweep=smoke"], ["hydra.launcher.speed"]),
        (["hydra.mode=foo"], ["hydra.mode=foo", "RUN, MULTIRUN"]),
        (['study="a'], ['study="a']),
        (["data=mnist"], ["train-images-idx3-ubyte", "make data"]),
        (["loss=lenet5_map", "model=zhou"], ["loss=lenet5_map", "model=zhou", "84"]),
        (["sweep=smoke", "pooling.size=99", "lr=-1"], ["lr=-1"]),
        (["-m", "seed=${lr},0", "pooling.size=99"], ["seed=None: choose a whole number", "99x99"]),
    ],
)
def test_a_run_that_cannot_be_is_answered_in_one_line(words: list[str], named: list[str], fresh_home: Home) -> None:
    said = fresh_home.train(*words, CNNLAB_DATA=str(fresh_home.folder))
    assert (said.code, said.out) == (1, "")
    assert is_one_line(said.err), said.err
    assert [word for word in named if word not in said.err] == []
    assert {path.name for path in fresh_home.folder.iterdir()} == {"conf"}


@pytest.mark.parametrize(
    ("words", "place", "lines"),
    [
        ((), "commands.train._make", 1),
        (("-m", "seed=0,1", "hydra/launcher=basic"), "sweeps.Notices.post", 2),  # the first says what is to do
    ],
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(
    words: tuple[str, ...],
    place: str,
    lines: int,
    number: int,
    said: Callable[..., tuple[object, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"cnnlab.{place}", fails)
    code, text = said("train", *words, "data=digits", "model=mlp")
    assert code == 1 and text.splitlines()[-1].startswith("the disk is full (["), text
    assert len(text.splitlines()) == lines


@pytest.mark.parametrize("words", [("train", "data=digits", "model=mlp"), ("data", "mnist")])
def test_a_bug_is_a_traceback_with_no_password_and_nothing_of_hydra(
    words: tuple[str, ...], inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("postgresql://me:secret@here/runs")

    monkeypatch.setattr("cnnlab.commands.train._make", fails)
    monkeypatch.setattr("cnnlab.commands.data.main", fails)
    text = commands._ended(words)
    assert isinstance(text, str) and text.startswith("Traceback") and "secret" not in text
    assert text.endswith("KeyError: 'postgresql://me:***@here/runs'")
    assert "Error executing" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light(command: str, fresh_home: Home) -> None:
    said = fresh_home.command(command, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert said.code == 0 and f"cnnlab {command}" in said.out
    imported = {line.split("|")[-1].strip().partition(".")[0] for line in said.err.splitlines()}
    allowed = {"requests", "pooch"} if command == "data" else set()
    assert not imported & ((HEAVY - allowed) | {"hydra", "omegaconf", "joblib", "sqlalchemy", "tqdm"})


@pytest.mark.parametrize("words", [["--cfg", "job"], ["sweep=smoke", "--cfg", "job"], ["-sc", "install=bash"]])
def test_questions_are_answered_without_heavy_imports(words: list[str], fresh_home: Home) -> None:
    said = fresh_home.train(*words, PYTHONPROFILEIMPORTTIME="1")
    assert said.code == 0 and said.out
    imported = {line.split("|")[-1].strip().partition(".")[0] for line in said.err.splitlines()}
    assert "hydra" in imported
    assert not imported & (HEAVY | {"joblib", "sqlalchemy", "tqdm"})


@pytest.mark.parametrize("width", [60, 100])
def test_help_has_every_option_and_what_the_configs_say(
    width: int, said: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = said("train", "--help")[1].partition("Numbers and switches")[2]
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= width
    flat, grammar = " ".join(text.split()), Grammar((CONF,))
    assert [field for field in RunConfig.__annotations__ if f"{field}=" not in text] == []
    for group, choices in grammar.groups.items():
        part = text.partition(f"\n\n{group}=")[2].partition("\n\n")[0]
        assert [choice for choice in choices if f"\n  {choice} " not in part] == []
        for choice in choices:
            file = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
            (first, *_) = [line for line in file.splitlines() if line.startswith("# ") and "@package" not in line]
            assert first.removeprefix("# ") in flat, f"{group}={choice}"
            inside = grammar.options(group, choice) if group not in ("experiment", "sweep") else {}
            assert [option for option in inside if f"  {group}.{option}=" not in part] == []
    assert "optimizer.momentum=0.9|0.0 (momentum, nesterov, sgd) how much of the velocity a step keeps" in flat


@pytest.mark.parametrize("command", ["cnnlab train", "cnnlab sweep smoke", "python -m cnnlab train"])
def test_tab_completion_knows_the_choices(command: str, fresh_home: Home) -> None:
    line = f"{command} data=digits pooling=s"
    said = end(fresh_home.start("query=bash", command="-sc", COMP_LINE=line))
    assert (said.code, said.out.split()) == (0, ["pooling=stochastic", "pooling=stride", "pooling=subsample"]), said.err


def test_sweeps_and_their_arms_are_listed(said: Callable[..., tuple[object, str]]) -> None:
    listed = said("sweep", "--list")[1]
    assert [sweep for sweep in Grammar((CONF,)).groups["sweep"] if not re.search(rf"(?m)^{sweep} +\w", listed)] == []
    code, text = said("sweep", "--seeds", "2", "smoke", "--dry-run", "model=mlp")
    assert code == 0, text
    assert text.endswith("\n0 of 4 arms are finished\n")
    assert [line.split()[:3] for line in text.splitlines()[:-1]].count(["to", "do", "tanh"]) == 2


def test_words_and_flags_of_a_sweep_come_in_any_order(
    said: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("cnnlab.commands.train.main", asked.append)
    assert said("sweep", "pooling", "--seeds=2", "data=digits", "--jobs", "3", "epochs=1")[0] == 0
    assert said("reproduce", "linear", "knn", "--jobs", "1")[0] == 0
    assert asked == [
        ["sweep=pooling", "data=digits", "epochs=1", "seed=0,1", "hydra.launcher.n_jobs=3"],
        ["sweep=lenet_family", "hydra.launcher.n_jobs=1", 'hydra.sweeper.only=["linear", "knn"]'],
    ]


def test_rates_are_not_written_into_an_installed_package(
    said: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cnnlab.commands.tune

    monkeypatch.setattr(cnnlab.commands.tune, "PACKAGE", Path.cwd())
    monkeypatch.setattr(cnnlab.commands.tune, "conf_folder", lambda: Path.cwd() / "conf")
    code, text = said("tune", "activation")
    assert code == 1 and is_one_line(text) and "conf/rates.yaml, which is installed: copy its folder to " in text


def test_losses_are_compared_where_the_codes_can_be_reached() -> None:
    node = yaml.safe_load((CONF / "sweep/loss.yaml").read_text(encoding="utf-8"))
    arms = [row["words"].split() for row in node["hydra"]["sweeper"]["rows"].values()]
    codes = [arm for arm in arms if {"loss=lenet5_mse", "loss=lenet5_map"} & set(arm)]
    assert len(codes) == 2 and all("activation=lenet_tanh" in arm for arm in codes)


@pytest.mark.slow
def test_a_folder_of_ones_own_is_swept_over(home: Home, tmp_path: Path) -> None:
    """An option in a folder of the user's, by workers of their own, called from any folder."""
    (tmp_path / "own/activation").mkdir(parents=True)
    (tmp_path / "own/activation/mine.yaml").write_text("_target_: cnnlab.nn.Tanh\namplitude: 1.5\n")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    words = ["-m", "--config-dir", str(tmp_path / "own"), "activation=mine,relu", "model=mlp", "epochs=1", *SMALL]
    command = [sys.executable, "-m", "cnnlab", "train", *words, "study=1.10"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(command, cwd=elsewhere, env=kept | home.places, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "2 of 2 done" in done.stdout
    assert {run.data.params["activation"] for run in home.runs("1.10")} == {"mine", "relu"}
    assert not list(elsewhere.iterdir())


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, inside: Home) -> None:
    monkeypatch.setattr("cnnlab.commands.report.main", lambda words: {}["nothing"])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(KeyError):
        commands.main(["report"])


@pytest.mark.parametrize("place", ["report.main", "train._make"])
def test_an_error_of_tidying_up_after_an_interruption_is_none_of_the_program(
    place: str,
    said: Callable[..., tuple[object, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of argparse, which was interrupted in the middle of its own."""

    def interrupted(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            {}["what was not begun"]

    monkeypatch.setattr(f"cnnlab.commands.{place}", interrupted)
    words = ["report"] if place == "report.main" else ["train", "data=digits", "model=mlp"]
    assert said(*words) == (1, commands.INTERRUPTED)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train -m seed=range(0,200000)", "this sweep has 200,000 arms, more than 10,000"),
        ("train -m seed=range(0,1000000000000) lr=0.1,0.2", "this sweep has 2,000,000,000,000 arms"),
        ("train -m lr=range(0.1,1,0.00001)", "this sweep has 90,000 arms"),
        ("sweep smoke --seeds 999999", "this sweep has 1,999,998 arms"),
        ("sweep smoke --seeds 999999 --dry-run", "this sweep has 1,999,998 arms"),
        ("tune smoke --dry-run batch_size=range(1,99999)", "this sweep has 199,996 arms"),
        ("train data=digits epochs=1000000", "epochs=1000000: 1,257,000,000 images, 1,257 in each epoch"),
        ("train -m data=digits model=mlp epochs=1000000,1000001", "epochs=1000000: 1,257,000,000 images"),
        ("sweep smoke --dry-run data=digits epochs=9000000", "epochs=9000000: 2,700,000,000 images"),
    ],
)
def test_what_is_very_large_is_asked_for_twice(words: str, line: str, said: Callable[..., tuple[object, str]]) -> None:
    code, text = said(*words.split())
    assert code == 1 and is_one_line(text) and line in text
    assert text.strip().endswith("say --yes if you mean it")


def test_what_is_confirmed_is_made(said: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.composing.grids.MOST_ARMS", 1)
    small = ["data=digits", "model=mlp", "epochs=1"]
    assert said("sweep", "smoke", "--dry-run", *small)[0] == 1
    code, text = said("sweep", "smoke", "--dry-run", "--yes", *small)
    assert not code and text.endswith(" of 2 arms are finished\n")


FULL = "standard output took no more lines: No space left on device; nothing else went wrong\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("into", "code", "err"),
    [(">&-", 0, ""), ("> /dev/full", 1, FULL), ("| head -1", 0, ""), (">&- 2>&- <&-", 0, ""), ("| true", 0, "")],
)
@pytest.mark.parametrize("words", [("--list",), ("smoke", "model=mlp", "model.hidden=[8]", "epochs=1", *SMALL)])
def test_nobody_has_to_read(words: tuple[str, ...], into: str, code: int, err: str, home: Home) -> None:
    """A sweep is made to its end, and nothing is a traceback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
    script = f'set -o pipefail; "$@" {into}'
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "cnnlab", "sweep", *words]
    done = subprocess.run(command, cwd=home.folder, env=kept | home.places, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, err)
    if words[0] == "smoke":
        assert [run.info.status for run in home.runs("smoke")] == ["FINISHED"] * 2


def test_a_terminal_that_was_closed_is_not_missed() -> None:
    program = (
        "from cnnlab.streams import *; take_all(); print(1, flush=True); input(); print(2); sys.stderr.write(failure())"
    )
    ours, its = os.openpty()
    command = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=its, stderr=subprocess.PIPE, text=True
    )
    assert os.read(ours, 1) == b"1"
    os.close(its)
    os.close(ours)
    assert command.communicate("\n", timeout=60) == (None, "")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_escaped(encoding: str, home: Home) -> None:
    words = ("study=gr\u00f6\u00dfe_\u65e5", "model=mlp", "model.hidden=[8]", "epochs=1", *SMALL)
    done = home.train(*words, PYTHONIOENCODING=encoding, LC_ALL="C.UTF-8")
    assert (done.code, done.err) == (0, "") and "\\u65e5" in done.out
    assert len(home.runs("gr\u00f6\u00dfe_\u65e5")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "line"),
    [
        ("ulimit -f 100", "does not work: (sqlite3.OperationalError) disk I/O error"),  # no file over 100 blocks
        ("export CNNLAB_HOME=/proc/nothing", "No such file or directory: '/proc/nothing'"),
        ("export TMPDIR=/dev/null/nothing", ""),  # another folder is found
        ("ulimit -n 64", ""),
    ],
)
def test_where_the_machine_gives_little_a_run_is_made_or_a_line_says_why(first: str, line: str, home: Home) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
    words = ["train", "model=mlp", "model.hidden=[8]", "epochs=1", *SMALL]
    command = ["bash", "-c", f'{first} && "$@"', "bash", sys.executable, "-m", "cnnlab", *words]
    done = subprocess.run(command, cwd=home.folder, env=kept | home.places, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if line else 0)
    assert is_one_line(done.stderr) and line in done.stderr if line else done.stderr == ""
