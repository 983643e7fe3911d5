"""A sweep: many runs, of which only those are made that are not finished, and what they found together."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnlab.composing import Plan, Sweep
from cnnlab.journal import Watcher
from cnnlab.orphans import reaper
from cnnlab.paths import conf_folder, root
from cnnlab.report import RunRecord, arms, swept, terminal_table, write_report
from cnnlab.report.rows import Result, Row, results_table, vote
from cnnlab.report.tables import count
from cnnlab.runs import Outcome, make
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.records import answers, environments, log_summary, newest_summary, record, summarised
from cnnlab.tracking.store import CODE, FINGERPRINT, Study, link, store_errors

NOTICES = "arms.jsonl"  # where workers say which arm they begin and end: the launching process reads it
TRIES = 3  # so often may the worker of an arm die, or a launcher end before any arm begins

Launch = Callable[[Sequence[int]], Any]  # make the arms of these numbers, each by `make_arm`


def make_arm(plan: Plan, folder: Path) -> Outcome:
    """Make one arm of a sweep in a worker, and post its beginning and its end in the sweep's folder."""
    _post(folder, plan, "begun")
    try:
        outcome = make(plan, RunLog(), Watcher())
    except OSError as error:
        outcome = Outcome("failed", plan.label, reason=str(error))
    _post(folder, plan, outcome.status, str(outcome), outcome.reason)
    return outcome


def _post(folder: Path, plan: Plan, status: str, line: str = "", reason: str = "") -> None:
    notice = {"arm": [plan.study, plan.fingerprint], "status": status, "line": line, "reason": reason}
    with (folder / NOTICES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(notice) + "\n")  # in one write, which other workers' cannot split


@store_errors()
def run_sweep(sweep: Sweep, launch: Launch, folder: Path) -> int:
    """Make the arms that are missing and sum up; how many failed or cannot be. Workers post to the `folder`."""
    studies = {name: Study.open(name) for name in dict.fromkeys(plan.study for plan in sweep.plans)}
    name = ", ".join(studies)
    missing, other_code = _missing(sweep, studies)
    done = len(sweep.plans) - len(missing)
    if missing:
        todo, workers = count(len(missing), "arm"), count(sweep.workers, "worker")
        print(f"{name}: {todo} to do, {done} finished, {workers}", flush=True)
    else:
        print(f"{name}: all {done} arms are finished, nothing to do", flush=True)
    if other_code:
        print(f"{name}: {other_code} of these were made by other code than today's; rerun=changed makes them again")
    failed = _made(sweep, missing, launch, folder) if missing else {}
    for study in studies.values():
        _sum_up(sweep, study, bool(missing))
    for reason in sweep.refused:
        print(f"FAILED {reason}")
    for number, reason in failed.items():
        print(f"FAILED {sweep.plans[number].label}: {reason}")
    return len(failed) + len(sweep.refused)


def _missing(sweep: Sweep, studies: dict[str, Study]) -> tuple[list[int], int]:
    """The numbers of the arms to be made, and how many of the others were made by other code."""
    missing, other_code = [], 0
    for name, study in studies.items():
        numbers = [number for number, plan in enumerate(sweep.plans) if plan.study == name]
        known = study.newest([sweep.plans[number].fingerprint for number in numbers])
        for number in numbers:
            plan = sweep.plans[number]
            run, rerun = known.get(plan.fingerprint), plan.config["rerun"]
            changed = run is not None and run.data.tags.get(CODE) != plan.code
            if run is None or run.info.status != "FINISHED" or rerun == "true" or (rerun == "changed" and changed):
                missing.append(number)
            else:
                other_code += changed
    return sorted(missing), other_code


def _made(sweep: Sweep, missing: list[int], launch: Launch, folder: Path) -> dict[int, str]:
    """Make the missing arms, telling of each; the numbers and reasons of those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with reaper(sweep.plans[0].study), _told(folder, len(missing)):
            return _launched(sweep, missing, launch, folder)
    finally:
        (folder / NOTICES).unlink(missing_ok=True)
        with suppress(OSError):  # a launcher's own files stay
            folder.rmdir()


def _launched(sweep: Sweep, missing: list[int], launch: Launch, folder: Path) -> dict[int, str]:
    """Make the missing arms; the numbers and reasons of those that failed.

    A worker that is killed (by the system, where memory is short) can take the launcher with it. Then the arms that
    were under way are launched one by one, so that an arm whose worker dies each time costs nothing but itself.
    """
    batches, deaths, idle = [missing], Counter[int](), 0
    failed: dict[int, str] = {}
    while batches:
        batch = batches.pop(0)
        before = len(_notices(folder))
        try:
            launch(batch)
            error = None
        except Exception as raised:
            error = " ".join(str(raised).split())
        said = _by_arm(sweep, batch, _notices(folder)[before:])
        failed |= {number: notice["reason"] for number, notice in said.items() if notice["status"] == "failed"}
        if error is None:
            continue
        left = [number for number in batch if number not in said or said[number]["status"] == "begun"]
        under_way = [number for number in left if number in said]
        print(f"a worker died ({error}); going on with {count(len(left), 'arm')}", flush=True)
        deaths.update(under_way)
        idle = 0 if said else idle + 1
        if idle == TRIES:
            return failed | dict.fromkeys([*left, *(number for later in batches for number in later)], error)
        for number in [number for number in under_way if deaths[number] == TRIES]:
            failed[number] = f"its worker died {TRIES} times"
            under_way.remove(number)
        rest = [number for number in left if number not in said]
        batches = [*([number] for number in under_way), *([rest] if rest else []), *batches]
    return failed


def _by_arm(sweep: Sweep, batch: Sequence[int], notices: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The last notice of each arm that has one."""
    last = {tuple(notice["arm"]): notice for notice in notices}
    keys = {number: (sweep.plans[number].study, sweep.plans[number].fingerprint) for number in batch}
    return {number: last[key] for number, key in keys.items() if key in last}


def _notices(folder: Path) -> list[dict[str, Any]]:
    """What the workers have posted so far."""
    file = folder / NOTICES
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def _told(folder: Path, todo: int) -> Iterator[None]:
    """Print each arm that ends meanwhile, with how many are done and how long the others will take."""
    over, began = threading.Event(), time.monotonic()

    def tell() -> None:
        told = 0
        while True:
            last = over.wait(0.2)
            ended = [notice["line"] for notice in _notices(folder) if notice["status"] != "begun"]
            for number, line in enumerate(ended[told:], told + 1):
                left = (time.monotonic() - began) / number * (todo - number)
                when = f", {duration(left)} left" if left else ""
                print(f"{number} of {todo} done{when}: {line}", flush=True)
            told = len(ended)
            if last:
                return

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def duration(seconds: float) -> str:
    """A time as a person says it: "40 s", "1 min 40 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _sum_up(sweep: Sweep, study: Study, news: bool) -> None:
    """Print the table of a study's arms; write and keep their report, unless the newest one is of these very runs."""
    plans = [plan for plan in sweep.plans if plan.study == study.name]
    runs = study.newest([plan.fingerprint for plan in plans])
    codes = {plan.fingerprint: plan.code for plan in plans}
    found = list(runs.values())
    if not found:
        return
    if sweep.rows:
        print(results_table(Result.of(row, records) for row, records in row_records(sweep, study).items()))
    else:
        brief = [record(study, run, codes, details=False) for run in found]
        print(terminal_table(arms(brief, swept(brief))))
    page = root() / "reports" / study.name / "index.html"
    whole = len(found) == len(plans) and all(run.info.status == "FINISHED" for run in found)
    identity = _identity(plans)
    newest = newest_summary(study)
    known = newest is not None and newest.data.tags[FINGERPRINT] == identity
    if news or not whole or not known or not page.exists():
        report(study, found, sweep.command, codes)
        if whole:
            log_summary(study, identity, page.parent, list(runs), sweep.command)
    print("report:", page)
    print("figures:", *(path.name for path in sorted(page.parent.glob("*.png"))))
    print("MLflow, after `make ui`:", link(study))


def _identity(plans: Sequence[Plan]) -> str:
    """Identity of a sweep: that of its arms, whatever their order."""
    return hashlib.sha256(" ".join(sorted(plan.fingerprint for plan in plans)).encode()).hexdigest()[:16]


def row_records(sweep: Sweep, study: Study, details: bool = False) -> dict[Row, list[RunRecord]]:
    """The finished runs of each row of a sweep, a seed each; of a row that votes, what its runs answer together."""
    runs = study.newest([plan.fingerprint for plan in sweep.plans])
    codes = {plan.fingerprint: plan.code for plan in sweep.plans}
    found = {}
    for row, numbers in sweep.rows.items():
        plans = [sweep.plans[number] for number in numbers]
        made = [runs[plan.fingerprint] for plan in plans if plan.fingerprint in runs]
        made = [run for run in made if run.info.status == "FINISHED"]
        records = [record(study, run, codes, details) for run in made]
        if row.votes and records:
            given = [answers(study, run.info.run_id) for run in made]
            voted = vote(records, [answer for answer, _ in given], given[0][1])
            records = [voted] if len(made) == len(plans) else []
        if made:
            images = len(answers(study, made[0].info.run_id)[1])
            row = replace(row, images=images, passes=str(plans[0].config["learner"].get("epochs", "")))
        found[row] = records
    return found


@store_errors()
def report_again(study: Study) -> Path:
    """The report of a study's newest summary, or of all its runs where it has none, written anew."""
    summary = newest_summary(study)
    wanted, command = summarised(study, summary) if summary else (None, f"every run of {study.name}")
    runs = list(study.newest(wanted).values())
    return report(study, runs if summary else runs[::-1], command)


def report(study: Study, runs: Sequence[Any], command: str, codes: dict[str, str] | None = None) -> Path:
    """Write the report of some runs of a study into `reports/`; its folder. `codes`: today's, by fingerprint."""
    folder = root() / "reports" / study.name
    notes = {"question": question(study.name), "command": command, "environment": environments(runs)}
    write_report(study.name, [record(study, run, codes) for run in runs], folder, notes)
    return folder


def question(name: str) -> str:
    """What a sweep asks: the first line of words in its file, if it has one."""
    file = conf_folder() / "sweep" / f"{name}.yaml"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line[2:] for line in lines if line.startswith("# ") and "@package" not in line), "")
