"""`cnnlab data`: fetches a dataset's four files into the data folder; files that are there and right are kept."""

from collections.abc import Sequence
from functools import partial

from cnnlab.commands import parser
from cnnlab.data.archives import ARCHIVES
from cnnlab.data.download import fetch


def main(words: Sequence[str]) -> None:
    """Fetch the dataset of this name."""
    parse = parser("data")
    parse.add_argument("name", nargs="?", choices=sorted(ARCHIVES), default="mnist", help="default %(default)s")
    for line in fetch(ARCHIVES[parse.parse_args(words).name], say=partial(print, flush=True)):
        print(line, flush=True)
