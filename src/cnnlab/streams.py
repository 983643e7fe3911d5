"""Standard streams that a command can always write to: a reader that is gone or a full disk ends no run.

What cannot be encoded is escaped, as `\\xe4`. What nobody reads any more (`| head -1`, a terminal that was closed) is
dropped in silence; other failures, such as a full disk, are said at the end.
"""

import errno
import io
import os
import sys
from typing import Any


def printable(text: str) -> str:
    """A text on one line; what cannot be printed, such as a command to the terminal, is escaped, as in `\\x1b`."""
    letters = " ".join(text.splitlines())
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in letters)


class Stream(io.FileIO):
    """A file that takes everything; after the first failure, which it keeps as `lost`, it drops what it is given."""

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        """The bytes, as far as anybody takes them; how many they are."""
        if self.lost is None:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.lost = error
        return len(memoryview(data).cast("B"))


def take_all() -> None:
    """Put such streams in the place of this process's own; what is closed counts as not read."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: else the next file that is opened would be taken for the stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(2, sys.stderr)


def _text(number: int, before: Any) -> io.TextIOWrapper:
    encoding = before.encoding if before else "utf-8"
    line_by_line = number == 2 or os.isatty(number)
    buffered = io.BufferedWriter(Stream(number, "w", closefd=False))
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=line_by_line)


def failure() -> str:
    """A line on why standard output did not take all that was written; "" where it did, or its reader had enough."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, Stream):
        return ""
    sys.stdout.flush()
    gone = errno.EIO if sys.stdout.line_buffering else errno.EPIPE  # of a terminal, or of a pipe
    if raw.lost is None or raw.lost.errno == gone:
        return ""
    return f"standard output took no more lines: {raw.lost.strerror}; nothing else went wrong"
