"""The comparison itself: case by case, round by round, one side after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .cases import LONG, ROUNDS, Case
from .results import OURS, PEAK, PEERS, Result
from .workers import Crew, Failed, Turn

FACTORIES = {
    OURS: "cnnlab.bench.ours:work",
    "eager": "cnnlab.bench.peer:eager",
    "compile": "cnnlab.bench.peer:compiled",
    PEAK: "cnnlab.bench.ours:peak",
}
OWN = {"epoch", LONG}
LEFT_OUT: dict[str, set[str]] = {"step": set(), LONG: {PEAK, "compile"}}  # by kind of work; by default, the peak
Say = Callable[[str], None]


def compare(
    cases: Sequence[Case], rounds: int | None, threads: int, sides: Mapping[str, str], say: Say
) -> Iterator[Result]:
    """The result of each case as it is there; ``say`` is told, once each, why a side has none.

    ``sides`` are factories of work by name. Whoever calls this has told the libraries their number of threads.
    """
    told: set[str] = set()
    for shift in _shifts(cases):
        with Crew(sides) as crew:
            for case in shift:
                result = Result(case, threads)
                _measure(result, crew, rounds or ROUNDS[case.kind])
                for side, reason in result.failed.items():
                    if reason not in told:
                        say(f"{case.name}: {side}: {reason}")
                        told.add(reason)
                yield result


def _shifts(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases that share their workers, and those that have their own, so that the memory that they take is their own."""
    together = [case for case in cases if case.kind not in OWN]
    return [shift for shift in (together, *([case] for case in cases if case.kind in OWN)) if shift]


def _measure(result: Result, crew: Crew, rounds: int) -> None:
    """Fill in a result: every side makes the case ready, then each round has a turn of each."""
    sides = [side for side in crew.sides if side not in LEFT_OUT.get(result.case.kind, {PEAK})]
    ready = _ask(result, crew, sides, "prepare", result.case)
    if OURS not in ready:
        return  # nothing to compare with
    result.parameters, result.flops = ready[OURS].parameters, ready[OURS].flops
    for side in PEERS:
        assert side not in ready or ready[side].parameters == result.parameters, f"{side} has another network"
    turns: dict[str, list[Turn]] = {side: [] for side in sides}
    for number in range(rounds):
        first = number % len(sides)
        for side, turn in _ask(result, crew, sides[first:] + sides[:first], "turn").items():
            turns[side].append(turn)
    whole = [side for side in sides if side not in result.failed]
    result.seconds = {side: [turn.seconds for turn in turns[side]] for side in whole}
    result.accuracy = {side: [turn.result for turn in turns[side] if turn.result is not None] for side in whole}
    if result.case.kind in OWN:
        result.memory = _ask(result, crew, whole, "peak_memory")


def _ask(result: Result, crew: Crew, sides: Sequence[str], name: str, *arguments: Any) -> dict[str, Any]:
    """What the sides answer one after the other; those that fail are out, and all are when ours does."""
    answers = {}
    for side in sides:
        if not {side, OURS} & result.failed.keys():
            try:
                answers[side] = crew.ask(side, name, *arguments)
            except Failed as failure:
                result.failed[side] = str(failure)
    return answers
