"""`cnnlab data`: fetches a dataset's four files into the data folder; files that are there and right are kept."""

import sys
from collections.abc import Sequence
from functools import partial

from cnnlab.commands import parser
from cnnlab.data.archives import ARCHIVES
from cnnlab.data.download import fetch


def main(words: Sequence[str]) -> None:
    """Fetch the dataset of this name."""
    parse = parser("data")
    parse.add_argument("name", nargs="?", choices=sorted(ARCHIVES), default="mnist", help="default %(default)s")
    say = partial(print, file=sys.stderr, flush=True)  # of what is going on; where the files are is the answer
    for line in fetch(ARCHIVES[parse.parse_args(words).name], say=say):
        print(line, flush=True)
