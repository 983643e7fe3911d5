"""The folder of a study, written from what `make study STUDY=name` has finished.

python experiments/study.py pooling
python experiments/study.py first_look seed=0,1,2,3,4

`results.csv` has a line for each run, `answers.npz` what each answered to every test image, `rates.csv` the runs by
which learning rates were chosen, and `changed.csv` the errors on changed test images, where the sweep's file says
`evaluate`. All numbers of the page, in README.md between comments, are made from these files alone, so that they can be
made again by anybody; the rest of the page is written by hand. Figures of what happens while a network is trained need
the runs themselves.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab import plots, rates, tuning
from cnnlab.changes import KINDS
from cnnlab.commands import in_one_line
from cnnlab.composing import Sweep, sweep_of
from cnnlab.paths import conf_folder, is_full, refuse_other_checkout, write_atomically
from cnnlab.report import changed, tuned
from cnnlab.report.arms import Arm, RunRecord, arms, swept
from cnnlab.report.contrasts import Asked, Contrast
from cnnlab.report.pages import drawn, numbers
from cnnlab.report.panels import rate_curves
from cnnlab.report.tables import as_csv, count, replaced
from cnnlab.robustness import evaluate
from cnnlab.spelling import check_words
from cnnlab.summaries import question, records_of
from cnnlab.tracking.access import store_errors
from cnnlab.tracking.store import Study
from cnnlab.training import Diverged

FOLDER = Path(__file__).resolve().parent
METRICS = {
    "test_error_percent": "test/error_percent",
    "val_error_percent": "val/error_percent",
    "train_accuracy": "train/accuracy",
    "train_loss": "train/loss",
    "parameters": "size/parameters",
    "macs": "size/macs",
    "seconds": "time/total_s",
}
RESULTS, RATES, CHANGED = "results.csv", "rates.csv", "changed.csv"
KEPT = ("run_id", "status", "reason", "row", "code", "machine", "lr_source")
PAGE = """# {name}

**Question.** {question}

**Command.** `make study STUDY={name}`: it tunes, runs what is not finished, and writes this page.

<!-- numbers -->
<!-- /numbers -->

## Predictions

## Open
"""


@store_errors()
def main(name: str, words: Sequence[str] = (), folder: Path | None = None) -> None:
    """Write what is known of the study, whose sweep had these words.

    Exit with 1 where a run cannot be evaluated, or has failed; but that a rate is too large, so that a run diverges, is
    an answer, too.
    """
    folder = folder or FOLDER / name
    sweep = sweep_of(name, words)
    study = Study.open(name)
    runs = study.newest([plan.fingerprint for plan in sweep.plans])
    if not runs:
        sys.exit(f"{name}: no run of it was found: `make study STUDY={name}` makes them")
    if missing := len(sweep.plans) - len(runs):
        left = f"{count(missing, 'run')} of {len(sweep.plans)} not begun"
        sys.exit(f"{name}: {left}, so nothing is written: `make study STUDY={name}` goes on")
    records = records_of(study, sweep, runs)
    keep(records, folder)
    by_id = {run.info.run_id: (run, plan.tuned_for) for plan in sweep.plans if (run := runs.get(plan.fingerprint))}
    found = arms(records, swept(records))
    _keep_lines(folder / RATES, rate_lines(found, {run: key for run, (_, key) in by_id.items()}))
    tested, failed = changed_lines(found, study, sweep, {run_id: run for run_id, (run, _) in by_id.items()})
    _keep_lines(folder / CHANGED, tested)
    write_page(name, folder, sweep.asked)
    for file, figure in drawn(name, records, sweep.asked).items():
        if figure:
            write_atomically(folder / file, plots.png(figure))
    write_figures(name, folder)
    print(f"written: {folder / 'README.md'}")
    ended = [of for of in records if of.status not in ("FINISHED", "RUNNING")]
    if wrong := [of.run_id for of in ended if not of.reason.startswith(Diverged.__name__)]:
        print(f"{name}: {count(len(wrong), 'run')} failed, or was killed; `make study STUDY={name}` makes it again")
    if failed or wrong or sweep.refused:
        sys.exit(1)


def keep(records: Sequence[RunRecord], folder: Path) -> None:
    """Write `results.csv` and `answers.npz`, which has for each answered image answer minus label: mostly 0."""
    given = {of.run_id: (of.answers, of.labels) for of in records if of.answers is not None and of.labels is not None}
    words = dict.fromkeys(word for record in records for word in record.words)
    lines = [
        {word: record.words.get(word, "") for word in words}
        | {name: _written(record.metrics.get(metric, math.nan)) for name, metric in METRICS.items()}
        | {name: getattr(record, name) for name in KEPT}
        for record in records
    ]
    labels = next((labels for _, labels in given.values()), np.array([0]))
    classes = 1 + max([int(labels.max()), *(int(answers.max()) for answers, _ in given.values())])
    off = [(answers.astype(int) - labels) % classes for answers, _ in given.values()]
    small, buffer = np.min_scalar_type(classes), io.BytesIO()
    parts = {"runs": np.array(list(given)), "labels": labels.astype(small), "off": np.array(off, small)}
    np.savez_compressed(buffer, allow_pickle=False, classes=np.array(classes), **parts)
    write_atomically(folder / RESULTS, as_csv(lines).encode())
    write_atomically(folder / "answers.npz", buffer.getvalue())


def kept(folder: Path) -> list[RunRecord]:
    """The runs that the first two files tell of; only what happened while they were trained is not in there."""
    with np.load(folder / "answers.npz", allow_pickle=False) as file:
        labels, off = file["labels"], dict(zip(file["runs"].tolist(), file["off"], strict=True))
        given = {run: (labels.astype(int) + wrong) % file["classes"] for run, wrong in off.items()}
    return [_record(line, given.get(line["run_id"]), labels) for line in lines_of(folder / RESULTS)]


def _record(line: dict[str, str], answers: np.ndarray | None, labels: np.ndarray) -> RunRecord:
    facts = {name: line.pop(name) for name in KEPT}
    values = {metric: line.pop(name) for name, metric in METRICS.items()}
    known = RunRecord(facts.pop("run_id"), line, facts.pop("status"))
    metrics = {metric: float(value) for metric, value in values.items() if value}
    return replace(known, metrics=metrics, answers=answers, labels=labels, **facts)  # type: ignore[arg-type]


def rate_lines(found: Sequence[Arm], keys: Mapping[str, rates.Key]) -> list[dict[str, object]]:
    """A line for each run by which an arm's rate was chosen; none of arms that were run at another rate than that.

    `keys` say what the rate of each run was tuned for, by the run's id.
    """
    lines = []
    for arm in found:
        key = keys[arm.records[0].run_id]
        curve = tuning.curve_of(key)
        if curve and {float(record.words["lr"]) for record in arm.records} == {curve["rate"]}:
            lines += tuning.lines(arm.label, key)
    return lines


def changed_lines(
    found: Sequence[Arm], study: Study, sweep: Sweep, runs: Mapping[str, Any]
) -> tuple[list[dict[str, object]], int]:
    """A line for each error on changed test images, of all finished runs, and how many runs cannot be evaluated.

    The images are changed as far as the sweep says; what a run knows already is not computed again.
    """
    lines, failed = list[dict[str, object]](), 0
    for arm in found if sweep.changes else ():
        for record in arm.finished:
            seed = record.words.get("seed", "")
            try:
                for kind, curves, new in evaluate(study, runs[record.run_id], sweep.changes):
                    if new:
                        print(f"{arm.label}, seed {seed}: {kind}", flush=True)
                    lines += [
                        {"arm": arm.label, "seed": seed, "kind": kind, "direction": direction}
                        | {"unit": KINDS[kind].unit, "amount": amount, "error": _written(errors[amount])}
                        for direction, errors in curves.items()
                        for amount in KINDS[kind].amounts(direction, sweep.changes[kind])
                    ]
            except (ValueError, OSError) as error:
                if is_full(error):
                    raise
                failed += 1
                print(f"FAILED {arm.label}, seed {seed}: {error}", flush=True)
    return lines, failed


def _keep_lines(file: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """A table as a file, and no file where the table is empty."""
    if lines:
        write_atomically(file, as_csv(lines).encode())
    else:
        file.unlink(missing_ok=True)


def lines_of(file: Path) -> list[dict[str, str]]:
    """The lines of a table; none where there is no such file."""
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) if file.exists() else []


def write_page(name: str, folder: Path, asked: Asked) -> None:
    """Write the numbers of a study's page anew, from its files."""
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else PAGE.format(name=name, question=question(name))
    write_atomically(page, replaced(text, "numbers", told(name, folder, asked)).encode())


def told(name: str, folder: Path, asked: Asked) -> str:
    """The part of a study's page that is made from its files."""
    records = kept(folder)
    parts = [numbers(name, records, asked)]
    if lines := lines_of(folder / RATES):
        contrasts = [Contrast.parse(text) for text in asked.contrasts]
        parts.append(tuned.section(tuned.curves(lines), arms(records, swept(records)), contrasts))
    if lines := lines_of(folder / CHANGED):
        parts.append(changed.section(changed.errors(lines)))
    return "\n\n".join(parts)


def write_figures(name: str, folder: Path) -> None:
    """Write the figures of tuning and of changed images, from their files."""
    if lines := lines_of(folder / RATES):
        title = f"{name}: validation error at each learning rate"
        write_atomically(folder / "rates.png", plots.png(rate_curves(tuned.curves(lines), title)))
    if lines := lines_of(folder / CHANGED):
        title = f"{name}: test error on changed images, means over seeds"
        write_atomically(folder / "changed.png", plots.png(changed.figure(changed.errors(lines), title)))


def _written(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


if __name__ == "__main__":
    refuse_other_checkout()
    if len(sys.argv) < 2:
        sys.exit(f"say which study, as in `python {sys.argv[0]} pooling`")
    with in_one_line():
        check_words([f"sweep={sys.argv[1]}", *sys.argv[2:]], [conf_folder()])
        main(sys.argv[1], sys.argv[2:])
