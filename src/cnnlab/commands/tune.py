"""`cnnlab tune`: the learning rate of every arm of a sweep, chosen on validation images, into conf/rates.yaml."""

from __future__ import annotations

from collections.abc import Sequence

from cnnlab.commands import parser, sweep, train
from cnnlab.paths import PACKAGE, conf_folder, root

EXAMPLES = """\
  cnnlab tune pooling --jobs 2
  cnnlab tune pooling --dry-run
"""
CHOSEN = ("lr", "seed", "study", "data.test")  # words that tuning says itself


def main(words: Sequence[str]) -> None:
    """Find the rates that a sweep lacks; with the words that the sweep will have."""
    parse = parser("tune", EXAMPLES)
    sweep.add_options(parse)
    said = parse.parse_intermixed_args(words)
    if chosen := next((word for word in said.words if word.partition("=")[0] in CHOSEN), None):
        parse.error(f"{chosen}: leave it out; tuning says {', '.join(CHOSEN)} itself")
    asked = sweep.overrides(parse, said)
    if said.dry_run:
        print_arms(said.name, sweep.composed(asked[1:]), said.only)
        return
    if conf_folder().is_relative_to(PACKAGE):
        place = conf_folder() / "rates.yaml"
        raise ValueError(f"the rates go into {place}, which is installed: copy its folder to {root() / 'conf'} first")
    train.main([*asked, *sweep.only(said), f"hydra.sweeper.tune={said.name}"])


def print_arms(name: str, words: Sequence[str], only: Sequence[str]) -> None:
    """The arms of a sweep that have a rate to be found, and whether it is."""
    from cnnlab.composing import sweep_of
    from cnnlab.tuning import GRID, WORDS, arms, curve_of

    wanted = arms(sweep_of(name, [*words, *WORDS], only).plans)
    for key in wanted:
        print(f"{'tuned' if curve_of(key) else 'to do':<6} {key.arm} on {key.setting}")
    left = sum(not curve_of(key) for key in wanted)
    print(
        f"{len(wanted) - left} of {len(wanted)} arms are tuned; the others take {left * (len(GRID) + 2)} runs or more"
    )
