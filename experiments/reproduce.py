"""LeNet-5's family on the full MNIST, row by row of conf/reproduce.yaml, and the notebook of what it found.

    python experiments/reproduce.py [row ...]

What is finished is skipped; experiments/lenet_family/ is written anew from all that is. JOBS=2 workers.
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from joblib import Parallel, delayed

from cnnlab import console, plots
from cnnlab.classics.config import ClassicsConfig
from cnnlab.config import Plan, TrainConfig
from cnnlab.data import Dataset
from cnnlab.metrics import accuracy
from cnnlab.nn import Params, Sequential
from cnnlab.paths import conf_folder, root, write_atomically
from cnnlab.plots import png
from cnnlab.recording import Outcome, by_margin
from cnnlab.report import RunRecord
from cnnlab.report.family import Result, Row, replaced, results_csv, results_table
from cnnlab.sweeps import Sweep, run_sweep
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.records import latest_runs, networks, record
from cnnlab.tracking.store import Study
from cnnlab.training import predict
from hydra_plugins.cnnlab_sweeper import build, build_classic, load_data, planned, planned_classic

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTEBOOK = root() / "experiments" / "lenet_family"
STAR = "lenet5_1998"  # the row that the figures look at
SUMMED = ("size/parameters", "size/macs", "time/total_s")  # what a vote costs is what all its voters do
PAGE = "# LeNet-5's family\n\n<!-- results -->\n<!-- /results -->\n"  # where there is no notebook yet
TITLES = {
    "passes": "LeNet-5 as in 1998: error against passes",
    "sizes": "LeNet-5 as in 1998: error against training images",
    "layers": "LeNet-5 as in 1998: what each layer makes of the first test image",
    "kernels": "kernels of C3 (columns) for each map of S2 (rows)",
}


def main(names: Sequence[str]) -> int:
    """Make the rows of these names, or all; how many runs failed. ValueError for a name that is no row's."""
    workers = _workers()
    table = yaml.safe_load((conf_folder() / "reproduce.yaml").read_text(encoding="utf-8"))
    rows = {name: Row(name, **_typed(values)) for name, values in table["rows"].items()}
    if unknown := set(names) - set(rows):
        raise ValueError(f"there is no row {', '.join(sorted(unknown))}: choose from {' '.join(rows)}")
    if astray := {row.votes for row in rows.values() if row.votes} - set(rows):
        raise ValueError(f"conf/reproduce.yaml: votes: {', '.join(sorted(astray))} is no row")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plans = {row: _plans(rows.get(row.votes, row), table["study"]) for row in rows.values()}
    plans = {replace(row, images=made[0].config["data"]["test"] or row.images): made for row, made in plans.items()}
    wanted = {plan.fingerprint: plan for row in plans if row.name in names or not names for plan in plans[row]}
    load_data(next(iter(wanted.values())))  # data that are not there are better missed once than by every run
    sweep = Sweep(list(wanted.values()), "make reproduce", workers)

    def launch(numbers: Sequence[int]) -> list[Outcome]:
        jobs = (delayed(_make)(sweep.plans[number], place) for place, number in enumerate(numbers))
        return list(Parallel(n_jobs=sweep.workers)(jobs))

    return run_sweep(sweep, launch, lambda _, study, news: write(plans, study))


def write(plans: dict[Row, list[Plan]], study: Study) -> None:
    """The notebook's table, ``results.csv`` and figures, from all runs that are finished.

    A row keeps its line of ``results.csv``, which was found elsewhere, until all its seeds, or as many, are found here.
    """
    runs = {name: run for name, run in latest_runs(study).items() if run.info.status == "FINISHED"}
    found = {row: [runs[p.fingerprint] for p in made if p.fingerprint in runs] for row, made in plans.items()}
    page, lines = NOTEBOOK / "README.md", NOTEBOOK / "results.csv"
    kept = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    known = {line["name"]: line for line in csv.DictReader(kept)}
    results = [_result(row, plans[row], _records(row, plans[row], study, made), known) for row, made in found.items()]
    write_atomically(lines, results_csv(results).encode())
    text = page.read_text(encoding="utf-8") if page.exists() else PAGE
    write_atomically(page, replaced(text, "results", results_table(results)).encode())
    if bars := {r.row.name: (r.row.paper, r.error) for r in results if r.error.n}:
        _draw("errors", plots.errors_beside, bars)
    _sizes({result.row.name: result for result in results})
    for row, made in found.items():
        if row.name == STAR and made:
            histories = [record(study, run).history for run in made]
            watched = "test" if plans[row][0].config["data"]["validation"] == "test" else "validation"
            _draw("passes", plots.against_passes, histories, TITLES["passes"], watched)
            _look_inside(study, made[0], plans[row][0])
    print(results_table(results), f"written: {page}", sep="\n")


def _result(row: Row, plans: Sequence[Plan], records: Sequence[RunRecord], known: dict[str, dict[str, str]]) -> Result:
    found, line = Result.of(row, records), known.get(row.name)
    if not line or line["passes"] != str(plans[0].config.get("epochs", "")):  # of another recipe
        return found
    kept = Result.read(row, line)
    return kept if found.error.n < min(kept.error.n, row.seeds) else found


def _records(row: Row, plans: Sequence[Plan], study: Study, runs: Sequence[Run]) -> list[RunRecord]:
    """What is known of each of a row's runs; of a vote, what they answer together: the class that most name."""
    records = [record(study, run, details=False) for run in runs]
    if not row.votes:
        return records
    if len(runs) < len(plans):
        return []
    data = load_data(plans[0])
    answers = np.array([_outputs(networks(study, run), data).argmax(0) for run in runs])
    votes = np.array([(answers == digit).sum(0) for digit in range(len(data.classes))])
    metrics = {name: sum(each.metrics[name] for each in records) for name in SUMMED}
    metrics["test/error"] = 1 - accuracy(data.test.labels, votes.argmax(0))
    return [replace(records[0], metrics=metrics)]


def _outputs(trained: Sequence[tuple[Sequential, Params]], data: Dataset) -> np.ndarray:
    """The sum of what networks say of the test images, ``[classes, N]``."""
    return np.sum([predict(*network, data, data.test) for network in trained], axis=0)


def _draw(name: str, draw: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    write_atomically(NOTEBOOK / f"{name}.png", png(draw(*arguments, **options)))


def _sizes(results: dict[str, Result]) -> None:
    """Test and training error of LeNet-5 by the number of training images, where all were run."""
    names = {15000: f"{STAR}_15000", 30000: f"{STAR}_30000", 60000: STAR}
    rows = {size: results[name] for size, name in names.items() if name in results and results[name].error.n}
    if len(rows) == len(names):
        points = {
            "test": {size: (result.error.mean, result.error.half_width) for size, result in rows.items()},
            "training": {size: (result.train_error, math.nan) for size, result in rows.items()},
        }
        _draw("sizes", plots.against_size, points, TITLES["sizes"])


def _look_inside(study: Study, run: Run, plan: Plan) -> None:
    """What the trained network still gets wrong, makes of one digit layer by layer, and has learned to look for."""
    trained, data = networks(study, run), load_data(plan)
    images, seen, (network, params) = data.test, by_margin(_outputs(trained, data), data), trained[0]
    _draw("mistakes", plots.mistakes, *seen, limit=len(images))
    layers = {name: y[..., 0] for name, y in network.outputs(params, data.batch(images, slice(1))).items()}
    _draw("layers", plots.layer_by_layer, images.pixels[0], layers, TITLES["layers"])
    _draw("kernels_C1", plots.kernels, params["C1"]["W"], "kernels of C1")
    W = params["C3"]["W"]
    W = np.where(W.any((1, 3), keepdims=True), W, np.nan).transpose(2, 0, 1, 3)  # nothing where nothing is connected
    single = W.reshape(-1, W.shape[2], 1, W.shape[3])
    _draw("kernels_C3", plots.kernels, single, TITLES["kernels"], columns=W.shape[1])


def _workers() -> int:
    said = os.environ.get("JOBS", "2")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"JOBS={said}: a positive whole number is needed")
    return int(said)


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"goal": tuple(values["goal"])} if "goal" in values else values


def _plans(row: Row, study: str) -> list[Plan]:
    """The runs of a row, one for each seed: of a network, or of a classifier that is none."""
    main, make = ("classics", planned_classic) if row.words.startswith("classifier=") else ("train", planned)
    words = [[*row.words.split(), f"seed={seed}", f"study={study}"] for seed in range(row.seeds)]
    return [make(cfg, cfg.hydra) for cfg in (compose(main, each, return_hydra_config=True) for each in words)]


def _make(plan: Plan, number: int) -> Outcome:
    print(f"     begun    {plan.label}", flush=True)
    return console.arm(plan, lambda log: _executed(plan, log), number)


def _executed(plan: Plan, log: RunLog) -> Outcome:
    if "classifier" not in plan.config:
        from cnnlab.runs import execute

        return execute(plan, lambda: build(plan), log)
    from cnnlab.classics.run import execute as fit

    return fit(plan, lambda: build_classic(plan), log)


if __name__ == "__main__":
    ConfigStore.instance().store(name="schema", node=TrainConfig)
    ConfigStore.instance().store(name="classics_schema", node=ClassicsConfig)
    try:
        sys.exit(1 if main(sys.argv[1:]) else 0)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on after the last whole pass")
