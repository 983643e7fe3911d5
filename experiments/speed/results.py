"""What was measured: medians, ratios, shares of the peak, targets met and missed."""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from cases import AT_MOST, GOAL, OURS, PEAK, PEAK_SIZE, PEERS, QUANTITIES, RACES, RUN, SWEEP, Case, target
from workers import Turn

MB = 10**6


class Spread(NamedTuple):
    """A median between its quartiles."""

    low: float
    median: float
    high: float


@dataclass
class Result:
    """The rounds of one case: by side the seconds of a unit, round by round; a side that failed has none.

    `processor` has a unit's seconds of processor time; `parameters` and `flops` (of a unit, 0 where they are not
    counted) are ours, and `memory` is what a side took at most, in bytes, where that is measured. `found` is what each
    unit came to: the accuracy on the test images of epochs and races, the mean accuracy of a sweep's arms on the
    validation images, the seconds of a run's training.
    """

    case: Case
    threads: int = 1
    rounds: int = 0  # that were asked for: fewer are there if the benchmark was cut
    parameters: int = 0
    flops: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    found: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all the rounds are there that were asked for."""
        return len(self.seconds.get(OURS, ())) >= max(1, self.rounds)

    def add(self, turns: Mapping[str, Sequence[Turn]]) -> None:
        """Take all the turns of each side in place of those that were there."""
        self.seconds = {side: [turn.seconds for turn in taken] for side, taken in turns.items()}
        self.processor = {side: [turn.processor for turn in taken] for side, taken in turns.items()}
        self.found = {
            side: values
            for side, taken in turns.items()
            if (values := [turn.result for turn in taken if turn.result is not None])
        }

    def median(self, side: str) -> float | None:
        """The side's seconds for a unit."""
        return statistics.median(self.seconds[side]) if side in self.seconds else None

    def ratio(self, side: str) -> Spread | None:
        """The side's time over ours: formed within each round, where both ran under the same load."""
        return self._over(operator.truediv, self.seconds, side)

    def processor_ratio(self, side: str) -> Spread | None:
        """The same of processor time."""
        return self._over(operator.truediv, self.processor, side)

    def share(self) -> Spread | None:
        """Our share of the machine's peak, for cases whose operations are counted."""
        product = 2 * PEAK_SIZE**3
        share = lambda peak, ours: (self.flops / ours) / (product / peak)  # noqa: E731
        return self._over(share, self.seconds, PEAK) if self.flops else None

    def quantity(self, name: str) -> float | None:
        """What a target of this name is compared with."""
        if name == "memory":
            return self.memory[OURS] / MB if OURS in self.memory else None
        if name == "seconds":
            return self.to_goal(OURS)
        if name == "beyond":
            return self.beyond()
        spread = self.share() if name == "share" else self.ratio(name)
        return spread.median if spread else None

    def to_goal(self, side: str) -> float | None:
        """The median seconds of a side's races; one that ends below the goal counts as infinite."""
        if side not in self.seconds or self.case.kind != RACES:
            return None
        runs = zip(self.seconds[side], self.found[side], strict=True)
        return statistics.median(seconds if accuracy >= GOAL else math.inf for seconds, accuracy in runs)

    def beyond(self) -> float | None:
        """The median share of a run's time that is not its training."""
        if OURS not in self.seconds or self.case.kind != RUN:
            return None
        runs = zip(self.seconds[OURS], self.found[OURS], strict=True)
        return statistics.median(1 - training / seconds for seconds, training in runs)

    def met(self, name: str) -> bool | None:
        """Whether the target of this name is; None where there is none, or nothing to compare with it."""
        wanted, found = self.wanted(name), self.quantity(name)
        if wanted is None or found is None:
            return None
        return found <= wanted if name in AT_MOST else found >= wanted

    def wanted(self, name: str) -> float | None:
        """The target of this name: targets are for one thread."""
        return target(self.case, name) if self.threads == 1 else None

    def _over(
        self, f: Callable[[float, float], float], times: Mapping[str, Sequence[float]], side: str
    ) -> Spread | None:
        if not {OURS, side} <= times.keys():
            return None
        return spread([f(*pair) for pair in zip(times[side], times[OURS], strict=True)])


def spread(values: Sequence[float]) -> Spread:
    """The quartiles of some values; of a single one it three times."""
    return Spread(*statistics.quantiles(values if len(values) > 1 else [*values, *values], method="inclusive"))


def peak_rate(results: Sequence[Result]) -> float | None:
    """The machine's peak in operations a second: the median over all rounds of the matrix product."""
    seconds = [value for result in results for value in result.seconds.get(PEAK, ())]
    return 2 * PEAK_SIZE**3 / statistics.median(seconds) if seconds else None


def table(results: Sequence[Result]) -> str:
    """All cases, one a row: medians of the times, ratios with their quartiles, and the targets."""
    from tabulate import tabulate

    times = [f"{side} ms" for side in (OURS, *PEERS)]
    ratios = [word for side in PEERS for word in (f"{side}/ours [q1-q3]", "target")]
    headers = ["case", "batch", *times, *ratios, "of peak", "target"]
    rows = [_row(result) for result in results]
    alignment = ["left", *["right"] * (1 + len(times)), *["left"] * (len(ratios) + 2)]
    return tabulate(rows, headers, colalign=alignment, disable_numparse=True)


def _row(result: Result) -> list[str]:
    case = result.case
    times = [milliseconds(result.median(side)) for side in (OURS, *PEERS)]
    ratios = [cell for side in PEERS for cell in (between(result.ratio(side)), verdict(result, side))]
    share = result.share()
    percent = f"{share.median:.1%}" if share else "-"
    return [f"{case.kind}/{case.network}", str(case.batch), *times, *ratios, percent, verdict(result, "share")]


def milliseconds(seconds: float | None) -> str:
    """A time in milliseconds, with as many digits as it deserves; a dash for none."""
    return "-" if seconds is None else f"{1e3 * seconds:,.{0 if seconds > 0.1 else 3 if seconds < 0.01 else 1}f}"


def between(ratio: Spread | None, unknown: str = "-") -> str:
    """A median, and its quartiles in brackets."""
    return f"{ratio.median:.2f} [{ratio.low:.2f}-{ratio.high:.2f}]" if ratio else unknown


def verdict(result: Result, name: str) -> str:
    """A target and whether it is met, in two words; nothing where there is none."""
    met = result.met(name)
    return "" if met is None else f"{result.wanted(name):g} {'met' if met else 'missed'}"


def missed(results: Sequence[Result]) -> list[str]:
    """The targets that are missed, each with the true figure."""
    return [
        f"{result.case.name}: {name} {result.quantity(name):.3g}, target {result.wanted(name):g}"
        for result in results
        for name in QUANTITIES
        if result.met(name) is False
    ]


def summary(results: Sequence[Result]) -> str:
    """The table, and below it what has no place in it."""
    lines = [table(results), "", *peak_line(results), *filter(None, map(remark, results))]
    if verdicts := judged(results):
        lines.append(f"targets met: {verdicts.count(True)} of {len(verdicts)}" + ", missed:" * (False in verdicts))
    return "\n".join([*lines, *(f"  {line}" for line in missed(results))])


def peak_line(results: Sequence[Result]) -> list[str]:
    """A line that says what the shares are of, if it was measured."""
    rate = peak_rate(results)
    product = f"{PEAK_SIZE}x{PEAK_SIZE}"
    return [f"matrix product {product} in float32: {rate / 1e9:.1f} GFLOP/s, the peak of the shares"] if rate else []


def judged(results: Sequence[Result]) -> list[bool]:
    """For each target that there is something to compare with, whether it is met."""
    verdicts = [result.met(name) for result in results for name in QUANTITIES]
    return [met for met in verdicts if met is not None]


def remark(result: Result) -> str:
    """What a case has to tell besides its row; empty for most."""
    tell = {RACES: _race, SWEEP: _sweep, RUN: _run}.get(result.case.kind, _accuracy)
    parts = ([_memory(result)] if result.memory else []) + ([tell(result)] if result.found else [])
    return f"{result.case.name}: {'; '.join(parts)}" if parts else ""


def _memory(result: Result) -> str:
    target = verdict(result, "memory")
    sizes = ", ".join(f"{side} {size / MB:.0f}" for side, size in result.memory.items())
    return f"peak MB {sizes}{target and f' (target of ours: {target})'}"


def _accuracy(result: Result) -> str:
    """The mean of all rounds, and how far they are apart."""
    sides = (
        f"{side} {statistics.mean(values):.2%} ({min(values):.2%} to {max(values):.2%})"
        for side, values in result.found.items()
    )
    return f"test accuracy {', '.join(sides)}"


def _race(result: Result) -> str:
    seconds = ", ".join(f"{side} {result.to_goal(side):.1f}" for side in result.seconds)
    return f"{_accuracy(result)}; median seconds to {GOAL:.0%}: {seconds} ({verdict(result, 'seconds')})"


def _sweep(result: Result) -> str:
    """Processor time of a sweep's sides, and how well their arms have learned: both do the same work."""
    seconds = ", ".join(f"{side} {statistics.median(values):.1f}" for side, values in result.processor.items())
    errors = ", ".join(f"{side} {1 - statistics.mean(values):.2%}" for side, values in result.found.items())
    ratios = "".join(f", {side}/ours {between(ratio)}" for side in PEERS if (ratio := result.processor_ratio(side)))
    return f"processor s {seconds}{ratios}; mean validation error {errors}"


def _run(result: Result) -> str:
    training = statistics.median(result.found[OURS])
    return f"training {training:.1f} s, beyond it {result.beyond():.1%} of the time ({verdict(result, 'beyond')})"


def progress(result: Result) -> str:
    """One line for a case that has just been measured."""
    if OURS in result.failed:
        return f"{result.case.name}: not measured"
    ratios = "".join(f", {side}/ours {between(ratio)}" for side in PEERS if (ratio := result.ratio(side)))
    return f"{result.case.name}: ours {milliseconds(result.median(OURS))} ms{ratios}"


def as_dict(result: Result) -> dict[str, Any]:
    """A result for JSON: all that was measured, and what follows from it."""
    case, targets = result.case, [name for name in QUANTITIES if result.met(name) is not None]
    derived = {
        "name": case.name,
        "median_seconds": {side: result.median(side) for side in result.seconds},
        "ratios": {side: ratio._asdict() for side in PEERS if (ratio := result.ratio(side))},
        "processor_ratios": {side: ratio._asdict() for side in PEERS if (ratio := result.processor_ratio(side))},
        "share_of_peak": share._asdict() if (share := result.share()) else None,
        "targets": {name: {"wanted": result.wanted(name), "met": result.met(name)} for name in targets},
    }
    measured = {name: value for name, value in vars(result).items() if name != "case"}
    return case._asdict() | derived | measured


def from_dict(kept: Mapping[str, Any]) -> Result:
    """The result that `as_dict` gave."""
    case = Case(*(kept[name] for name in Case._fields))
    return Result(case, **{one.name: kept[one.name] for one in fields(Result) if one.name != "case"})
