"""Tuning: the learning rate of each arm of a sweep, found on validation images by the same rule for all.

Every arm is trained at each rate of one grid with a first seed, further out while an end of the grid is best, and at
the best two with a second seed; the mean of both decides. The runs are runs like any other, in a study of their own,
on data without test images: what is finished there is never trained again, whichever sweep asks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cnnlab import plots, rates
from cnnlab.composing import Plan, Sweep
from cnnlab.paths import root, write_atomically
from cnnlab.report.panels import rate_curves
from cnnlab.report.tables import count
from cnnlab.sweeps import is_finished, make_missing
from cnnlab.tracking import records as kept
from cnnlab.tracking.access import store_errors
from cnnlab.tracking.log import DIVERGED
from cnnlab.tracking.store import Study

STUDY = "tuning"
SEEDS = (1000, 1001)  # which no sweep uses
WORDS = (f"study={STUDY}", "data.test=hidden", f"seed={SEEDS[0]}")

GRID = range(-6, 0)  # places of 0.001, 0.003, 0.01, 0.03, 0.1, 0.3
WIDEST = range(-10, 3)  # 0.00001 to 10
OF_1998 = 0.0005  # the paper's rate, which its schedule multiplies; the grid of that rule is 0.03, 0.1, ... 10 times it

Point = tuple[int, int]  # a place on the grid and a seed
Words = Sequence[str]


def rate_at(place: int, optimizer: str) -> float:
    """The rate at a place of an optimizer's grid."""
    scale, at = (OF_1998, place + 3) if optimizer == "sdlm" else (1.0, place)
    return float(f"{scale * (1, 3)[at % 2] * 10.0 ** (at // 2):.6g}")


def wanted(found: Mapping[Point, float]) -> list[Point]:
    """The runs that the rule asks for after those whose validation errors are `found`; none where it has ended.

    The error of a run that diverged is infinite.
    """
    first, second = SEEDS
    if missing := [(place, first) for place in GRID if (place, first) not in found]:
        return missing
    tried = sorted(place for place, seed in found if seed == first)
    ranked = sorted(tried, key=lambda place: (max(found[place, first], _diverged(found, place)), place))
    if beyond := _beyond(tried, ranked[0]):
        return [(beyond[0], first)]
    best = [place for place in ranked[:2] if math.isfinite(max(found[place, first], _diverged(found, place)))]
    if missing := [(place, second) for place in best if (place, second) not in found]:
        return missing
    decided = choice(found)
    return [(place, first) for place in _beyond(tried, decided)] if decided is not None else []


def choice(found: Mapping[Point, float]) -> int | None:
    """The place with the lowest mean error of both seeds, the lower one of equals; None where all diverged."""
    means = {place: sum(found.get((place, seed), math.inf) for seed in SEEDS) for place, _ in found}
    best = min(means, key=lambda place: (means[place], place), default=None)
    return best if best is not None and math.isfinite(means[best]) else None


def _diverged(found: Mapping[Point, float], place: int) -> float:
    """Infinity where a rate that was good with the first seed has diverged with the second."""
    return math.inf if found.get((place, SEEDS[1]), 0.0) == math.inf else 0.0


def _beyond(tried: Sequence[int], place: int) -> list[int]:
    """The next place outside those that were tried, if this one is at their end."""
    next_ones = [place - 1] * (place == tried[0]) + [place + 1] * (place == tried[-1])
    return [outside for outside in next_ones if outside in WIDEST]


@dataclass
class Search:
    """The search for the rate of one arm: the validation errors so far, by place and seed."""

    plan: Plan
    found: dict[Point, float] = field(default_factory=dict)
    seconds: float = 0.0
    failed: bool = False

    def wanted(self) -> list[Point]:
        """The runs to be made next; none where one has failed for another reason than its rate."""
        return [] if self.failed else wanted(self.found)

    def rate(self, place: int) -> float:
        """The rate at a place of its grid."""
        return rate_at(place, self.plan.words["optimizer"])

    def words(self, point: Point) -> list[str]:
        """The words of the run at that point."""
        own = [word for word in self.plan.overrides if not word.startswith(("lr=", "seed="))]
        return [*own, f"lr={self.rate(point[0]):g}", f"seed={point[1]}"]

    def add(self, point: Point, run: Any) -> None:
        """Take in how a run has ended."""
        self.failed |= run is None or not has_result(run)
        if not self.failed:
            self.found[point] = run.data.metrics["val/error_percent"] if is_finished(run) else math.inf
            self.seconds += run.data.metrics.get("time/total_s", 0.0)

    @property
    def entry(self) -> dict[str, Any]:
        """What is kept of a search that has ended: curve, choice and budget."""
        chosen, by_rate = choice(self.found), dict[float, list[float | str]]()
        assert chosen is not None
        for (place, _), error in sorted(self.found.items()):
            by_rate.setdefault(self.rate(place), []).append(round(error, 4) if math.isfinite(error) else "diverged")
        budget = {"runs": len(self.found), "seconds": round(self.seconds)}
        return {"rate": self.rate(chosen), "validation_errors": by_rate, "budget": budget}


def has_result(run: Any) -> bool:
    """Whether a run says something of its rate: it has come to its end, or diverged."""
    return is_finished(run) or DIVERGED in run.data.tags


def arms(plans: Iterable[Plan]) -> dict[rates.Key, Plan]:
    """The arms of a sweep whose rate is to be found, each once: those that have one, and are not given it."""
    return {plan.tuned_for: plan for plan in plans if plan.lr_source not in ("", rates.GIVEN)}


def curve_of(key: rates.Key) -> Mapping[str, Any] | None:
    """What is kept of the search for just this: the rate, the curve and the budget; None where there is no curve."""
    entry = rates.table()["tuned"].get(key.setting, {}).get(key.arm, {})
    return entry if "validation_errors" in entry else None


def lines(arm: str, key: rates.Key) -> list[dict[str, object]]:
    """A line for each run of the search for this arm's rate, for a table; none where no curve is kept."""
    entry = curve_of(key) or {"validation_errors": {}}
    return [
        {
            "arm": arm,
            "tuned_for": key.arm,
            "setting": key.setting,
            "rate": rate,
            "seed": seed,
            "validation_error": error,
            "chosen": "yes" if rate == entry["rate"] else "",
            "budget_runs": entry["budget"]["runs"],
            "budget_seconds": entry["budget"]["seconds"],
        }
        for rate, errors in sorted(entry["validation_errors"].items())
        for seed, error in zip(SEEDS, errors, strict=False)
    ]


@store_errors()
def tune(
    name: str, sweep: Sweep, compose: Callable[[Words], Plan], launch: Callable[[Sequence[Words]], Any], folder: Path
) -> int:
    """Find the rates that the arms of a sweep lack, and keep and draw all; how many arms have none in the end.

    `compose` makes the plan of a run's words, `launch` makes runs by their words, whose workers speak in the `folder`.
    A rate is kept as soon as it is found; an arm that has one is not tuned again, but with rerun=true.
    """
    all_arms = arms(sweep.plans)
    if not all_arms:
        print(f"{name}: nothing to tune: no arm has a learning rate that is to be found")
        return 0
    again = {key for key, plan in all_arms.items() if plan.config["rerun"] == "true"}
    searches = {key: Search(plan) for key, plan in all_arms.items() if key in again or not curve_of(key)}
    print(f"{name}: {count(len(searches), 'arm')} to tune, {len(all_arms) - len(searches)} tuned", flush=True)
    failures = [*sweep.refused]
    for search in searches.values():
        if not len(search.plan.data.val):
            search.failed = True
            failures.append(
                f"{search.plan.label}: no images are held out to choose by; data.validation=1000 holds some"
            )
    study = Study.open(STUDY)
    while points := [(key, point) for key, search in searches.items() for point in search.wanted()]:
        plans = [compose(searches[key].words(point)) for key, point in points]
        batch = replace(sweep, plans=plans)

        def launched(numbers: Sequence[int], plans: Sequence[Plan] = plans) -> None:
            launch([plans[number].overrides for number in numbers])

        runs, failed = make_missing(batch, {STUDY: study}, launched, folder, has_result)
        for number, ((key, point), plan) in enumerate(zip(points, plans, strict=True)):
            searches[key].add(point, run := runs.get(plan.key))
            if run is None or not has_result(run):
                failures.append(f"{plan.label}: {failed.get(number, 'not made')}")
        ended = {key: search for key, search in searches.items() if not search.wanted() and not search.failed}
        rates.save({key: search.entry for key, search in ended.items() if choice(search.found) is not None})
    failures += [
        f"{s.plan.label}: diverged at every rate" for s in searches.values() if s.found and choice(s.found) is None
    ]
    _sum_up(name, sweep.command, study, {key: entry for key in all_arms if (entry := curve_of(key))})
    for reason in failures:
        print(f"FAILED {reason}")
    return len(failures)


def _sum_up(name: str, command: str, study: Study, entries: Mapping[rates.Key, Mapping[str, Any]]) -> None:
    """Print the curves of these arms, draw them into `reports/`, and keep both in the store, once."""
    if not entries:
        return
    table = _table(entries)
    print(table)
    folder = root() / "reports" / STUDY / name
    budget = [entry["budget"] for entry in entries.values()]
    cost = f"{sum(each['runs'] for each in budget)} runs, {sum(each['seconds'] for each in budget)} s of training"
    write_atomically(folder / "report.md", f"# Learning rates of {name}\n\n`{command}`\n\n{table}\n\n{cost}\n".encode())
    write_atomically(folder / "rates.png", plots.png(rate_curves(_labelled(entries), name)))
    identity = hashlib.sha256(f"{command} {json.dumps([*entries.items()])}".encode()).hexdigest()[:16]
    if study.finished(identity) is None:
        kept.log_summary(study, identity, folder, {"command": command})
    print(f"{cost}\nrates: {rates.file()}\ncurves: {folder / 'rates.png'}")


def _table(entries: Mapping[rates.Key, Mapping[str, Any]]) -> str:
    """The curve of each arm as Markdown: a column for each rate, the chosen one in bold."""
    from tabulate import tabulate

    columns = sorted({rate for entry in entries.values() for rate in entry["validation_errors"]})
    rows = []
    for key, entry in entries.items():
        cells = {rate: ", ".join(map(_in_cell, errors)) for rate, errors in entry["validation_errors"].items()}
        cells[entry["rate"]] = f"**{cells[entry['rate']]}**"
        rows.append([key.arm, key.setting, *(cells.get(rate, "") for rate in columns)])
    heads = ["validation error (%) of", "on", *(f"{rate:g}" for rate in columns)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def _in_cell(error: float | str) -> str:
    return error if isinstance(error, str) else f"{error:.2f}"


def _labelled(entries: Mapping[rates.Key, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The entries by what tells them apart."""
    shared = set.intersection(*(set(key.terms) for key in entries))
    return {" ".join(term for term in key.terms if term not in shared) or key.arm: entries[key] for key in entries}
