"""What the runs of a study found together: its tables, its report, and the summary that the store keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnlab.composing import Plan, Sweep
from cnnlab.paths import conf_folder, root
from cnnlab.report import RunRecord, arms, swept, terminal_table, write_report
from cnnlab.report.rows import Result, Row, results_table, vote
from cnnlab.spelling import Grammar
from cnnlab.tracking import records as kept
from cnnlab.tracking.store import CODE, FINGERPRINT, Study, link, store_errors


def sum_up(sweep: Sweep, study: Study, runs: Mapping[str, Any]) -> None:
    """Print the table of a study's arms, and where to see more; `runs` are MLflow's runs of these, by fingerprint.

    Their report is written, and kept in the store, unless the newest one there is of these very runs.
    """
    plans = [plan for plan in sweep.plans if plan.study == study.name]
    if not runs:
        return
    codes = {plan.fingerprint: plan.code for plan in plans}
    if sweep.rows:
        print(results_table(Result.of(row, records) for row, records in row_records(sweep, study, runs).items()))
    else:
        brief = [kept.record(study, run, codes, details=False) for run in runs.values()]
        print(terminal_table(arms(brief, swept(brief))))
    page, identity = root() / "reports" / study.name / "index.html", _identity(plans, runs)
    newest = kept.newest_summary(study)
    if not page.exists() or newest is None or newest.data.tags[FINGERPRINT] != identity:
        report(study, list(runs.values()), sweep.command, codes)
        if len(runs) == len(plans) and all(run.info.status == "FINISHED" for run in runs.values()):
            kept.log_summary(study, identity, page.parent, list(runs), sweep.command)
    print("report:", page)
    print("figures:", *(path.name for path in sorted(page.parent.glob("*.png"))))
    print("MLflow, after `make ui`:", link(study))


def _identity(plans: Sequence[Plan], runs: Mapping[str, Any]) -> str:
    """Identity of a summary: that of its runs, whatever their order, and of whether today's code has made them."""
    found = [(runs[plan.fingerprint], plan.code) for plan in plans if plan.fingerprint in runs]
    words = sorted(f"{run.info.run_id} {run.data.tags.get(CODE) == code}" for run, code in found)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def row_records(
    sweep: Sweep, study: Study, runs: Mapping[str, Any], details: bool = False
) -> dict[Row, list[RunRecord]]:
    """The finished runs of each row of a sweep, a seed each; of a row that votes, what its runs answer together.

    Where the answers of a run are gone, a line says so, and its row has no vote.
    """
    codes = {plan.fingerprint: plan.code for plan in sweep.plans}
    found = {}
    for row, numbers in sweep.rows.items():
        plans = [sweep.plans[number] for number in numbers]
        made = [runs[plan.fingerprint] for plan in plans if plan.fingerprint in runs]
        made = [run for run in made if run.info.status == "FINISHED"]
        records = [kept.record(study, run, codes, details) for run in made]
        given = []
        with kept.despite_lost_files():
            given = [kept.answers(study, run) for run in (made if row.votes else made[:1])]
        if row.votes:
            complete = given and len(given) == len(plans)
            records = [vote(records, [answer for answer, _ in given], given[0][1])] if complete else []
        if plans:  # of rows that are not run, too: by its passes a row of the notebook is known again
            row = replace(row, passes=str(plans[0].config["learner"].get("epochs", "")))
        if given:
            row = replace(row, images=len(given[0][1]))
        found[row] = records
    return found


@store_errors()
def report_again(study: Study) -> Path:
    """The report of a study's newest summary, or of all its runs where it has none, written anew."""
    wanted, command = None, f"every run of {study.name}"
    if summary := kept.newest_summary(study):
        with kept.despite_lost_files():
            wanted, command = kept.summarised(study, summary)
    runs = list(study.newest(wanted).values())
    codes = {}
    for run in runs:
        with kept.despite_lost_files():
            codes[run.data.tags[FINGERPRINT]] = kept.code_today(study, run)
    return report(study, runs if wanted else runs[::-1], command, codes)


def report(study: Study, runs: Sequence[Any], command: str, codes: Mapping[str, str]) -> Path:
    """Write the report of some runs of a study into `reports/`; its folder.

    `codes` are the digests of today's code, by fingerprint.
    """
    folder = root() / "reports" / study.name
    notes = {"question": question(study.name), "command": command, "environment": kept.environments(runs)}
    write_report(study.name, [kept.record(study, run, codes) for run in runs], folder, notes)
    return folder


def question(name: str) -> str:
    """What a sweep asks, as the head of its file says, if it has one."""
    grammar = Grammar((conf_folder(),))
    return grammar.about("sweep", name) if name in grammar.groups["sweep"] else ""
