"""The engine's speed compared with PyTorch's, in turns; with --profile or --growth, where our own time goes.

python experiments/bench.py --only 'step/lenet5_*/32' 'epoch/*' --figure speed.png
python experiments/bench.py --profile --network zhou --batch 8
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never

from cnnlab.bench.cases import CASES, KINDS, LONG, NETWORKS, ROUNDS, chosen
from cnnlab.paths import root, write_atomically

# Read by a BLAS when it is loaded: nothing above may import NumPy, and the workers inherit them.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
COMPARISON, PROFILE = ("only", "rounds", "out", "figure"), ("network", "batch")  # options of one half alone


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> Never:
        """Exit with 2."""
        self.exit(2, f"bench: {message}\n")


def positive(text: str) -> int:
    """A number to count with."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def writable(text: str) -> Path:
    """A file that can be written, as far as one can know: minutes later is too late to find out."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that is there")
    return path


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; one that would change nothing is refused."""
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    rounds = ", ".join(f"{count} of {kind}" for kind, count in ROUNDS.items())
    parser = Parser("bench", description=__doc__.partition("\n")[0], epilog=f"Cases are {kinds}.", allow_abbrev=False)
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        metavar="CASE",
        help=f"cases as kind/network/batch, where * is anything: 'step/*/32' (default all but {LONG}/*)",
    )
    add("--rounds", type=positive, help=f"rounds of each case (default {rounds})")
    add("--threads", type=positive, default=1, help="threads of each library (default %(default)s, as the targets)")
    add("--out", type=writable, help="JSON of all rounds (default bench.json)")
    add("--figure", type=writable, help="PNG of the ratios")
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
        short = [f"{kind}/*" for kind in KINDS if kind != LONG]
        names = {case for pattern in options.only or short for case in chosen(pattern)}
    except ValueError as error:
        parser.error(f"argument --only: {error}")
    options.cases = [case for case in CASES if case in names]
    return options


def main(options: argparse.Namespace) -> int:
    """Measure, print and write down; the exit code: 1 if there was nothing to write."""
    os.environ |= dict.fromkeys(THREADS, str(options.threads))
    if options.profile:
        from cnnlab.bench.profiling import profile

        print(profile(options.network or "lenet5_relu", options.batch or 32))
        return 0
    if options.growth:
        from cnnlab.bench.growth import growth, table

        print(table(growth()))
        return 0
    from cnnlab.bench.machine import described, machine

    facts = machine()
    print(f"{described(facts)}; threads each: {options.threads}\n", flush=True)
    speed = compared(options, facts)
    if not any(case["seconds"] for case in speed):
        return 1
    out = options.out or root() / "bench.json"
    report = {"machine": facts, "threads": options.threads, "speed": speed}
    write_atomically(out, json.dumps(report, indent=1).encode())
    print(f"written: {out}")
    return 0


def compared(options: argparse.Namespace, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparison with PyTorch, row by row on the screen, drawn if asked for, and all of it for JSON."""
    from cnnlab.bench.results import PEERS, as_dict, panels, progress, summary
    from cnnlab.bench.run import FACTORIES, compare
    from cnnlab.plots.speed import speed
    from cnnlab.plots.style import png

    sides = FACTORIES
    if find_spec("torch") is None:
        print("PyTorch is not installed (`make bench` installs it): cnnlab is measured alone\n", flush=True)
        sides = {side: factory for side, factory in FACTORIES.items() if side not in PEERS}
    results = []
    for result in compare(options.cases, options.rounds, options.threads, sides, print):
        results.append(result)
        print(progress(result), flush=True)
    print(f"\n{summary(results)}\n")
    if options.figure:
        title = f"PyTorch {facts['versions']['torch']} beside cnnlab, {facts['cpu']}, threads each: {options.threads}"
        write_atomically(options.figure, png(speed(panels(results), PEERS, title)))
    return [as_dict(result) for result in results]


if __name__ == "__main__":
    try:
        sys.exit(main(parsed(sys.argv[1:])))
    except OSError as error:  # MNIST is not there, say
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was written")
