"""Processes that take turns, one for each side, so that no side's threads or memory disturb another's.

While one works the others wait on their pipes.
"""

import os
import signal
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, NamedTuple, Self

from cases import Case, Work

SETTLE = 0.4  # seconds of untimed work before the first turn, until caches and clock rates are steady
TURN = 0.5  # seconds of a turn, if a unit is not longer: long enough that waking the process does not count
PATIENCE = 5  # seconds for a worker to end by itself
CTRL_C = {signal.SIGINT}
Make = Callable[[Case], Work]


class Prepared(NamedTuple):
    """What a side says of a case that is ready: see `Work`."""

    parameters: int
    flops: int


class Turn(NamedTuple):
    """Seconds for a unit of work, of wall and of processor time, and what the last one returned.

    The processor's are of all threads and of processes that were started and waited for.
    """

    seconds: float
    processor: float
    result: float | None


class Failed(Exception):
    """A worker's failure, in one line."""


class Died(Failed):
    """The end of a worker's process."""


class Bench:
    """What a worker process does when asked to."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._work, self._units = Work(lambda: None), 1

    def prepare(self, case: Case, rehearsal: bool = False) -> Prepared:
        """Make a case ready and find out how many units of it fill a turn; in a rehearsal, its short unit if any."""
        module, name = self._factory.split(":")
        make: Make = getattr(import_module(module), name)
        work = make(case)
        self._work = work = replace(work, run=work.rehearse) if rehearsal and work.rehearse else work
        self._units = _units(work)
        return Prepared(work.parameters, work.flops)

    def turn(self) -> Turn:
        """Work for one turn."""
        began, used = perf_counter(), _processor_seconds()
        with self._work.within():
            for _ in range(self._units):
                result = self._work.run()
        seconds, processor = perf_counter() - began, _processor_seconds() - used
        return Turn(seconds / self._units, processor / self._units, result)

    def peak_memory(self) -> int:
        """The most bytes that this process has had in memory at once."""
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _units(work: Work) -> int:
    if work.rehearse:
        work.rehearse()
        return 1
    work.run()  # compiles, where something is compiled
    tried: list[float] = []
    while sum(tried) < SETTLE or len(tried) < 3:
        began = perf_counter()
        work.run()
        tried.append(perf_counter() - began)
    return max(1, round(TURN / statistics.median(tried)))


def serve(connection: Connection, factory: str) -> None:
    """A worker process: answers until the other end of its pipe is closed."""
    os.setsid()  # Ctrl-C is for the parent, which ends this process and all that this one starts
    bench = Bench(factory)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)
        while True:
            name, *arguments = connection.recv()
            try:
                answer = getattr(bench, name)(*arguments)
            except Exception as error:
                answer = Failed(one_line(error))
            connection.send(answer)


def one_line(error: Exception) -> str:
    """What an error says, without what it says after that."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return said[0] if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {said[0]}"


class Worker:
    """The parent's end of one worker process."""

    def __init__(self, factory: str) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, factory))
        signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)  # inherited; what comes meanwhile is not lost
        try:
            self._process.start()
            theirs.close()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer of `Bench`'s method of this name; raises Failed."""
        try:
            self._connection.send((name, *arguments))
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(PATIENCE)
            raise Died(f"the process ended with exit code {self._process.exitcode}") from None
        if isinstance(answer, Failed):
            raise answer
        return answer

    def close(self, now: bool = False) -> None:
        """End the process; `now` in the middle of its work."""
        pid = self._process.pid or 0
        with suppress(ProcessLookupError):
            if now:
                os.kill(
                    pid, signal.SIGINT
                )  # before the pipe is closed: a process that is about to exit would print a traceback
        self._connection.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            os.killpg(pid, signal.SIGKILL)
            self._process.join()


class Crew:
    """One worker for each side, by name, started when it is first asked, and again after it has died."""

    def __init__(self, factories: Mapping[str, str]) -> None:
        self.sides = list(factories)
        self._factories = factories
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers.values():
            worker.close(now=kind is not None)

    def ask(self, side: str, name: str, *arguments: Any) -> Any:
        """What a side answers; raises Failed."""
        if side not in self._workers:
            self._workers[side] = Worker(self._factories[side])
        try:
            return self._workers[side].ask(name, *arguments)
        except Died:
            self._workers.pop(side).close()
            raise
