"""`cnnlab sync`: file the records that the store could not take when their runs ended."""

import sys
from collections.abc import Sequence
from contextlib import suppress

from cnnlab.commands import parser


def main(words: Sequence[str]) -> None:
    """Deliver what ended processes have left of their runs' records, and name it; runs under way are left alone."""
    parser("sync").parse_args(words)
    from cnnlab.locks import locked
    from cnnlab.tracking.outbox import outboxes
    from cnnlab.tracking.store import StoreAway, refuse, run_lock

    filed, failed = 0, 0
    for outbox in outboxes():
        with suppress(BlockingIOError, FileNotFoundError), locked(run_lock(outbox.fingerprint), refuse):
            try:
                print("filed", outbox.deliver(end=True), flush=True)
                filed += 1
            except StoreAway:
                raise
            except OSError as error:
                print(error, file=sys.stderr)
                failed += 1
    if not filed and not failed:
        print("nothing to file: the store has every record")
    if failed:
        sys.exit(1)
