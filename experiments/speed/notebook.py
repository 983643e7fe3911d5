"""The numbers of the notebook, written anew: the tables in README.md and the figure.

python experiments/speed/notebook.py [bench.json] reads what `make bench` has measured.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from cases import CASES, EPOCH, GOAL, LENETS, OURS, PEERS, PREDICT, RACES, RUN, STEP, SWEEP
from cnnlab.commands import in_one_line
from cnnlab.paths import refuse_other_checkout, root, write_atomically
from cnnlab.report.tables import replaced
from figure import draw
from machine import described
from results import Result, between, from_dict, judged, milliseconds, missed, peak_line, remark, verdict

FOLDER = Path(__file__).resolve().parent
COMPARED = (STEP, PREDICT, EPOCH)  # the kinds of the large table
Facts = Mapping[str, Any]


def main(report: Path, folder: Path = FOLDER) -> None:
    """Write each part of the notebook whose cases have all their rounds, and say which parts were left as they are."""
    try:
        kept = json.loads(report.read_text("utf-8"))
        results, facts = [from_dict(each) for each in kept["speed"]], kept["machine"]
    except FileNotFoundError:
        sys.exit(f"notebook: {report} is not there: `make bench` writes it")
    except (KeyError, TypeError, ValueError):
        sys.exit(f"notebook: {report} cannot be read: `make bench` writes it anew")
    if kept["rehearsal"]:
        sys.exit(f"notebook: {report} is of a rehearsal, whose numbers mean nothing: nothing was written")
    whole = [result for result in results if result.whole]
    page = folder / "README.md"
    text = page.read_text("utf-8")
    for name, (kinds, write) in PARTS.items():
        wanted = [case for case in CASES if case.kind in kinds]
        found = [result for case in wanted for result in whole if result.case == case]
        if len(found) < len(wanted):
            print(f"{name}: left as it is, since {len(found)} of its {len(wanted)} cases have all their rounds")
            continue
        text = replaced(text, name, write(found, facts))
        if name == "cases":
            draw(folder / "speed.png", whole, facts, kept["threads"])
    write_atomically(page, text.encode())


def _cases(results: Sequence[Result], facts: Facts) -> str:
    """Ranges of the ratios, the targets, all cases, and the machine."""
    verdicts, lines = judged(results), missed(results)
    targets = f"Targets met: {verdicts.count(True)} of {len(verdicts)}" + "; missed:" * bool(lines)
    misses = "\n".join(f"- {line}" for line in lines)
    rows = [_row(result) for result in results]
    ratios = [word for name in PEERS.values() for word in (f"{name} / ours", "wanted")]
    table = _table(["case", "ours, ms", *ratios, "of peak"], rows)
    remarks = "\n".join(f"- {line}" for line in [*peak_line(results), *filter(None, map(remark, results))])
    return "\n\n".join(filter(None, [_ranges(results), targets, misses, table, remarks, _machine(facts)]))


def _ranges(results: Sequence[Result]) -> str:
    """The smallest and the largest median of each peer's time over ours, by kind of work."""
    groups = {
        "steps of LeNet-5": [each for each in results if each.case.kind == STEP and each.case.network in LENETS],
        "other steps": [each for each in results if each.case.kind == STEP and each.case.network not in LENETS],
        "predictions": [each for each in results if each.case.kind == PREDICT],
        "epochs": [each for each in results if each.case.kind == EPOCH],
    }
    rows = [[f"{name} / ours", *(_range(group, side) for group in groups.values())] for side, name in PEERS.items()]
    return _table(["", *groups], rows)


def _range(results: Sequence[Result], side: str) -> str:
    medians = [ratio.median for result in results if (ratio := result.ratio(side))]
    return f"{min(medians):.2f} to {max(medians):.2f}" if medians else ""


def _row(result: Result) -> list[str]:
    ratios = [cell for side in PEERS for cell in (between(result.ratio(side), ""), verdict(result, side))]
    share, wanted = result.share(), verdict(result, "share")
    percent = f"{share.median:.0%}{wanted and f' ({wanted})'}" if share else ""
    return [result.case.name, milliseconds(result.median(OURS)), *ratios, percent]


def _run(results: Sequence[Result], facts: Facts) -> str:
    (run,) = results
    seconds, training = (statistics.median(values[OURS]) for values in (run.seconds, run.found))
    rows = [[f"{seconds:.1f}", f"{training:.1f}", f"{run.beyond():.1%}", verdict(run, "beyond")]]
    return _table(["seconds, from command to end", "training", "beyond it", "wanted at most"], rows)


def _sweep(results: Sequence[Result], facts: Facts) -> str:
    (sweep,) = results
    sides = {OURS: "cnnlab", "eager": "PyTorch, joblib, MLflow"}
    rows = [
        [
            name,
            f"{statistics.median(sweep.seconds[side]):.1f}",
            "" if side == OURS else f"{between(sweep.ratio(side))} ({verdict(sweep, side)})",
            f"{statistics.median(sweep.processor[side]):.1f}",
            "" if side == OURS else between(sweep.processor_ratio(side)),
            f"{1 - statistics.mean(sweep.found[side]):.2%}",
        ]
        for side, name in sides.items()
        if side in sweep.seconds
    ]
    return _table(["", "seconds", "over ours", "processor seconds", "over ours", "mean validation error"], rows)


def _race(results: Sequence[Result], facts: Facts) -> str:
    (race,) = results
    rows = [
        [
            {OURS: "cnnlab"}.get(side) or PEERS[side],
            f"{race.to_goal(side):.1f}",
            between(race.ratio(side), ""),
            f"{statistics.mean(values):.2%}",
            f"{min(values):.2%} to {max(values):.2%}",
        ]
        for side, values in race.found.items()
    ]
    wanted = f"Wanted: our seconds at most {verdict(race, 'seconds')}; the ratio {verdict(race, 'eager') or 'alone'}."
    headers = ["", f"median seconds to {GOAL:.0%}", "over ours", "mean test accuracy", "lowest to highest"]
    return f"{_table(headers, rows)}\n\n{wanted}"


def _machine(facts: Facts) -> str:
    return "Measured on: " + described(dict(facts)).replace("\n", "; ") + "."


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


Write = Callable[[Sequence[Result], Facts], str]
PARTS: dict[str, tuple[tuple[str, ...], Write]] = {
    "cases": (COMPARED, _cases),
    "run": ((RUN,), _run),
    "sweep": ((SWEEP,), _sweep),
    "race": ((RACES,), _race),
}


if __name__ == "__main__":
    refuse_other_checkout()
    with in_one_line():
        main(Path(sys.argv[1]) if sys.argv[1:] else root() / "bench.json")
        print(f"written: {FOLDER / 'README.md'}")
