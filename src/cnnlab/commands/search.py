"""`cnnlab search`: the numbers and words with the lowest validation error, by Optuna."""

from __future__ import annotations

from collections.abc import Sequence

from cnnlab.commands import counting, parser

EXAMPLES = """\
  cnnlab search study=my_search lr activation=relu,tanh epochs=5
  cnnlab search study=my_search 'lr=tag(log,interval(0.001,1))' 'batch_size=range(8,129,8)' --trials 50
  cnnlab search study=my_search lr 'optimizer.momentum=interval(0.5,0.99)' 'model=lenet5,zhou'

A word may be one of several options: a,b or choice(a,b); a number of an interval(low,high), a whole one of an
int(interval(low,high)), on a log scale of a tag(log,interval(low,high)); or one of a range(first,end,step), without
its end. lr alone is searched around the rates that tuning begins with. These are the words of Hydra's sweeps; their
brackets need quotes.

The first 10 trials are random, the others are chosen by what came before (TPE). A trial that is worse after an epoch
than the median of those before it is pruned. One trial is made at a time: so the same words and the same seed give the
same trials, and the same command goes on where it was cut."""


def main(words: Sequence[str]) -> None:
    """Make the trials of a search that are not made, and sum up."""
    parse = parser("search", EXAMPLES)
    parse.add_argument("words", nargs="*", metavar="WORD", help="words for all trials, and those that they differ in")
    parse.add_argument("--trials", type=counting, default=30, help="how many in all (default %(default)s)")
    said = parse.parse_intermixed_args(words)
    from cnnlab.search import search

    if search(said.words, said.trials):
        raise SystemExit(1)
