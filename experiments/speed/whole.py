"""Run a command and wait for all that it starts, so that who waits for this has all of its processor time.

A process whose parent has ended is otherwise waited for by the system, and its time is nobody's.
"""

import ctypes
import os
import subprocess
import sys
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36  # of Linux: orphans become children of this process

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    code = subprocess.call(sys.argv[1:])
    with suppress(ChildProcessError):  # there is none left
        while True:
            os.wait()
    sys.exit(code)
