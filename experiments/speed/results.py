"""What was measured: medians, ratios, shares of the peak, targets met and missed."""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cases import AT_MOST, GOAL, PEAK_SIZE, QUANTITIES, RACES, SWEEP, Case, target

OURS, PEAK = "ours", "peak"
PEERS = {"eager": "PyTorch", "compile": "torch.compile", "jax": "JAX"}  # sides of the same work, and what they are
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
    counted) are ours. Of epochs and races: the `memory` that each side took at most, in bytes, and its `accuracy` on
    the test images after each round; of sweeps, the mean accuracy of their arms on the validation images.
    """

    case: Case
    threads: int = 1
    parameters: int = 0
    flops: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    accuracy: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

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
        spread = self.share() if name == "share" else self.ratio(name)
        return spread.median if spread else None

    def to_goal(self, side: str) -> float | None:
        """The median seconds of a side's races; one that ends below the goal counts as infinite."""
        if side not in self.seconds or self.case.kind != RACES:
            return None
        runs = zip(self.seconds[side], self.accuracy[side], strict=True)
        return statistics.median(seconds if accuracy >= GOAL else math.inf for seconds, accuracy in runs)

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
    times = [_milliseconds(result.median(side)) for side in (OURS, *PEERS)]
    ratios = [cell for side in PEERS for cell in (_spread(result.ratio(side)), verdict(result, side))]
    share = result.share()
    percent = f"{share.median:.1%}" if share else "-"
    return [f"{case.kind}/{case.network}", str(case.batch), *times, *ratios, percent, verdict(result, "share")]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:,.{0 if seconds > 0.1 else 3 if seconds < 0.01 else 1}f}"


def _spread(ratio: Spread | None) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}-{ratio.high:.2f}]" if ratio else "-"


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
    lines = [table(results), ""]
    if rate := peak_rate(results):
        lines.append(
            f"matrix product {PEAK_SIZE}x{PEAK_SIZE} in float32: {rate / 1e9:.1f} GFLOP/s, the peak of the shares"
        )
    lines += [_epoch_line(result) for result in results if result.memory]
    lines += [_sweep_line(result) for result in results if result.case.kind == SWEEP and result.seconds]
    verdicts = [result.met(name) for result in results for name in QUANTITIES]
    if met := verdicts.count(True) + verdicts.count(False):
        lines.append(f"targets met: {verdicts.count(True)} of {met}" + ", missed:" * (False in verdicts))
    return "\n".join([*lines, *(f"  {line}" for line in missed(results))])


def _epoch_line(result: Result) -> str:
    """Memory and accuracy of an epoch's sides."""
    memory = ", ".join(f"{side} {size / MB:.0f}" for side, size in result.memory.items())
    accuracy = ", ".join(f"{side} {_accuracies(values)}" for side, values in result.accuracy.items())
    target = verdict(result, "memory")
    line = f"{result.case.name}: peak MB {memory}{target and f' (target of ours: {target})'}; test accuracy {accuracy}"
    if result.case.kind != RACES:
        return line
    seconds = ", ".join(f"{side} {result.to_goal(side):.1f}" for side in result.seconds)
    return f"{line}; median seconds to {GOAL:.0%}: {seconds} ({verdict(result, 'seconds')})"


def _sweep_line(result: Result) -> str:
    """Processor time of a sweep's sides, and how well their arms have learned: both do the same work."""
    seconds = ", ".join(f"{side} {statistics.median(values):.1f}" for side, values in result.processor.items())
    errors = ", ".join(f"{side} {1 - statistics.mean(values):.2%}" for side, values in result.accuracy.items())
    ratios = "".join(f", {side}/ours {_spread(ratio)}" for side in PEERS if (ratio := result.processor_ratio(side)))
    return f"{result.case.name}: processor s {seconds}{ratios}; mean validation error {errors}"


def _accuracies(values: Sequence[float]) -> str:
    """The mean of all rounds, and how far they are apart."""
    return f"{statistics.mean(values):.2%} ({min(values):.2%} to {max(values):.2%})"


def progress(result: Result) -> str:
    """One line for a case that has just been measured."""
    if OURS in result.failed:
        return f"{result.case.name}: not measured"
    ratios = "".join(f", {side}/ours {_spread(ratio)}" for side in PEERS if (ratio := result.ratio(side)))
    return f"{result.case.name}: ours {_milliseconds(result.median(OURS))} ms{ratios}"


def as_dict(result: Result) -> dict[str, Any]:
    """A result for JSON: all that was measured, and what follows from it."""
    case, judged = result.case, [name for name in QUANTITIES if result.met(name) is not None]
    derived = {
        "name": case.name,
        "median_seconds": {side: result.median(side) for side in result.seconds},
        "ratios": {side: ratio._asdict() for side in PEERS if (ratio := result.ratio(side))},
        "processor_ratios": {side: ratio._asdict() for side in PEERS if (ratio := result.processor_ratio(side))},
        "share_of_peak": share._asdict() if (share := result.share()) else None,
        "targets": {name: {"wanted": result.wanted(name), "met": result.met(name)} for name in judged},
    }
    measured = {name: value for name, value in vars(result).items() if name != "case"}
    return case._asdict() | derived | measured
