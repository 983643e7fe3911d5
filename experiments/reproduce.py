"""LeNet-5's family on the full MNIST, row by row of conf/reproduce.yaml, and the notebook of what it found.

    python experiments/reproduce.py [row ...]

What is finished is skipped; experiments/lenet_family/ is written anew from all that is. JOBS=2 workers.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from joblib import Parallel, delayed

from cnnlab import console, plots
from cnnlab.checkpoint import load_network
from cnnlab.classics.config import ClassicsConfig
from cnnlab.config import Plan, TrainConfig
from cnnlab.paths import conf_folder, root
from cnnlab.plots import png
from cnnlab.recording import Outcome
from cnnlab.report.family import Result, Row, replaced, results_csv, results_table
from cnnlab.sweeps import Sweep, run_sweep
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.records import latest_runs, record
from cnnlab.tracking.store import Study
from cnnlab.training import predict
from hydra_plugins.cnnlab_sweeper import build, build_classic, load_data, planned, planned_classic

NOTEBOOK = root() / "experiments" / "lenet_family"
STAR = "lenet5_1998"  # the row that the figures look at
TITLES = {
    "passes": "LeNet-5 as in 1998: error against passes",
    "sizes": "LeNet-5 as in 1998: error against training images",
    "layers": "LeNet-5 as in 1998: what each layer makes of the first test image",
}


def main(names: Sequence[str]) -> int:
    """Make the rows of these names, or all; how many runs failed. ValueError for a name that is no row's."""
    table = yaml.safe_load((conf_folder() / "reproduce.yaml").read_text(encoding="utf-8"))
    rows = [Row(name, **_typed(values)) for name, values in table["rows"].items()]
    if unknown := set(names) - {row.name for row in rows}:
        raise ValueError(f"{', '.join(sorted(unknown))}: choose from {' '.join(row.name for row in rows)}")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plans = {row: [_plan(row, table["study"], seed) for seed in range(row.seeds)] for row in rows}
    wanted = [plan for row in rows if row.name in names or not names for plan in plans[row]]
    sweep = Sweep(wanted, "make reproduce", int(os.environ.get("JOBS", "2")))

    def launch(numbers: Sequence[int]) -> list[Outcome]:
        jobs = (delayed(_make)(sweep.plans[number], place) for place, number in enumerate(numbers))
        return list(Parallel(n_jobs=sweep.workers)(jobs))

    return run_sweep(sweep, launch, lambda _, study, news: write(plans, study))


def write(plans: dict[Row, list[Plan]], study: Study) -> None:
    """The notebook's table, ``results.csv`` and figures, from all runs that are finished."""
    runs = {name: run for name, run in latest_runs(study).items() if run.info.status == "FINISHED"}
    found = {row: [runs[p.fingerprint] for p in made if p.fingerprint in runs] for row, made in plans.items()}
    results = [Result(row, [record(study, run, details=False) for run in made]) for row, made in found.items()]
    (NOTEBOOK / "results.csv").write_text(results_csv(results), encoding="utf-8")
    page = NOTEBOOK / "README.md"
    page.write_text(replaced(page.read_text(encoding="utf-8"), "results", results_table(results)), encoding="utf-8")
    bars = {r.row.name: (r.row.paper, r.error.mean, r.error.half_width) for r in results if r.records}
    _draw("errors", plots.errors_beside, bars)
    _sizes({result.row.name: result for result in results})
    for row, made in found.items():
        if row.name == STAR and made:
            _draw("passes", plots.against_passes, [record(study, run).history for run in made], TITLES["passes"])
            _look_inside(study, made[0], plans[row][0])
    print(results_table(results), f"written: {page}", sep="\n")


def _draw(name: str, draw: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    (NOTEBOOK / f"{name}.png").write_bytes(png(draw(*arguments, **options)))


def _sizes(results: dict[str, Result]) -> None:
    """Test and training error of LeNet-5 by the number of training images, where all were run."""
    rows = {15000: results[f"{STAR}_15000"], 30000: results[f"{STAR}_30000"], 60000: results[STAR]}
    if all(result.records for result in rows.values()):
        points = {
            "test": {size: (result.error.mean, result.error.half_width) for size, result in rows.items()},
            "training": {size: (result.train_error, 0.0) for size, result in rows.items()},
        }
        _draw("sizes", plots.against_size, points, TITLES["sizes"])


def _look_inside(study: Study, run: Any, plan: Plan) -> None:
    """What the trained network still gets wrong, makes of one digit layer by layer, and has learned to look for."""
    with tempfile.TemporaryDirectory() as folder:
        file = study.client.download_artifacts(run.info.run_id, "model/artifacts/network.npz", folder)
        network, params, _, _ = load_network(Path(file))
    data = load_data(plan)
    images, outputs = data.test, predict(network, params, data, data.test)
    answers, margin = outputs.argmax(0), outputs.max(0) - outputs[images.labels, np.arange(len(images))]
    seen = (images.pixels, images.labels, answers, margin, data.classes)
    _draw("mistakes", plots.mistakes, *seen, limit=len(images), measure="margin")
    layers = {name: y[..., 0] for name, y in network.outputs(params, data.batch(images, slice(1))).items()}
    _draw("layers", plots.layer_by_layer, images.pixels[0], layers, TITLES["layers"])
    for name in ("C1", "C3"):
        _draw(f"kernels_{name}", plots.kernels, params[name]["W"], f"kernels of {name}")


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"goal": tuple(values["goal"])} if "goal" in values else values


def _plan(row: Row, study: str, seed: int) -> Plan:
    """The run of a row with a seed: of a network, or of a classifier that is none."""
    main, make = ("classics", planned_classic) if row.words.startswith("classifier=") else ("train", planned)
    cfg = compose(main, [*row.words.split(), f"seed={seed}", f"study={study}"], return_hydra_config=True)
    return make(cfg, cfg.hydra)


def _make(plan: Plan, number: int) -> Outcome:
    return console.arm(plan, lambda log: _executed(plan, log), number)


def _executed(plan: Plan, log: RunLog) -> Outcome:
    if "classifier" not in plan.config:
        from cnnlab.runs import execute

        return execute(plan, lambda: build(plan), log, sweep=True)
    from cnnlab.classics.run import execute as fit

    return fit(plan, build_classic(plan), log)


if __name__ == "__main__":
    ConfigStore.instance().store(name="schema", node=TrainConfig)
    ConfigStore.instance().store(name="classics_schema", node=ClassicsConfig)
    Path(NOTEBOOK).mkdir(parents=True, exist_ok=True)
    try:
        sys.exit(1 if main(sys.argv[1:]) else 0)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on after the last whole pass")
