"""The script behind `make data`: `python experiments/data.py [mnist|fashion_mnist]` fetches the four files.

They go into the data folder (`CNNLAB_DATA`, else `data/`); what is there and right is kept.
"""

import argparse
import sys

from cnnlab.data.archives import ARCHIVES
from cnnlab.data.download import fetch


def main() -> int:
    """The exit status: 0 once all four files are there and right, else 1 after one line that says why."""
    parser = argparse.ArgumentParser(description="Fetch a dataset into CNNLAB_DATA, else data/.")
    parser.add_argument("name", nargs="?", choices=sorted(ARCHIVES), default="mnist")
    try:
        for line in fetch(ARCHIVES[parser.parse_args().name]):
            print(line, flush=True)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
