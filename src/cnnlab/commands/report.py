"""`cnnlab report`: the tables and figures of a study that was made, written anew into reports/."""

from collections.abc import Sequence

from cnnlab.commands import parser
from cnnlab.paths import UI


def main(words: Sequence[str]) -> None:
    """Report on the study of this name."""
    parse = parser("report")
    parse.add_argument("study", nargs="?", default="first_look", help="default %(default)s")
    name = parse.parse_args(words).study
    from cnnlab.summaries import report_again
    from cnnlab.tracking.store import link, studies

    known = {study.name: study for study in studies()}
    if name not in known:
        there = ", ".join(known) or "none yet: `cnnlab sweep` makes one"
        raise ValueError(f"there is no study {name!r}: choose from {there}")
    print(report_again(known[name]) / "index.html")
    print(f"MLflow, after {UI}:", link(known[name]))
