"""What an arm costs beyond its training, by launcher, in seconds of a processor: the table of the README.

`make test-cluster ARGS="-k costs -rP"` prints it. Sweeps of a few and of more of the same tiny arms are made by each
launcher; what one arm more costs is the difference, and what is left is the start. All processes that a sweep starts
are counted, with those of Ray; the daemons of Slurm, which are there before, are not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil
from tests.conftest import Home

FEW, MANY = 2, 8
TINY = ("data=digits", "data.train=200", "model=mlp", "model.hidden=[4]", "epochs=1", "study=overhead")


@contextmanager
def counted(home: Home) -> Iterator[Callable[[], float]]:
    """The processor time of all processes that belong to a home, as it is looked at twenty times a second."""
    spent, strangers, over = dict[tuple[int, float], float](), set[tuple[int, float]](), threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    key = process.pid, process.create_time()
                    if key in strangers:
                        continue
                    if key not in spent and process.environ().get("CNNLAB_HOME") != str(home.folder):
                        if time.time() - key[1] > 1:  # one that has just begun shows no environment
                            strangers.add(key)
                        continue
                    spent[key] = sum(process.cpu_times()[:2])

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield lambda: sum(spent.values())
    finally:
        over.set()
        watch.join()


def overhead(new_home: Callable[[str], Home], words: Sequence[str], **variables: str) -> tuple[float, float]:
    """Seconds of a processor that a sweep takes to start, and that an arm takes beyond its training."""
    spent = {}
    for arms in (FEW, MANY):
        home = new_home(f"{arms}")
        with counted(home) as seconds:
            said = home.train("-m", f"seed=range(0,{arms})", *TINY, *words, **variables)
            assert (said.code, said.err) == (0, ""), said
        runs = home.runs("overhead")
        assert len(runs) == arms
        spent[arms] = seconds() - sum(run.data.metrics["time/total_s"] for run in runs)
    each = (spent[MANY] - spent[FEW]) / (MANY - FEW)
    return spent[FEW] - FEW * each, each
