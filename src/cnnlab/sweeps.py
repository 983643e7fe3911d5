"""A sweep: many runs, of which those that are not finished are made, by any launcher."""

from __future__ import annotations

import fcntl
import json
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnlab.composing import Plan, Sweep, plan, told_apart
from cnnlab.journal import Watcher
from cnnlab.orphans import reaper
from cnnlab.paths import is_full
from cnnlab.rates import GIVEN, TUNED
from cnnlab.report.tables import count
from cnnlab.runs import Outcome, make
from cnnlab.signals import deaf_children, hearing
from cnnlab.streams import take_all
from cnnlab.summaries import sum_up
from cnnlab.tracking.access import one_line, store_errors, without_password
from cnnlab.tracking.leases import Elsewhere
from cnnlab.tracking.log import RunLog, say_waiting
from cnnlab.tracking.outbox import file_left, patiently
from cnnlab.tracking.store import CODE, Study, checkpoints, own_tags

ELSEWHERE = "elsewhere"  # how an arm ends here that another process makes
TRIES = 3  # how often the worker of an arm may die, or the launcher stop before any arm begins

Launch = Callable[[Sequence[int]], Any]  # make the arms of these numbers, each by `make_arm`
Names = Mapping[tuple[str, ...], tuple[str, str]]  # of each arm, by its words: its label, and what it is called instead


@dataclass(frozen=True)
class Notices:
    """What the workers of a sweep say of their arms: lines of a file in its folder, which the launching process reads.

    So it does not matter how the workers are launched, if they see the folder.
    """

    folder: Path

    @property
    def file(self) -> Path:
        """The file that the notices are lines of."""
        return self.folder / "arms.jsonl"

    def post(self, words: Sequence[str], status: str, line: str = "", reason: str = "") -> None:
        """Say that the arm of these words has begun or how it ended."""
        notice = {"arm": list(words), "status": status, "line": line, "reason": reason}
        with self.file.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # on a network file system two machines could write to the same place
            file.write(json.dumps(notice) + "\n")  # in one write, which other workers' cannot split

    def lost(self, words: Sequence[str], why: str) -> None:
        """Say that the arm of these words has failed, since its worker is gone, if it has not ended by itself."""
        statuses = [notice["status"] for notice in self.read() if notice["arm"] == list(words)]
        if statuses[-1:] in ([], ["begun"]):
            outcome = Outcome("failed", " ".join(words), reason=f"its worker died: {why}")
            self.post(words, outcome.status, str(outcome), outcome.reason)

    def read(self) -> list[dict[str, Any]]:
        """The notices that were posted so far."""
        said = []
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else ():
            with suppress(ValueError):  # half a line: it is being written, or the disk was full
                said.append(json.loads(line))
        return said

    @contextmanager
    def told(
        self, todo: int, workers: int | None, names: Names = MappingProxyType({}), shared: str = ""
    ) -> Iterator[None]:
        """Print a line for each arm that ends meanwhile: how many of `todo` are done, and how long the others take.

        Before the first, a line says what is `shared` by all arms, if anything.
        """
        over = threading.Event()

        def tell() -> None:
            told, began, last = 0, 0.0, False
            while not last:
                last = over.wait(0.2)
                said = self.read()
                if said:
                    began = began or time.monotonic()  # the first arm's begin: workers took a while to start
                ended = {tuple(notice["arm"]): notice["line"] for notice in said if notice["line"]}
                for arm, line in list(ended.items())[told:]:
                    if shared and not told:
                        print(shared, flush=True)
                    told += 1
                    left = time_left(time.monotonic() - began, told, todo, workers)
                    print(f"{told} of {todo} done{left}: {line.replace(*names.get(arm, ('', '')), 1)}", flush=True)

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()


def time_left(elapsed: float, done: int, todo: int, workers: int | None) -> str:
    """What the arms that are done say of the others, ", about 40 s left"; "" where they say nothing.

    That is at the end, before each worker has made an arm, and where nobody knows how many workers there are.
    """
    if workers is None or not workers <= done < todo:
        return ""
    return f", about {duration(elapsed / done * (todo - done))} left"


def duration(seconds: float) -> str:
    """A time as a person says it: "40 s", "1 min 40 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


@hearing()
def make_arm(cfg: Any, context: Any) -> Outcome:
    """Make one arm of a sweep in a worker, by its composed config, and say so in the sweep's folder.

    `context` is the config's `hydra` node. The notice comes first, since composing an arm can kill the worker, too.
    An arm that another process makes is left to it; the second time it is waited for. OSError where the folder does not
    take it.
    """
    take_all()  # a worker has streams of its own
    words, notices = context.overrides.task, Notices(Path(context.sweep.dir))
    notices.post(words, "begun")

    def busy(name: str) -> None:
        if not any(notice["arm"] == list(words) and notice["status"] == ELSEWHERE for notice in notices.read()):
            raise Elsewhere(f"{name}: another process makes it; the others come first")
        say_waiting(name)

    try:
        outcome = make(plan(cfg, context), RunLog(of_sweep=True, busy=busy), Watcher())
    except Elsewhere as other:
        print(other, flush=True)
        notices.post(words, ELSEWHERE)
        return Outcome(ELSEWHERE, " ".join(words), reason=str(other))
    except Exception as error:
        known = isinstance(error, (ValueError, OSError, ImportError))
        if not known:  # a bug, of which a line says too little
            print(without_password(traceback.format_exc()), file=sys.stderr, flush=True)
        reason = one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
        outcome = Outcome("failed", " ".join(words), reason=reason)
    notices.post(words, outcome.status, str(outcome), outcome.reason)
    return outcome


@store_errors()
def run_sweep(sweep: Sweep, launch: Launch, folder: Path) -> int:
    """Make the arms that are missing and sum up; how many failed or were refused. OSError if no worker can begin.

    The `folder` is where workers say what they do; it goes when they are done.
    """
    studies = {name: Study.open(name) for name in dict.fromkeys(arm.study for arm in sweep.plans)}
    runs, failed = make_missing(sweep, studies, launch, folder)
    for line in foreign_rates(sweep.plans):
        print(line)
    for study in studies.values():
        sum_up(sweep, study, {identity: run for (of, identity), run in runs.items() if of == study.name})
    for reason in (*sweep.refused, *(f"{sweep.plans[number].label}: {reason}" for number, reason in failed.items())):
        print(f"FAILED {reason}")
    return len(failed) + len(sweep.refused)


def foreign_rates(arms: Sequence[Plan]) -> list[str]:
    """A line for each kind of learning rate that was not tuned for the arms that have it."""
    found = Counter(arm.lr_source for arm in arms if arm.lr_source not in ("", GIVEN, TUNED))
    return [f"learning rate of {count(many, 'arm')}: {source}" for source, many in found.items()]


def is_finished(run: Any) -> bool:
    """Whether a run has come to its end."""
    return run.info.status == "FINISHED"


def make_missing(
    sweep: Sweep,
    studies: Mapping[str, Study],
    launch: Launch,
    folder: Path,
    has_ended: Callable[[Any], bool] = is_finished,
) -> tuple[dict[tuple[str, str], Any], dict[int, str]]:
    """Make the arms that have no run that `has_ended`.

    Returns the run of each arm that counts, and the numbers of the arms that failed, with reasons.
    """
    name, runs = ", ".join(studies), newest(sweep, studies)
    missing = [number for number, arm in enumerate(sweep.plans) if _is_missing(arm, runs, has_ended)]
    done = [arm for number, arm in enumerate(sweep.plans) if number not in missing]
    if missing:
        workers = f", {count(sweep.workers, 'worker')}" if sweep.workers else ""
        print(f"{name}: {count(len(missing), 'arm')} to do, {len(done)} finished{workers}", flush=True)
    else:
        print(f"{name}: nothing to do, {count(len(done), 'arm')} finished", flush=True)
    if others := sum(_is_of_other_code(arm, runs) for arm in done):
        print(f"{name}: {others} of these were made by other code than today's; rerun=changed makes them again")
    shared, called = told_apart(sweep.plans)
    failed: dict[int, str] = {}
    described = [studies[arm.study].describe(runs[arm.key], own_tags(arm.config)) for arm in done]
    if missing:
        notices = Notices(folder)
        common = f"{name}: all arms have {shared}" if shared else ""
        names = {arm.overrides: (arm.label, short) for arm, short in zip(sweep.plans, called, strict=True)}
        with reaper(name, notices.file):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with notices.told(len(missing), sweep.workers, names, common), deaf_children():
                    failed = _made(sweep, missing, launch, notices)
                patiently(file_left)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(_so_far(sweep, len(done), notices)) from None
    if missing or any(described):
        runs = newest(sweep, studies)
    return runs, failed


def _so_far(sweep: Sweep, done: int, notices: Notices) -> str:
    """What is finished and kept of a sweep that is interrupted, of which so many arms were `done` before."""
    last = {tuple(notice["arm"]): notice["status"] for notice in notices.read()}
    done += sum(status in ("finished", "skipped", "copied") for status in last.values())
    under_way = [arm for arm in sweep.plans if last.get(arm.overrides) == "begun"]
    kept = sum(checkpoints(arm.fingerprint, arm.code).epochs() for arm in under_way)
    also = f", and {count(kept, 'whole epoch')} of {count(len(under_way), 'arm')} under way kept" if kept else ""
    return f"{done} of {count(len(sweep.plans), 'arm')} finished{also}: the same command goes on from there"


def newest(sweep: Sweep, studies: Mapping[str, Study]) -> dict[tuple[str, str], Any]:
    """For each arm that has runs the one that counts: a finished one, else the newest."""
    found: dict[tuple[str, str], Any] = {}
    for name, study in studies.items():
        runs = study.newest([arm.fingerprint for arm in sweep.plans if arm.study == name])
        found |= {(name, identity): run for identity, run in runs.items()}
    return found


def _is_missing(arm: Plan, runs: Mapping[tuple[str, str], Any], has_ended: Callable[[Any], bool]) -> bool:
    if arm.key not in runs or not has_ended(runs[arm.key]):
        return True
    rerun = arm.config["rerun"]
    return rerun == "true" or (rerun == "changed" and _is_of_other_code(arm, runs))


def _is_of_other_code(arm: Plan, runs: Mapping[tuple[str, str], Any]) -> bool:
    return runs[arm.key].data.tags.get(CODE) != arm.code


def _made(sweep: Sweep, missing: Sequence[int], launch: Launch, notices: Notices) -> dict[int, str]:
    """Make the missing arms; the numbers and reasons of those that failed.

    A worker that is killed (by the system, where memory is short) can take the launcher and other workers with it.
    Then the arms that were under way are launched one by one, so that an arm whose worker dies each time costs
    nothing but itself.
    """
    left, deaths, idle = list(missing), Counter[int](), 0
    failed: dict[int, str] = {}
    while left:
        batch = [number for number in left if deaths[number]][:1] or left
        before, error = len(notices.read()), ""
        try:
            launch(batch)
        except Exception as raised:
            if is_full(raised):  # no notice can be posted, nor any record kept
                raise
            error = one_line(raised) or type(raised).__name__
        said = {tuple(notice["arm"]): notice for notice in notices.read()[before:]}
        for number in list(batch):
            notice = said.get(sweep.plans[number].overrides, {"status": "not begun"})
            if notice["status"] == "failed":
                failed[number] = notice["reason"]
            elif notice["status"] == "begun" and error:
                deaths[number] += 1
                if deaths[number] == TRIES:
                    failed[number] = f"its worker died {TRIES} times"
            is_over = not error or notice["status"] not in ("begun", "not begun")
            if number in failed or (is_over and notice["status"] != ELSEWHERE):
                left.remove(number)
        idle = idle + 1 if error and not said else 0
        if idle == TRIES:
            raise OSError(f"no arm could begin: {error}")
        if error and left:
            print(f"the launcher stopped ({error}); going on with {count(len(left), 'arm')}", flush=True)
    return failed
