"""`cnnlab reproduce`: LeNet-5's family on the full MNIST, which is the sweep `lenet_family`, or some of its rows."""

from collections.abc import Sequence

from cnnlab.commands import counting, parser, sweep


def main(words: Sequence[str]) -> None:
    """Make the rows of these names, or all."""
    parse = parser("reproduce")
    parse.add_argument("rows", nargs="*", metavar="ROW", help="rows of conf/sweep/lenet_family.yaml (default all)")
    parse.add_argument("--jobs", type=counting, help="workers side by side (default 2)")
    said = parse.parse_intermixed_args(words)
    jobs = [f"--jobs={said.jobs}"] if said.jobs else []
    sweep.main(["lenet_family", *jobs, *(f"--only={row}" for row in said.rows)])
