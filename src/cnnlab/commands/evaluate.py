"""`cnnlab evaluate`: the test error of finished runs on images that are shifted, turned, scaled or noisy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnlab.commands import parser
from cnnlab.paths import UI, is_full

if TYPE_CHECKING:
    from cnnlab.tracking.store import Study

EXAMPLES = """\
  cnnlab evaluate 3f9c                       the run whose id begins so: every kind of change
  cnnlab evaluate pooling                    every finished run of the study
  cnnlab evaluate 3f9c shift=8 rotation=90   these kinds, so far

words, and how far they go where nothing is said:
  shift=4       pixels up, down, left and right
  rotation=45   degrees to the left and to the right
  scale=2       up to so many times as large, and as small
  noise=10      per cent: Gaussian noise, of the grey range; salt and pepper, of the pixels

A run's metrics `test_error_percent/shift_up` and so on have the amounts as steps, and plots/robustness.png draws them.
"""


def main(words: Sequence[str]) -> None:
    """Evaluate what the words ask for; what a run knows already is not computed again."""
    parse = parser("evaluate", EXAMPLES)
    parse.add_argument("run", metavar="RUN", help="the name of a run or study, or the beginning of a run's id")
    parse.add_argument("words", nargs="*", metavar="KIND=AMOUNT", help="which changes, and how far (default all)")
    said = parse.parse_intermixed_args(words)
    if said.run.partition("=")[0] in ("shift", "rotation", "scale", "noise"):
        parse.error(f"{said.run}: a run or a study comes first")
    from cnnlab.changes import asked
    from cnnlab.tracking.records import finished

    changes = asked(said.words)

    found, failed = finished(said.run), 0
    for study, run in found:
        try:
            _evaluate(study, run, changes)
        except (ValueError, OSError) as error:
            if len(found) == 1 or is_full(error):
                raise
            failed += 1
            print(f"FAILED {run.info.run_name}: {error}", flush=True)
    if failed:
        sys.exit(1)


def _evaluate(study: Study, run: Any, asked: dict[str, float]) -> None:
    """Evaluate one run, and print the error at the largest amounts."""
    from cnnlab.changes import KINDS
    from cnnlab.robustness import evaluate
    from cnnlab.tracking.access import store_errors

    name, before = run.info.run_name, run.data.metrics["test/error_percent"]
    with store_errors():
        for number, (kind, curves, new) in enumerate(evaluate(study, run, asked)):
            plain = next(iter(curves.values()))[0]
            if not number:
                print(f"{name}  test error {plain:.2f}%")
                if plain != before:
                    print(f"  it was {before:.2f}% when the run was made, by other code or on another machine")
            ends = {each: KINDS[kind].amounts(each, asked[kind])[-1] for each in curves}
            errors = "  ".join(f"{each} {ends[each]}: {curves[each][ends[each]]:.2f}%" for each in curves)
            print(f"  {kind:<9} {errors}  ({KINDS[kind].unit}){'' if new else '  known'}", flush=True)
    print(f"plots/robustness.png of run {run.info.run_id} of study {study.name}; {UI} shows it", flush=True)
