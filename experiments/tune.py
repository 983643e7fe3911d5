"""Choose the learning rate of every arm of the sweeps, on validation data, and write conf/rates.yaml.

    python experiments/tune.py [sweep ...]

For each arm: on a grid of 1s and 3s, climb from the rate in the table (or the optimiser's default) to the
lowest validation error, the mean of two seeds that no sweep uses, until both neighbours are worse.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra.core.config_store import ConfigStore
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from cnnlab.config import Plan, TrainConfig, rate_key
from cnnlab.paths import conf_folder
from cnnlab.training import Diverged, start, train
from hydra_plugins.cnnlab_sweeper import arms_of, build

SEEDS = (1000, 1001)
GRID = [float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 3)]
RATES = conf_folder() / "rates.yaml"


def main(sweeps: Sequence[str]) -> None:
    """Tune every arm of the sweeps, and save the table after each."""
    table = yaml.safe_load(RATES.read_text())
    arms = {rate_key(plan.words): plan for sweep in sweeps for plan in arms_of(sweep)}
    made = Parallel(n_jobs=2, return_as="generator_unordered")(delayed(tune)(key, plan) for key, plan in arms.items())
    for key, errors in made:
        best = min(errors, key=errors.__getitem__)
        table["chosen"][key] = best
        tried = (f"{rate:g} {error:.2%}" for rate, error in sorted(errors.items()))
        print(f"{best:<9g} {key}:", *tried, flush=True)
        _save(table)


def tune(key: str, plan: Plan) -> tuple[str, dict[float, float]]:
    """An arm's validation error at every rate that the climb tried."""
    place = int(np.argmin([abs(np.log(rate / plan.config["lr"])) for rate in GRID]))
    errors = {place: _error(plan, GRID[place])}
    while True:
        best = min(errors, key=errors.__getitem__)
        beside = [p for p in (best - 1, best + 1) if 0 <= p < len(GRID) and p not in errors]
        if not beside:
            return key, {GRID[place]: error for place, error in errors.items()}
        errors |= {p: _error(plan, GRID[p]) for p in beside}


def _error(plan: Plan, rate: float) -> float:
    """Mean validation error at a rate; all wrong where training diverges."""
    errors = []
    with threadpool_limits(1):
        for seed in SEEDS:
            parts = build(Plan(plan.config | {"lr": rate}, plan.words, "", "", ()))
            state = start(parts.recipe, parts.data.shape, seed)
            try:
                history = list(train(parts.recipe, state, parts.data))
            except Diverged:
                return 1.0
            errors.append(1 - history[-1]["val/accuracy"])
    return float(np.mean(errors))


def _save(table: dict[str, Any]) -> None:
    note = [line for line in RATES.read_text().splitlines(keepends=True) if line.startswith("#")]
    RATES.write_text("".join(note) + yaml.safe_dump(table, sort_keys=True, width=200))


if __name__ == "__main__":
    ConfigStore.instance().store(name="schema", node=TrainConfig)
    names = sorted(path.stem for path in Path(conf_folder(), "sweep").glob("*.yaml"))
    if unknown := set(sys.argv[1:]) - set(names):
        sys.exit(f"there is no sweep {', '.join(sorted(unknown))}: choose from {' '.join(names)}")
    main(sys.argv[1:] or [name for name in names if name not in ("smoke", "learning_rate")])
