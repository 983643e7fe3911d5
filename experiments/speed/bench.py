"""cnnlab's speed compared with PyTorch's and JAX's, in turns; with --profile or --growth, where our own time goes.

python experiments/speed/bench.py --only 'step/lenet5_*/32' 'epoch/*' --figure speed.png
python experiments/speed/bench.py --profile --network zhou --batch 8
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never

from cases import CASES, KINDS, LONG, NETWORKS, OURS, PEAK, PEERS, Case, chosen
from cnnlab.paths import refuse_other_checkout, root, write_atomically
from results import Result, as_dict, progress, summary
from workers import Crew, Failed, Turn

# Read by a BLAS when it is loaded: nothing above may import NumPy, and the workers inherit them.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
COMPARISON, PROFILE = (
    ("only", "rounds", "out", "figure", "rehearsal"),
    ("network", "batch"),
)  # options of one mode alone
FACTORIES = {
    OURS: "ours:work",
    "eager": "peer:eager",
    "compile": "peer:compiled",
    "jax": "peer_jax:jitted",
    PEAK: "ours:peak",
}
NEEDED = {"eager": "torch", "compile": "torch", "jax": "jax"}  # the package of each peer
LIBRARIES = {"torch": "PyTorch", "jax": "JAX"}
Say = Callable[[str], None]
Keep = Callable[[Result], None]


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> Never:
        """Exit with 2."""
        self.exit(2, f"bench: {message}\n")


def positive(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def writable(text: str) -> Path:
    """A path for a new file: its folder must exist, so that nothing is measured in vain."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that is there")
    return path


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; one that would change nothing is refused."""
    kinds = "; ".join(f"{name}: {kind.what}" for name, kind in KINDS.items())
    rounds = ", ".join(f"{kind.rounds} of {name}" for name, kind in KINDS.items())
    long = ", ".join(f"{name}/*" for name in LONG)
    parser = Parser("bench", description=__doc__.partition("\n")[0], epilog=f"Cases are {kinds}.", allow_abbrev=False)
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        metavar="CASE",
        help=f"cases as kind/network/batch, where * is anything: 'step/*/32', '*' (default all but {long})",
    )
    add("--rounds", type=positive, help=f"rounds of each case (default {rounds})")
    add("--threads", type=positive, default=1, help="threads of each library (default %(default)s, as the targets)")
    add("--out", type=writable, help="JSON of all rounds (default bench.json)")
    add("--figure", type=writable, help="PNG of the ratios")
    add("--rehearsal", action="store_true", default=None, help="one round, on few images where it would take long")
    add("--growth", action="store_true", help="our seconds by training images and epochs instead")
    add("--profile", action="store_true", help="milliseconds per layer of our training step instead")
    add("--network", choices=NETWORKS, help="of --profile (default lenet5_relu)")
    add("--batch", type=positive, help="of --profile (default 32)")
    options = parser.parse_args(arguments)
    alone = "--profile" if options.profile else "--growth" if options.growth else ""
    if options.profile and options.growth:
        parser.error("argument --growth: does not go with --profile")
    for name in (*(COMPARISON if alone else ()), *(() if options.profile else PROFILE)):
        if getattr(options, name) is not None:
            parser.error(f"argument --{name}: does not go {f'with {alone}' if alone else 'without --profile'}")
    try:
        short = [f"{kind}/*" for kind in KINDS if kind not in LONG]
        names = {case for pattern in options.only or short for case in chosen(pattern)}
    except ValueError as error:
        parser.error(f"argument --only: {error}")
    options.cases = [case for case in CASES if case in names]
    return options


def main(options: argparse.Namespace) -> int:
    """Measure, print and write down; the exit code: 1 if there was nothing to write."""
    os.environ |= dict.fromkeys(THREADS, str(options.threads))
    if options.profile:
        from profiling import profile

        print(profile(options.network or "lenet5_relu", options.batch or 32))
        return 0
    if options.growth:
        from profiling import growth, growth_table

        print(growth_table(growth()))
        return 0
    from machine import described, machine

    facts = machine()
    print(f"{described(facts)}; threads each: {options.threads}\n", flush=True)
    results, out = {}, options.out or root() / "bench.json"

    def keep(result: Result) -> None:
        results[result.case] = result
        report = {"machine": facts, "threads": options.threads, "rehearsal": bool(options.rehearsal)}
        report["speed"] = [as_dict(each) for each in results.values()]
        write_atomically(out, json.dumps(report, indent=1).encode())

    try:
        compared(options, keep)
    except KeyboardInterrupt:
        sys.exit(f"interrupted: {f'what was measured is in {out}' if results else 'nothing was written'}")
    if not results:
        return 1
    print(f"\n{summary([*results.values()])}\n\nwritten: {out}")
    if options.figure:
        from figure import draw

        draw(options.figure, [*results.values()], facts, options.threads)
    return 0


def compared(options: argparse.Namespace, keep: Keep) -> None:
    """The comparison with the peers, case by case on the screen; `keep` gets each result after each of its rounds."""
    missing = {package for package in LIBRARIES if find_spec(package) is None}
    if missing:
        names = ", ".join(name for package, name in LIBRARIES.items() if package in missing)
        print(f"not installed, so not measured: {names} (`make bench` installs them)\n", flush=True)
    sides = {side: factory for side, factory in FACTORIES.items() if NEEDED.get(side) not in missing}
    rounds = options.rounds or (1 if options.rehearsal else None)
    for result in compare(options.cases, rounds, options.threads, sides, print, keep, bool(options.rehearsal)):
        print(progress(result), flush=True)


def compare(
    cases: Sequence[Case],
    rounds: int | None,
    threads: int,
    sides: Mapping[str, str],
    say: Say,
    keep: Keep = lambda result: None,
    rehearsal: bool = False,
) -> Iterator[Result]:
    """The results, each yielded when it is there; `say` gets each reason for which a side has none once.

    `sides` are factories of work by name; `keep` gets a result after each of its rounds. A `rehearsal` shows that
    everything works: it does short units, and no number means anything. The variables of the libraries' numbers of
    threads must have been set.
    """
    told: set[str] = set()
    for shift in _shifts(cases):
        with Crew(sides) as crew:
            for case in shift:
                result = Result(case, threads, rounds or KINDS[case.kind].rounds)
                _measure(result, crew, keep, rehearsal)
                for side, reason in result.failed.items():
                    if reason not in told:
                        say(f"{case.name}: {side}: {reason}")
                        told.add(reason)
                yield result


def _shifts(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases that share workers, then each case whose memory is measured, with workers of its own."""
    together = [case for case in cases if not KINDS[case.kind].own]
    return [shift for shift in (together, *([case] for case in cases if KINDS[case.kind].own)) if shift]


def _measure(result: Result, crew: Crew, keep: Keep, rehearsal: bool) -> None:
    """Fill in a result: every side makes the case ready, then takes a turn in each round."""
    kind = KINDS[result.case.kind]
    sides = [side for side in crew.sides if side in kind.sides]
    ready = _ask(result, crew, sides, "prepare", result.case, rehearsal)
    if OURS not in ready:
        return  # nothing to compare with
    result.parameters, result.flops = ready[OURS].parameters, ready[OURS].flops
    for side in PEERS:
        assert side not in ready or ready[side].parameters == result.parameters, f"{side} has another network"
    turns: dict[str, list[Turn]] = {side: [] for side in sides}
    for number in range(result.rounds):
        first = number % len(sides)
        for side, turn in _ask(result, crew, sides[first:] + sides[:first], "turn").items():
            turns[side].append(turn)
        if OURS in result.failed:
            return
        whole = [side for side in sides if side not in result.failed]
        result.add({side: turns[side] for side in whole})
        if kind.own:
            result.memory = _ask(result, crew, whole, "peak_memory")
        keep(result)


def _ask(result: Result, crew: Crew, sides: Sequence[str], name: str, *arguments: Any) -> dict[str, Any]:
    """What the sides answer, one after the other. A side that has failed is not asked again; after ours, none is."""
    answers = {}
    for side in sides:
        if not {side, OURS} & result.failed.keys():
            try:
                answers[side] = crew.ask(side, name, *arguments)
            except Failed as failure:
                result.failed[side] = str(failure)
    return answers


if __name__ == "__main__":
    refuse_other_checkout()
    try:
        sys.exit(main(parsed(sys.argv[1:])))
    except OSError as error:  # MNIST is not there, say
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was written")
