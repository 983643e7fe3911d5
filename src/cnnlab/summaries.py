"""What the runs of a study found together: its tables, its report, and the summary that the store keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cnnlab.composing import Plan, Sweep
from cnnlab.locks import locked
from cnnlab.paths import conf_folder, root
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.pages import write_report
from cnnlab.report.rows import Result, Row, results_table, vote
from cnnlab.report.tables import terminal_table
from cnnlab.spelling import head
from cnnlab.tracking.records import answers, code_today, environments, log_summary, newest_summary, record, summarised
from cnnlab.tracking.store import CODE, FINGERPRINT, Study, link, state_folder, store_errors

Runs = Mapping[str, Any]  # MLflow's runs, by fingerprint
Rows = Mapping[Row, Sequence[str]]  # the fingerprints of each row's arms
Codes = Mapping[str, str]  # digests of today's code, by fingerprint


def sum_up(sweep: Sweep, study: Study, runs: Runs) -> None:
    """Print the table of a study's arms, and where to see more.

    Their report is written, and kept in the store, unless the newest one there is of these very runs. Of sweeps that
    end together one at a time does this, so that the others find it done.
    """
    plans = [plan for plan in sweep.plans if plan.study == study.name]
    if not runs:
        return
    codes = {plan.fingerprint: plan.code for plan in plans}
    rows = rows_of(sweep)
    if rows:
        print(results_table([Result.of(*found) for found in row_records(study, rows, runs, codes).items()]))
    else:
        brief = [record(study, run, codes, details=False) for run in runs.values()]
        print(terminal_table(arms(brief, swept(brief))))
    page, identity = root() / "reports" / study.name / "index.html", _identity(plans, runs, rows)
    with locked(state_folder() / f"summary-{study.experiment_id}.lock"):
        newest = newest_summary(study)
        if not page.exists() or newest is None or newest.data.tags[FINGERPRINT] != identity:
            report(study, runs, sweep.command, codes, rows)
            if len(runs) == len(plans) and all(run.info.status == "FINISHED" for run in runs.values()):
                kept = [{"row": _known(row), "fingerprints": arms} for row, arms in rows.items()]
                asked = {"fingerprints": list(runs), "command": sweep.command, "rows": kept}
                log_summary(study, identity, page.parent, asked)
    print("report:", page)
    print("figures:", *(path.name for path in sorted(page.parent.glob("*.png"))))
    print("MLflow, after `make ui`:", link(study))


def rows_of(sweep: Sweep) -> Rows:
    """The fingerprints of each row's arms, in a sweep that is a list."""
    return {row: [plan.fingerprint for plan in plans] for row, plans in sweep.rows.items()}


def _known(row: Row) -> dict[str, Any]:
    """The fields of a row, without a figure that is not known."""
    return {name: value for name, value in asdict(row).items() if value == value}  # nan is not


def _identity(plans: Sequence[Plan], runs: Runs, rows: Rows) -> str:
    """Identity of a summary: its rows and its runs, whatever their order, and whether today's code has made them."""
    found = [(runs[plan.fingerprint], plan.code) for plan in plans if plan.fingerprint in runs]
    words = sorted(f"{run.info.run_id} {run.data.tags.get(CODE) == code}" for run, code in found)
    return hashlib.sha256(" ".join([*words, *map(str, rows)]).encode()).hexdigest()[:16]


def row_records(
    study: Study, rows: Rows, runs: Runs, codes: Codes, details: bool = False
) -> dict[Row, list[RunRecord]]:
    """The finished runs of each row, a seed each; of a row that votes, what its runs answer together."""
    found = {}
    for row, fingerprints in rows.items():
        made = [run for name in fingerprints if (run := runs.get(name)) and run.info.status == "FINISHED"]
        records = [record(study, run, codes, details) for run in made]
        if made:
            row = replace(row, images=len(answers(study, made[0].info.run_id)[1]))
        if row.votes and records:
            given = [answers(study, run.info.run_id) for run in made]
            voted = vote(records, [answer for answer, _ in given], given[0][1])
            records = [voted] if len(made) == len(fingerprints) else []
        found[row] = records
    return found


@store_errors()
def report_again(study: Study) -> Path:
    """The report of a study's newest summary, or of all its runs where it has none, written anew."""
    summary = newest_summary(study)
    kept: dict[str, Any] = summarised(study, summary) if summary else {"command": f"every run of {study.name}"}
    runs = study.newest(kept.get("fingerprints"))
    if not summary:
        runs = dict(reversed(runs.items()))  # oldest first
    codes = {fingerprint: code_today(study, run) for fingerprint, run in runs.items()}
    rows = {Row(**known["row"]): known["fingerprints"] for known in kept.get("rows", ())}
    return report(study, runs, kept["command"], codes, rows)


def report(study: Study, runs: Runs, command: str, codes: Codes, rows: Rows) -> Path:
    """Write the report of some runs of a study, which may be a list of rows, into `reports/`; its folder."""
    folder = root() / "reports" / study.name
    notes = {"question": question(study.name), "command": command, "environment": environments(list(runs.values()))}
    results = [Result.of(*found) for found in row_records(study, rows, runs, codes).items()]
    names = {name: row.name for row, fingerprints in rows.items() if not row.votes for name in fingerprints}
    records = [replace(record(study, run, codes), row=names.get(name, "")) for name, run in runs.items()]
    write_report(study.name, records, folder, notes, results)
    return folder


def question(name: str) -> str:
    """What a sweep asks: what its file begins with, if it has one."""
    file = conf_folder() / "sweep" / f"{name}.yaml"
    return head(file) if file.is_file() else ""
