"""A sweep: many plans, of which only those are made that are not finished, and the summary of all."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Plan
from .console import ARMS
from .paths import conf_folder, root
from .recording import LAUNCHER, Outcome
from .report import arms, swept, terminal_table, write_report
from .report.tables import count
from .tracking.records import environments, latest_runs, log_summary, newest_summary, record, summarised
from .tracking.store import FINGERPRINT, Study, link, store_errors

LAUNCHES = 3  # a launcher that dies (a worker killed by the system, say) is started again for what is left
Launch = Callable[[Sequence[int]], list[Outcome]]


SumUp = Callable[["Sweep", Study, bool], None]  # what is written of the runs, some of which may be new


@dataclass(frozen=True)
class Sweep:
    """The arms of one question, the command that asks it, and how many workers answer."""

    plans: Sequence[Plan]
    command: str
    workers: int

    @property
    def name(self) -> str:
        """Its study's name."""
        return self.plans[0].study

    @property
    def fingerprints(self) -> list[str]:
        """Identities of the arms."""
        return [plan.fingerprint for plan in self.plans]

    @property
    def identity(self) -> str:
        """Identity of the sweep: that of its arms, whatever their order."""
        return hashlib.sha256(" ".join(sorted(self.fingerprints)).encode()).hexdigest()[:16]


@store_errors()
def run_sweep(sweep: Sweep, launch: Launch, sum_up: "SumUp | None" = None) -> int:
    """Make the arms that are missing (``launch`` makes some, by number) and sum up; how many failed."""
    study = Study.open(sweep.name)
    missing = _missing(sweep, study)
    done = len(sweep.plans) - len(missing)
    if not missing:
        print(f"{sweep.name}: all {done} arms are finished, nothing to do", flush=True)
    else:
        todo, workers = count(len(missing), "arm"), count(sweep.workers, "worker")
        print(f"{sweep.name}: {todo} to do, {done} finished, {workers}", flush=True)
    failed = _launched(sweep, study, missing, launch)
    (sum_up or _sum_up)(sweep, study, bool(missing))
    for plan, reason in failed.items():
        print(f"FAILED {sweep.plans[plan].label}: {reason}")
    return len(failed)


def _missing(sweep: Sweep, study: Study) -> list[int]:
    finished = study.finished()
    return [
        number for number, plan in enumerate(sweep.plans) if plan.fingerprint not in finished or plan.config["rerun"]
    ]


def _launched(sweep: Sweep, study: Study, missing: list[int], launch: Launch) -> dict[int, str]:
    """Make the missing arms; the numbers and reasons of those that failed."""
    began = 1000 * time.time()
    for _ in range(LAUNCHES):
        if not missing:
            break
        os.environ |= {ARMS: str(len(missing)), LAUNCHER: str(os.getpid())}
        try:
            outcomes = launch(missing)
        except Exception as error:
            print(f"{sweep.name}: the launcher died ({error}); going on with what is left".replace("\n", " "))
            made = {fingerprint for fingerprint, run in study.finished().items() if run.info.end_time >= began}
            missing = [number for number in missing if sweep.plans[number].fingerprint not in made]
            continue
        return {n: o.reason for n, o in zip(missing, outcomes, strict=True) if o.status == "failed"}
    return dict.fromkeys(missing, "its worker died")


def _sum_up(sweep: Sweep, study: Study, news: bool) -> None:
    """Print the table of all arms; write and keep their report, unless the newest one is of these very arms."""
    runs = latest_runs(study)
    found = [runs[fingerprint] for fingerprint in sweep.fingerprints if fingerprint in runs]
    if not found:
        return
    brief = [record(study, run, details=False) for run in found]
    print(terminal_table(arms(brief, swept(brief))))
    page = root() / "reports" / study.name / "index.html"
    whole = len(found) == len(sweep.plans) and all(run.info.status == "FINISHED" for run in found)
    newest = newest_summary(study)
    known = newest is not None and newest.data.tags[FINGERPRINT] == sweep.identity
    if news or not whole or not known or not page.exists():
        report(study, found, sweep.command)
        if whole:
            log_summary(study, sweep.identity, page.parent, sweep.fingerprints, sweep.command)
    print("report:", page)
    print("figures:", *(path.name for path in sorted(page.parent.glob("*.png"))))
    print("MLflow, after `make ui`:", link(study))


@store_errors()
def report_again(study: Study) -> Path:
    """The report of a study's newest summary, or of all its runs where it has none, written anew."""
    runs, summary = latest_runs(study), newest_summary(study)
    wanted, command = summarised(study, summary) if summary else (list(reversed(runs)), f"every run of {study.name}")
    return report(study, [runs[fingerprint] for fingerprint in wanted if fingerprint in runs], command)


def report(study: Study, runs: Sequence[Any], command: str) -> Path:
    """Write the report of some runs of a study into ``reports/``; its folder."""
    folder = root() / "reports" / study.name
    notes = {"question": question(study.name), "command": command, "environment": environments(runs)}
    write_report(study.name, [record(study, run) for run in runs], folder, notes)
    return folder


def question(name: str) -> str:
    """What a sweep asks: the first line of words in its file, if it has one."""
    file = conf_folder() / "sweep" / f"{name}.yaml"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line[2:] for line in lines if line.startswith("# ") and "@package" not in line), "")
