"""A run's record kept by a process of its own: training waits neither for MLflow nor for matplotlib.

Both are slow to import and mostly Python: in a thread they would slow training down, on a second core they do not.
Calls go there through a queue and are answered in turn. After one that fails, those already under way are
skipped, so that nothing is built on it; only the record's `close` never is.
"""

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any, cast

from cnnlab.signals import deaf, uninterrupted
from cnnlab.tracking.access import one_line, store_errors
from cnnlab.tracking.leases import Elsewhere
from cnnlab.tracking.log import RunLog, say_waiting

ALWAYS = 2**62  # the generation of a call that is never skipped


class Died(OSError):
    """The other process is gone, and what it knew with it."""


@contextmanager
def log_apart() -> Iterator[RunLog]:
    """A RunLog that lets nobody wait: what goes wrong is raised by a later call, at the latest by `close`.

    `run_id` waits until the record is begun, `close` until all is done. What is handed over must not change.
    """
    log = _Apart()
    try:
        yield cast(RunLog, log)
    finally:
        log.end()


class _Apart:
    """The near end: each call carries its generation, the number of failures that were known when it was made."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._calls, self._oldest = context.Queue(), context.Value("q", 0)  # generations before are skipped
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(self._calls, answers, self._oldest), daemon=True)
        with uninterrupted(), deaf():
            self._process.start()
        answers.close()
        self._sent = self._settled = self._generation = 0
        self._begun: Any = None  # the record's id, or what kept it from being

    busy = staticmethod(say_waiting)

    @property
    def run_id(self) -> str:
        self.check(begun=True)
        if isinstance(self._begun, Exception):
            raise self._begun
        return str(self._begun)

    def epoch(self, record: Mapping[str, float]) -> None:
        self._call("epoch", record)
        if record["epoch"] == 1:
            self._call("rehearse")

    def check(self, begun: bool = False) -> None:
        while self._settled < self._sent and (self._answers.poll() or (begun and self._begun is None)):
            self._receive()

    def close(self, status: str) -> None:
        if status == "FINISHED":
            self._wait()
        if status == "KILLED":
            with uninterrupted():  # or its lock could stay taken
                self._oldest.value += 1  # what is still under way is not worth waiting for
        self._send(ALWAYS, "close", status)
        self._wait()

    def end(self) -> None:
        self._process.kill()
        self._calls.close()
        if self._settled == self._sent:  # the queue's thread has nothing left to send, and must not outlive its locks
            self._calls.join_thread()
        else:
            self._calls.cancel_join_thread()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_") or not callable(getattr(RunLog, name)):
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, *arguments: Any, **options: Any) -> None:
        self.check()
        self._send(self._generation, name, *arguments, **options)

    def _send(self, generation: int, name: str, *arguments: Any, **options: Any) -> None:
        with uninterrupted():
            self._calls.put((generation, time.time(), name, arguments, options))
            self._sent += 1

    def _wait(self) -> None:
        """Until all that was asked for is done, skipped or has failed; raises the first failure."""
        failed: list[Exception] = []
        while self._settled < self._sent:
            try:
                self._receive()
            except Died:
                raise
            except Exception as error:
                failed.append(error)
        for first in failed:
            raise first

    def _receive(self) -> None:
        """The next answer; raises it where it is an error."""
        ready = wait([self._answers, self._process.sentinel])
        with uninterrupted():  # half an answer read would spoil those after it, and an uncounted one be awaited forever
            try:
                answer = self._answers.recv() if self._answers in ready else Died
            except EOFError:
                answer = Died
            if answer is Died:
                raise Died("the process that keeps the run's record died")
            self._settled += 1
            self._begun = answer if self._begun is None else self._begun
            if isinstance(answer, Exception):
                self._generation = self._oldest.value
                raise answer


def _serve(calls: Any, answers: Any, oldest: Any) -> None:
    """The far end: answers each call with what it returns or raises, until the near end is gone."""
    threading.Thread(target=_follow, daemon=True).start()

    def busy(name: str) -> None:
        if generation < oldest.value:
            raise Elsewhere(f"{name}: another process makes it")  # and here it was interrupted
        say_waiting(name)

    log = RunLog(busy=busy)
    while True:
        generation, log.when, name, arguments, options = calls.get()
        answer = None
        if generation >= oldest.value:
            try:
                with store_errors():  # to unpickle MLflow's own errors the near end would have to import MLflow
                    if name != "close":
                        log.check()
                    answer = getattr(log, name)(*arguments, **options)
            except Exception as error:
                answer = _sendable(error)
                oldest.value += 1
        answers.send(answer)


def _follow() -> None:
    near = parent_process()
    assert near is not None
    near.join()
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    try:
        return cast(Exception, pickle.loads(pickle.dumps(error)))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {one_line(error)}")
