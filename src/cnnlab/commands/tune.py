"""`cnnlab tune`: the learning rate of every arm of the sweeps, chosen on validation data, into conf/rates.yaml.

For each arm: on a grid of 1s and 3s, climb from the rate in the table (or the optimiser's default) to the lowest
validation error, the mean of two seeds that no sweep uses, until both neighbours are worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import yaml

from cnnlab.commands import parser
from cnnlab.paths import PACKAGE, conf_folder, root

if TYPE_CHECKING:
    from cnnlab.composing import Plan

SEEDS = (1000, 1001)
GRID = [float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 3)]
UNTUNED = ("smoke", "learning_rate", "lenet_family")  # tiny, about the rate itself, and with rates of their own


def main(words: Sequence[str]) -> None:
    """Tune every arm of the sweeps, and save the table after each."""
    known = sorted(file.stem for file in (conf_folder() / "sweep").glob("*.yaml") if file.stem not in UNTUNED)
    parse = parser("tune")
    parse.add_argument("sweeps", nargs="*", choices=known, metavar="SWEEP", help=f"{', '.join(known)} (default all)")
    sweeps = parse.parse_args(words).sweeps or known
    rates = conf_folder() / "rates.yaml"
    if rates.is_relative_to(PACKAGE):
        raise ValueError(f"the rates go into {rates}, which is installed: copy its folder to {root() / 'conf'} first")
    from joblib import Parallel, delayed

    from cnnlab.composing import rate_key, sweep_of

    text = rates.read_text(encoding="utf-8")
    note, table = "".join(line for line in text.splitlines(True) if line.startswith("#")), yaml.safe_load(text)
    arms = {rate_key(plan.words): plan for sweep in sweeps for plan in sweep_of(sweep).plans}
    made = Parallel(n_jobs=2, return_as="generator_unordered")(delayed(tune)(key, plan) for key, plan in arms.items())
    for key, errors in made:
        best = min(errors, key=errors.__getitem__)
        table["chosen"][key] = best
        tried = (f"{rate:g} {error:.2f}%" for rate, error in sorted(errors.items()))
        print(f"{best:<9g} {key}:", *tried, flush=True)
        rates.write_text(note + yaml.safe_dump(table, sort_keys=True, width=200), encoding="utf-8")


def tune(key: str, plan: Plan) -> tuple[str, dict[float, float]]:
    """An arm's validation error (per cent) at every rate that the climb tried."""
    place = int(np.argmin([abs(np.log(rate / plan.config["lr"])) for rate in GRID]))
    errors = {place: _error(plan, GRID[place])}
    while True:
        best = min(errors, key=errors.__getitem__)
        beside = [p for p in (best - 1, best + 1) if 0 <= p < len(GRID) and p not in errors]
        if not beside:
            return key, {GRID[place]: error for place, error in errors.items()}
        errors |= {p: _error(plan, GRID[p]) for p in beside}


def _error(plan: Plan, rate: float) -> float:
    """Mean validation error at a rate; 100 where training diverges."""
    from cnnlab.composing import load_data
    from cnnlab.learners import Network
    from cnnlab.runs import threads
    from cnnlab.training import Diverged, start, train

    assert isinstance(plan.learner, Network)
    data, errors = load_data(plan), []
    recipe = replace(plan.learner, lr=rate).recipe(data)
    with threads(1):
        for seed in SEEDS:
            try:
                history = list(train(recipe, start(recipe, data.shape, seed), data))
            except Diverged:
                return 100.0
            errors.append(history[-1]["val/error_percent"])
    return float(np.mean(errors))
