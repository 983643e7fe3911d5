"""A run's record kept by a process of its own: training waits neither for MLflow nor for matplotlib.

Both are slow to import and mostly Python, so a thread would stand in training's way; a second core does not.
"""

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, cast

from .log import RunLog
from .store import store_errors

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

CTRL_C = {signal.SIGINT}
_log = RunLog()  # the far end's


@contextmanager
def log_apart() -> Iterator[RunLog]:
    """A RunLog whose methods return at once; what goes wrong is raised by a later call, at the latest by ``close``."""
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(1, get_context("spawn"), _settle)
    try:
        yield cast(RunLog, _Apart(pool))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Apart:
    """The near end: every method of RunLog is passed on to the far end, which does them in turn."""

    def __init__(self, pool: "ProcessPoolExecutor") -> None:
        self._pool = pool
        self._calls: list[Future[Any]] = []

    def begin(self, *arguments: Any) -> None:
        self._begun = self._call("begin", *arguments)

    @property
    def run_id(self) -> str:
        """Waits until the record is begun, and raises what kept it from that."""
        return self._begun.result()

    def epoch(self, record: Mapping[str, float]) -> None:
        self._call("epoch", record)
        if record["epoch"] == 1:
            self._call("rehearse")

    def check(self, begun: bool = False) -> None:
        if begun:
            self._begun.exception()
        self._calls = [call for call in self._calls if not call.done() or call.exception()]
        if any(call.done() for call in self._calls):
            self._wait()

    def close(self, status: str) -> None:
        self._call("close", status)
        self._wait()

    def _wait(self) -> None:
        """Until all that was asked for is done or has failed; raises the first failure."""
        calls, self._calls = self._calls, []
        for error in filter(None, [call.exception() for call in calls]):
            raise error

    def _call(self, name: str, *arguments: Any, **options: Any) -> "Future[Any]":
        self.check()
        signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)  # what comes meanwhile is not lost; the process inherits it
        try:
            self._calls.append(self._pool.submit(_do, name, arguments, options))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)
        return self._calls[-1]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)


def _settle() -> None:
    """The far end begins: its end is a short one, and comes with the near one's, also where that is killed."""
    atexit.register(os._exit, 0)  # the last to be called: half a second of taking modules apart is spared
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    near = parent_process()
    assert near is not None
    near.join()
    os._exit(1)


def _do(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What the far end does: an error of the store's own kind would take all of MLflow to be understood here."""
    with store_errors():
        return getattr(_log, name)(*arguments, **options)
