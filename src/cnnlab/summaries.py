"""What the runs of a study found together: its tables, its report, and the summary that the store keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cnnlab.composing import Plan, Sweep
from cnnlab.locks import locked
from cnnlab.paths import UI, conf_folder, root
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.findings import answer
from cnnlab.report.pages import write_report
from cnnlab.report.rows import Result, Row, results_table, vote
from cnnlab.report.sentences import sentences, winner
from cnnlab.report.tables import terminal_table
from cnnlab.spelling import Grammar
from cnnlab.tracking import records as kept
from cnnlab.tracking.access import store_errors
from cnnlab.tracking.leases import leased
from cnnlab.tracking.log import say_waiting
from cnnlab.tracking.registry import register_best
from cnnlab.tracking.store import CODE, FINGERPRINT, Study, link, state_folder
from cnnlab.tracking.views import show

Runs = Mapping[str, Any]  # MLflow's runs, by fingerprint
Rows = Mapping[Row, Sequence[str]]  # the fingerprints of each row's arms
Codes = Mapping[str, str]  # digests of today's code, by fingerprint


def sum_up(sweep: Sweep, study: Study, runs: Runs) -> None:
    """Print the table of a study's arms, and where to see more.

    Their report is written, and kept in the store, unless the newest one there is of these very runs. Of sweeps that
    end together, in this home or in others on the same store, one at a time does this, so that the others find it done.
    """
    plans = [plan for plan in sweep.plans if plan.study == study.name]
    if not runs:
        return
    codes = {plan.fingerprint: plan.code for plan in plans}
    rows = rows_of(sweep)
    brief = _records(study, rows, runs, codes, details=False)
    results = [Result.of(*found) for found in row_records(study, rows, runs, codes).items()]
    words = swept(brief)
    found = arms(brief, words)
    print(results_table(results) if rows else terminal_table(found))
    for sentence in sentences(answer(found, words, sweep.asked), results):
        print(sentence)
    page, identity = root() / "reports" / study.name / "index.html", _identity(sweep, plans, runs, rows)
    turn = f"summary-{study.experiment_id}"
    with locked(state_folder() / f"{turn}.lock"):
        if not page.exists() or not _is_newest(study, identity):  # else nothing is written: the store may refuse that
            with leased(turn, lambda: say_waiting(f"the summary of {study.name}")):
                is_kept = _is_newest(study, identity)
                report(study, runs, sweep.command, codes, sweep.asked, rows)
                is_whole = len(runs) == len(plans) and all(run.info.status == "FINISHED" for run in runs.values())
                if is_whole and not is_kept:
                    listed = [{"row": _known(row), "fingerprints": arms} for row, arms in rows.items()]
                    asked = {"fingerprints": list(runs), "command": sweep.command, "rows": listed}
                    kept.log_summary(study, identity, page.parent, asked | asdict(sweep.asked))
    print("report:", page)
    print("figures:", *(path.name for path in sorted(page.parent.glob("*.png"))))
    print(f"MLflow, after {UI}:", link(study))


def _is_newest(study: Study, identity: str) -> bool:
    """Whether the study's newest summary is of this identity."""
    newest = kept.newest_summary(study)
    return newest is not None and newest.data.tags[FINGERPRINT] == identity


def rows_of(sweep: Sweep) -> Rows:
    """The fingerprints of each row's arms, in a sweep that is a list."""
    return {row: [plan.fingerprint for plan in plans] for row, plans in sweep.rows.items()}


def _known(row: Row) -> dict[str, Any]:
    """The fields of a row, without a figure that is not known."""
    return {name: value for name, value in asdict(row).items() if value == value}  # nan is not


def _identity(sweep: Sweep, plans: Sequence[Plan], runs: Runs, rows: Rows) -> str:
    """Identity of a summary: what is asked, its rows and its runs in any order, and whether today's code made them."""
    found = [(runs[plan.fingerprint], plan.code) for plan in plans if plan.fingerprint in runs]
    words = sorted(f"{run.info.run_id} {run.data.tags.get(CODE) == code}" for run, code in found)
    return hashlib.sha256(" ".join([*words, *map(str, rows), str(sweep.asked)]).encode()).hexdigest()[:16]


def records_of(study: Study, sweep: Sweep, runs: Runs) -> list[RunRecord]:
    """What is known of each run of a sweep."""
    return _records(study, rows_of(sweep), runs, {plan.fingerprint: plan.code for plan in sweep.plans})


def _records(study: Study, rows: Rows, runs: Runs, codes: Codes, details: bool = True) -> list[RunRecord]:
    """What is known of each run, with the name of the row that it was made for."""
    names = {name: row.name for row, fingerprints in rows.items() if not row.votes for name in fingerprints}
    return [replace(kept.record(study, run, codes, details), row=names.get(name, "")) for name, run in runs.items()]


def row_records(
    study: Study, rows: Rows, runs: Runs, codes: Codes, details: bool = False
) -> dict[Row, list[RunRecord]]:
    """The finished runs of each row, a seed each; of a row that votes, what its runs answer together.

    Where the answers of a run are gone, a line says so, and its row has no vote.
    """
    found = {}
    for row, fingerprints in rows.items():
        made = [run for name in fingerprints if (run := runs.get(name)) and run.info.status == "FINISHED"]
        records = [kept.record(study, run, codes, details) for run in made]
        given = [record.answers for record in records if record.answers is not None]
        if row.votes:
            records = [vote(records)] if given and len(given) == len(fingerprints) else []
        if given:
            row = replace(row, images=len(given[0]))
        found[row] = records
    return found


@store_errors()
def report_again(study: Study) -> Path:
    """The report of a study's newest summary, or of all its runs where it has none, written anew."""
    summary, known = kept.newest_summary(study), dict[str, Any]()
    if summary:
        with kept.despite_lost_files():
            known = kept.summarised(study, summary)
    runs = study.newest(known.get("fingerprints"))
    if not known:
        runs = dict(reversed(runs.items()))  # oldest first
    codes = {}
    for fingerprint, run in runs.items():
        with kept.despite_lost_files():
            codes[fingerprint] = kept.code_today(study, run)
    rows = {Row(**listed["row"]): listed["fingerprints"] for listed in known.get("rows", ())}
    asked = Asked(tuple(known.get("contrasts", ())), known.get("within", ""), tuple(known.get("staircase", ())))
    return report(study, runs, known.get("command", f"every run of {study.name}"), codes, asked, rows)


def report(study: Study, runs: Runs, command: str, codes: Codes, asked: Asked, rows: Rows) -> Path:
    """Write the report of some runs of a study, which may be a list of rows, into `reports/`; its folder.

    MLflow's pages of the study say the same then, and its best network is a registered model.
    """
    folder = root() / "reports" / study.name
    environment = kept.environments(list(runs.values()))
    notes = {"question": question(study.name), "command": command, "environment": environment}
    results = [Result.of(*found) for found in row_records(study, rows, runs, codes).items()]
    records = _records(study, rows, runs, codes)
    write_report(study.name, records, folder, notes, results, asked)
    words = swept(records)
    found = arms(records, words)
    said = [winner(found), *sentences(answer(found, words, asked), results)]
    if model := register_best(study, found):
        said.append(f"The network of the best arm's first seed is the registered model `{model}`.")
    show(study, list(runs.values()), found, notes["question"], said)
    return folder


def question(name: str) -> str:
    """What a sweep asks, as the head of its file says, if it has one."""
    grammar = Grammar((conf_folder(),))
    return grammar.about("sweep", name) if name in grammar.groups["sweep"] else ""
