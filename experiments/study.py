"""The folder of a study, written from what `make study STUDY=name` has finished.

python experiments/study.py pooling
python experiments/study.py first_look seed=0,1,2,3,4

`results.csv` has a line for each run, `answers.npz` what each answered to every test image. All numbers of the page, in
README.md between comments, are made from these two files alone, so that they can be made again by anybody; the rest of
the page is written by hand. Figures of what happens while a network is trained need the runs themselves.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnlab import plots
from cnnlab.composing import sweep_of
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.arms import RunRecord
from cnnlab.report.contrasts import Asked
from cnnlab.report.pages import drawn, numbers
from cnnlab.report.tables import as_csv, replaced
from cnnlab.summaries import question, records_of
from cnnlab.tracking.store import Study

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
KEPT = ("run_id", "status", "reason", "row", "code", "machine", "lr_source")
PAGE = """# {name}

**Question.** {question}

**Command.** `make study STUDY={name}`: it tunes, runs what is not finished, and writes this page.

<!-- numbers -->
<!-- /numbers -->

## Predictions

## Open
"""


def main(name: str, words: Sequence[str] = (), folder: Path | None = None) -> None:
    """Write what is known of the study, whose sweep had these words."""
    folder = folder or FOLDER / name
    sweep = sweep_of(name, words)
    study = Study.open(name)
    runs = study.newest([plan.fingerprint for plan in sweep.plans])
    if not runs:
        sys.exit(f"{name}: no run of it was found: `make study STUDY={name}` makes them")
    records = records_of(study, sweep, runs)
    keep(records, folder)
    write_page(name, folder, sweep.asked)
    for file, figure in drawn(name, records, sweep.asked).items():
        write_atomically(folder / file, plots.png(figure))


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
    write_atomically(folder / "results.csv", as_csv(lines).encode())
    write_atomically(folder / "answers.npz", buffer.getvalue())


def kept(folder: Path) -> list[RunRecord]:
    """The runs that the two files tell of; only what happened while they were trained is not in there."""
    with np.load(folder / "answers.npz", allow_pickle=False) as file:
        labels, off = file["labels"], dict(zip(file["runs"].tolist(), file["off"], strict=True))
        given = {run: (labels.astype(int) + wrong) % file["classes"] for run, wrong in off.items()}
    lines = csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").splitlines())
    return [_record(line, given.get(line["run_id"]), labels) for line in lines]


def _record(line: dict[str, str], answers: np.ndarray | None, labels: np.ndarray) -> RunRecord:
    facts = {name: line.pop(name) for name in KEPT}
    values = {metric: line.pop(name) for name, metric in METRICS.items()}
    known = RunRecord(facts.pop("run_id"), line, facts.pop("status"))
    metrics = {metric: float(value) for metric, value in values.items() if value}
    return replace(known, metrics=metrics, answers=answers, labels=labels, **facts)  # type: ignore[arg-type]


def write_page(name: str, folder: Path, asked: Asked) -> None:
    """Write the numbers of a study's page anew, from its two files."""
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else PAGE.format(name=name, question=question(name))
    write_atomically(page, replaced(text, "numbers", numbers(name, kept(folder), asked)).encode())


def _written(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


if __name__ == "__main__":
    refuse_other_checkout()
    if len(sys.argv) < 2:
        sys.exit(f"say which study, as in `python {sys.argv[0]} pooling`")
    main(sys.argv[1], sys.argv[2:])
