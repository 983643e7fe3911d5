"""Rounds of kills: a real command is killed at random moments, given again until it ends well, and then looked at."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cnnlab.locks import locked
from homes import Home, end, epochs_done, kill

if TYPE_CHECKING:
    from mlflow.entities import Run

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
STUDY, EPOCHS = "soak", 8
ARMS = ("activation=relu,sigmoid", "seed=0,1")
WORDS = (
    *("pooling=stochastic", "optimizer=adam", "optimizer.weight_decay=0.001", "schedule=one_cycle", "lr=0.003"),
    *(f"epochs={EPOCHS}", "data.train=1000", "data.validation=100", f"study={STUDY}"),
)  # noise and a state of the optimiser, so that a run that goes on elsewhere than it was cut is not bit-equal
COMMANDS = {"sweep": ("-m", *ARMS, *WORDS), "run": ("activation=relu", "seed=0", *WORDS)}
KILLS = {  # which signal is sent to whom
    "SIGKILL to a worker": (signal.SIGKILL, "worker"),
    "SIGKILL to the recording process": (signal.SIGKILL, "recorder"),
    "SIGKILL to the command": (signal.SIGKILL, "command"),
    "SIGKILL to its process group": (signal.SIGKILL, "group"),
    "SIGTERM to the command": (signal.SIGTERM, "command"),
    "SIGHUP to the command": (signal.SIGHUP, "command"),
    "SIGHUP to its process group": (signal.SIGHUP, "group"),
    "SIGINT to the command": (signal.SIGINT, "command"),
    "SIGINT to its process group": (signal.SIGINT, "group"),
    "SIGINT twice to the command": (signal.SIGINT, "command"),
}
DEAFENING = (signal.SIGHUP, "group")  # which joblib's resource tracker does not ignore: it dies, and says so at length
PHASES = ("starting", "composing", "training", "writing", "ending")
KEPT = ("model/artifacts/network.npz", "answers.npz")  # what must be bit-equal
PROMPT = 10.0  # seconds within which a command that is told to end must have ended


@dataclass(frozen=True)
class Record:
    """What the store says of a run: its fingerprint, its status, and the process that makes it."""

    fingerprint: str
    status: str
    pid: int


@dataclass(frozen=True)
class Reference:
    """A sweep that nobody disturbed: the digests of what it found, by arm, and how long its parts took."""

    digests: Mapping[str, Sequence[str]]
    starting: float
    training: float


@dataclass(frozen=True)
class Kill:
    """One kill: in which round, what was done in which phase after how many seconds, and how the command ended."""

    seed: int
    kill: str
    phase: str
    detail: str
    after: float
    ended: float
    code: int
    fault: str = ""


@dataclass(frozen=True)
class Round:
    """What is there after a command was killed, and was then given again until it ended well: all but `arms` is bad.

    `resumed` of its arms went on from a checkpoint.
    """

    seed: int
    command: str
    commit: str
    kills: int
    arms: int
    resumed: int
    lost: int
    doubled: int
    unequal: int
    processes: int
    temporary: int
    locks: int
    others: int
    fault: str = ""


BAD = ("lost", "doubled", "unequal", "processes", "temporary", "locks", "others")


def records(home: Home) -> list[Record]:
    """All runs of the store, by a glance that needs no MLflow."""
    query = """select f.value, r.status, p.value from runs r join tags f on f.run_uuid = r.run_uuid and f.key = ?
        join tags p on p.run_uuid = r.run_uuid and p.key = ? join tags k on k.run_uuid = r.run_uuid and k.key = ?
        and k.value = 'run'"""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{home.folder}/mlflow.db?mode=ro", uri=True)) as store:
        found = store.execute(query, ("cnnlab.fingerprint", "cnnlab.pid", "cnnlab.kind")).fetchall()
        return [Record(fingerprint, status, int(pid)) for fingerprint, status, pid in found]
    return []


def under_way(home: Home) -> list[Record]:
    """The runs that a process makes at this moment."""
    alive = {process.pid for process in home.processes()}
    return [record for record in records(home) if record.status == "RUNNING" and record.pid in alive]


def phase(home: Home, process: subprocess.Popen[str], pid: int, arms: int) -> tuple[str, str]:
    """What a command is doing, and in which epochs; of a worker with this pid alone, if that makes a run."""
    running = under_way(home)
    running = [record for record in running if record.pid == pid] or running
    doing: dict[str, int] = {}
    state = home.folder / "outputs/state"
    for record in running:
        epochs = EPOCHS
        if not (state / f"{record.fingerprint}.done").exists():
            with suppress(Exception):  # none is written yet, or it has just been renamed
                epochs = 0
                epochs = epochs_done(state / f"{record.fingerprint}.npz")
        doing[record.fingerprint] = epochs
    training = [epochs + 1 for epochs in doing.values() if epochs < EPOCHS]
    if training:
        return "training", f"epoch {' and '.join(map(str, sorted(training)))}"
    if doing:
        return "writing", ""
    if len({record.fingerprint for record in records(home) if record.status == "FINISHED"}) == arms:
        return "ending", ""
    with suppress(psutil.Error):
        if psutil.Process(process.pid).children():
            return "composing", ""
    return "starting", ""


def helper(home: Home, kind: str) -> int:
    """The worker of a sweep, or the process that keeps the record of a single run; 0 where there is none."""
    word = {"worker": "popen_loky", "recorder": "spawn_main"}[kind]
    for process in home.processes():
        with suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                return process.pid
    return 0


class Soak:
    """Rounds in homes of their own below a folder, against one undisturbed sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commit, self.reference = self._undisturbed()

    def remove(self) -> None:
        """Remove the folder, when all is well."""
        shutil.rmtree(self.folder)

    def _home(self, name: str) -> Home:
        home = Home(self.folder / name, self.folder / "data")
        home.folder.mkdir()
        (home.folder / "conf").symlink_to(ROOT / "conf")
        return home

    def _undisturbed(self) -> tuple[str, Reference]:
        home = self._home("reference")
        home.client().search_experiments()
        shutil.copy(home.folder / "mlflow.db", self.folder / "empty.db")
        began = time.time()
        said = end(home.start(*COMMANDS["sweep"]))
        if said.code or said.err:
            raise ValueError(f"the undisturbed sweep did not end well: {said.out[-1000:]} {said.err[-1000:]}")
        runs = home.runs(STUDY)
        tags = runs[0].data.tags
        commit = tags["git.commit"][:10] + "+" * (tags["git.dirty"] == "true")
        first, last = min(run.info.start_time for run in runs), max(run.info.end_time for run in runs)
        digests = {run.data.tags["cnnlab.fingerprint"]: digest(home, run) for run in runs}
        return commit, Reference(digests, first / 1000 - began, (last - first) / 1000)

    def round(self, seed: int) -> tuple[Round, list[Kill]]:
        """A command that is killed once to three times, then given again until it ends well."""
        draw = random.Random(f"round {seed}")
        command = "run" if seed % 5 == 4 else "sweep"
        arms = 1 if command == "run" else len(self.reference.digests)
        home = self._home(f"round_{seed}")
        if seed % 8:  # else the store is yet to be made
            shutil.copy(self.folder / "empty.db", home.folder / "mlflow.db")
        others = [name for name, (_, to) in KILLS.items() if to != ("worker" if command == "run" else "recorder")]
        kills = []
        for number in range(draw.choice((1, 1, 2, 3))):
            in_training = seed % 4 if number == 0 else draw.random() < 0.75
            stage = "training" if in_training else draw.choice(("start", "end")) if seed % 8 else "start"
            name = "SIGKILL to the recording process" if command == "run" and draw.random() < 0.3 else ""
            kills += self._killed(home, seed, command, arms, name or draw.choice(others), stage, draw)
        said = end(home.start(*COMMANDS[command]))
        fault = "" if (said.code, said.err) == (0, "") else f"given again: exit {said.code}: {last_line(said.err)}"
        found = self._judged(home, seed, command, arms, len(kills), fault)
        if not any(getattr(found, name) for name in BAD) and not fault:
            shutil.rmtree(home.folder)
            shutil.rmtree(home.temporary)
        return found, kills

    def _killed(
        self, home: Home, seed: int, command: str, arms: int, name: str, stage: str, draw: random.Random
    ) -> list[Kill]:
        """Start the command, and kill it at a random moment of a stage: nothing if it has ended before that."""
        number, to = KILLS[name]
        fraction, gap = draw.random(), draw.uniform(0.005, 1)
        done = all_finished(home, arms)
        process, began = home.start(*COMMANDS[command]), time.monotonic()
        self._await(stage, fraction, home, process, arms)
        pid = (helper(home, to) if to in ("worker", "recorder") else 0) or process.pid  # it may not be there yet
        if process.poll() is not None:
            process.communicate()
            return []
        doing, detail = phase(home, process, pid, arms)
        if done and doing == "ending":  # what is finished was so before: whether it has begun to report is not seen
            doing = "starting"
        sent = time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number) if to == "group" else os.kill(pid, number)
        if "twice" in name:
            time.sleep(gap)
            process.send_signal(number)
            detail = f"{detail}{', ' * bool(detail)}{1000 * gap:.0f} ms apart"
        told, fault = number != signal.SIGKILL, ""
        try:
            out, err = process.communicate(timeout=PROMPT if told else 300)
        except subprocess.TimeoutExpired:
            kill(process)
            out, err, fault = "", "", "it did not end"
        ended = time.monotonic() - sent
        if told and not fault and process.returncode:
            fault = complaint(err, alone=(number, to) != DEAFENING)
        elif to == "worker" and pid != process.pid and process.returncode:
            fault = f"the sweep did not go on: exit {process.returncode}: {last_line(err)}"
        elif "Traceback" in out + err and (number, to) != DEAFENING:
            fault = f"a traceback: {last_line(err or out)}"
        if not fault and _until_none(home.processes, 20):
            fault = f"{len(home.processes())} processes live 20 s later"
        return [Kill(seed, name, doing, detail, round(sent - began, 2), round(ended, 2), process.returncode, fault)]

    def _await(self, stage: str, fraction: float, home: Home, process: subprocess.Popen[str], arms: int) -> None:
        """Wait for a moment of a stage, or for the end of the command."""
        seconds = fraction * {"start": self.reference.starting, "training": self.reference.training, "end": 2}[stage]
        if stage == "start":
            seconds += 0.15  # until Python itself has started
        elif stage == "training":
            seconds *= 0.8 if arms > 1 else 0.3
            _wait(lambda: under_way(home), process)
        else:
            state = home.folder / "outputs/state"
            _wait(lambda: list(state.glob("*.done")) or all_finished(home, arms), process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    def _judged(self, home: Home, seed: int, command: str, arms: int, kills: int, fault: str) -> Round:
        """Count what is lost, doubled, not equal, or left behind in a home whose command has ended well."""
        runs = home.runs(STUDY)
        finished: dict[str, list[Run]] = {}
        for run in runs:
            if run.info.status == "FINISHED":
                finished.setdefault(run.data.tags["cnnlab.fingerprint"], []).append(run)
        known = self.reference.digests
        unequal = sum(digest(home, run) != known.get(name) for name, found in finished.items() for run in found)
        processes = len(_until_none(home.processes, 5))
        running = [run for run in runs if run.info.status == "RUNNING"]
        folders = list(home.temporary.glob("*"))
        kept = [path for path in home.leftovers() if path.parent != home.temporary]
        left = [*folders, *kept, *(run.info.run_id for run in running)]
        if left and not fault:
            fault = "left: " + ", ".join(path.name if isinstance(path, Path) else f"running {path}" for path in left)
        return Round(
            seed,
            command,
            self.commit,
            kills,
            len(finished),
            sum("cnnlab.resumed_after_epoch" in run.data.tags for found in finished.values() for run in found),
            lost=arms - len(finished),
            doubled=sum(len(found) - 1 for found in finished.values()),
            unequal=unequal,
            processes=processes,
            temporary=len(folders),
            locks=sum(is_held(path) for path in kept if path.suffix == ".lock"),
            others=len(kept) + len(running),
            fault=fault,
        )


def all_finished(home: Home, arms: int) -> bool:
    """Whether all arms are finished."""
    return sum(record.status == "FINISHED" for record in records(home)) >= arms


def digest(home: Home, run: Run) -> list[str]:
    """The SHA-256 of each file of a run that must be bit-equal."""
    files = home.artifacts(run)
    return [hashlib.sha256(files[name].read_bytes()).hexdigest() if name in files else "none" for name in KEPT]


def complaint(err: str, alone: bool = True) -> str:
    """What is wrong with what a command says that was told to end: nothing, if it is one line on what is kept.

    If the line need not be `alone`, others may be around it.
    """
    lines = err.strip().splitlines()
    said = [line for line in lines if line.startswith("interrupted: ")]
    if len(said) == 1 and (len(lines) == 1 or not alone):
        return ""
    return f"no line on what is kept, but {last_line(err)}" if lines else "it says nothing"


def last_line(text: str) -> str:
    """The last line of a text, shortened."""
    return (text.strip().splitlines() or [""])[-1][:200]


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this path."""

    def refuse() -> None:
        raise BlockingIOError

    try:
        with locked(path, refuse):
            return False
    except BlockingIOError:
        return True


def _wait(what: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until there is what is waited for, or the command has ended."""
    while process.poll() is None and not what():
        time.sleep(0.05)


def _until_none(what: Callable[[], list[Any]], seconds: float) -> list[Any]:
    """What is still there after so many seconds; nothing as soon as nothing is."""
    limit = time.monotonic() + seconds
    while (left := what()) and time.monotonic() < limit:
        time.sleep(0.1)
    return left
