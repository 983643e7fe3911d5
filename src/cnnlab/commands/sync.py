"""`cnnlab sync`: file the records that the store could not take when their runs ended."""

import sys
from collections.abc import Sequence

from cnnlab.commands import parser


def main(words: Sequence[str]) -> None:
    """Deliver what ended processes have left of their runs' records, and name it."""
    parser("sync").parse_args(words)
    from cnnlab.tracking.outbox import file_left

    filed, failed = file_left()
    if not filed and not failed:
        print("nothing to file: the store has every record")
    if failed:
        sys.exit("\n".join(failed))
