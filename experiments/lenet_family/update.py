"""The notebook of LeNet-5's family, written anew: the table in README.md, results.csv and the figures.

python experiments/lenet_family/update.py reads what `make reproduce` has finished.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import figures
from cnnlab import plots
from cnnlab.commands import in_one_line
from cnnlab.composing import sweep_of
from cnnlab.data import Dataset
from cnnlab.nn import Params, Sequential
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.arms import RunRecord
from cnnlab.report.rows import Result, Row, error_interval, results_table
from cnnlab.report.tables import as_csv, number, replaced
from cnnlab.statistics import t_interval
from cnnlab.summaries import row_records, rows_of
from cnnlab.tracking.records import predictor
from cnnlab.tracking.store import Study

FOLDER = Path(__file__).resolve().parent
STAR = "lenet5_1998"  # the row that the figures look at
SIZES = {15_000: f"{STAR}_15000", 30_000: f"{STAR}_30000", 60_000: STAR}  # training images of a row
FORMS = {"train_error": ".2f", "parameters": ".0f", "macs": ".0f", "seconds_per_run": ".0f"}  # of figures
MADE = ("runs", "code", "machine")
PAGE = "# LeNet-5's family\n\n<!-- results -->\n<!-- /results -->\n"  # where there is no notebook yet
TITLES = {
    "passes": "LeNet-5 as in 1998: error against passes",
    "sizes": "LeNet-5 as in 1998: error against training images",
    "layers": "LeNet-5 as in 1998: what each layer makes of the first test image",
    "C1": "kernels of C1",
    "C3": "kernels of C3 (columns) for each map of S2 (rows)",
}


def main(folder: Path = FOLDER) -> None:
    """Write what there is to see of all rows that are finished."""
    sweep = sweep_of("lenet_family")
    study = Study.open("lenet_family")
    runs = study.newest([plan.fingerprint for plan in sweep.plans])
    codes = {plan.fingerprint: plan.code for plan in sweep.plans}
    records = row_records(study, rows_of(sweep), runs, codes, details=True)
    update(list(records), {row.name: found for row, found in records.items()}, folder)
    plan = next(plans[0] for row, plans in sweep.rows.items() if row.name == STAR)
    if run := study.finished(plan.fingerprint):
        data = plan.data
        star = predictor(study, run)
        look_inside(*star.networks[0], data, star.outputs(data.test.pixels), folder)
    print(f"written: {folder / 'README.md'}")


def update(rows: Sequence[Row], records: Mapping[str, Sequence[RunRecord]], folder: Path = FOLDER) -> list[Result]:
    """Write the tables and the figures of numbers; what they show, row by row.

    A row keeps its line of `results.csv`, which was found elsewhere, until all its seeds, or as many, are found here.
    """
    lines, page = folder / "results.csv", folder / "README.md"
    kept = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    known = {line["name"]: line for line in csv.DictReader(kept)}
    results = [_better(Result.of(row, records.get(row.name, ())), known.get(row.name)) for row in rows]
    write_atomically(lines, as_csv([line_of(result) for result in results]).encode())
    text = page.read_text(encoding="utf-8") if page.exists() else PAGE
    write_atomically(page, replaced(text, "results", results_table(results)).encode())
    if bars := {result.row.name: (result.row.paper, result.error) for result in results if result.error.n}:
        _draw(folder, "errors", figures.errors_beside, bars)
    _sizes({result.row.name: result for result in results if result.error.n}, folder)
    if histories := [record.history for record in records.get(STAR, ()) if record.history]:
        _draw(folder, "passes", figures.against_passes, histories, TITLES["passes"])
    return results


def line_of(result: Result) -> dict[str, str]:
    """A line of `results.csv`: errors in per cent, an empty field where nothing is known."""
    row, error = result.row, result.error
    return {
        "name": row.name,
        "paper_error": number(row.paper, ".2f", ""),
        "paper_source": row.source,
        "our_error_mean": number(error.mean, ".3f", ""),
        "our_error_sd": number(error.sd, ".4f", ""),
        "seeds": str(error.n),
        "passes": row.passes if error.n else "",
        **{name: number(result.figures[name], form, "") for name, form in FORMS.items()},
        "verdict": result.verdict,
        **{name: result.made.get(name, "") for name in MADE},
    }


def read(row: Row, line: Mapping[str, str]) -> Result:
    """What a line of `results.csv` says of the row; the line may lack the last three columns."""
    value = {name: float(line[name] or math.nan) for name in (*FORMS, "our_error_mean", "our_error_sd")}
    error = t_interval(value.pop("our_error_mean"), value.pop("our_error_sd"), int(line["seeds"]))
    made = {name: line[name] for name in MADE if name in line}
    return Result(replace(row, passes=line["passes"]), error_interval(error, row.images), value, made)


def _better(found: Result, line: Mapping[str, str] | None) -> Result:
    """What was found, or a line that says more of the same recipe."""
    if not line or line["passes"] != found.row.passes:
        return found
    kept = read(found.row, line)
    return kept if found.error.n < min(kept.error.n, found.row.seeds) else found


def _sizes(results: Mapping[str, Result], folder: Path) -> None:
    """Test and training error by the number of training images, where all were run."""
    if all(name in results for name in SIZES.values()):
        found = {size: results[name] for size, name in SIZES.items()}
        test = {size: (result.error.mean, result.error.half_width) for size, result in found.items()}
        training = {size: (result.figures["train_error"], math.nan) for size, result in found.items()}
        _draw(folder, "sizes", figures.against_size, {"test": test, "training": training}, TITLES["sizes"])


def look_inside(network: Sequential, params: Params, data: Dataset, outputs: np.ndarray, folder: Path = FOLDER) -> None:
    """What a trained network still gets wrong, makes of one digit layer by layer, and has learned to look for.

    `outputs` are [classes, N] for the test images.
    """
    images = data.test
    margin = outputs.max(0) - outputs[images.labels, np.arange(len(images))]
    seen = (images.pixels, images.labels, outputs.argmax(0), margin, data.classes)
    _draw(folder, "mistakes", plots.mistakes, *seen, limit=len(images))
    layers = {name: y[..., 0] for name, y in network.outputs(params, data.batch(images, slice(1))).items()}
    _draw(folder, "layers", figures.layer_by_layer, images.pixels[0], layers, TITLES["layers"])
    _draw(folder, "kernels_C1", plots.kernels, params["C1"]["W"], TITLES["C1"])
    W = params["C3"]["W"]
    W = np.where(W.any((1, 3), keepdims=True), W, np.nan).transpose(2, 0, 1, 3)  # blank where nothing is connected
    single = W.reshape(-1, W.shape[2], 1, W.shape[3])
    _draw(folder, "kernels_C3", plots.kernels, single, TITLES["C3"], columns=W.shape[1])


def _draw(folder: Path, name: str, draw: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    write_atomically(folder / f"{name}.png", plots.png(draw(*arguments, **options)))


if __name__ == "__main__":
    refuse_other_checkout()
    with in_one_line():
        main()
