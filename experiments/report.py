"""Write the report of a sweep that was made into reports/: python experiments/report.py activation."""

import sys

from cnnlab.sweeps import report_again
from cnnlab.tracking.store import studies


def main(name: str) -> int:
    """Report on the study of this name; the exit code."""
    known = {study.name: study for study in studies()}
    if name not in known:
        there = ", ".join(known) or "none yet: `make sweep` makes one"
        print(f"SWEEP={name}: there is no such study; there are: {there}", file=sys.stderr)
        return 1
    print(report_again(known[name]) / "index.html")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:2] or ["classic_to_modern"]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
