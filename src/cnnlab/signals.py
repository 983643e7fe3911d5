"""How a process is told to end: Ctrl-C, SIGTERM and a terminal that is closed all end it in order."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TERMINAL = (signal.SIGINT, signal.SIGHUP)  # those that a terminal sends to all processes of a command


def heed() -> None:
    """Let SIGTERM and SIGHUP do in this process what Ctrl-C does; not one that it was started to ignore, by `nohup`."""
    for number in ENDS[1:]:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    sys.unraisablehook = _again


def _again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt once more where Python would have dropped it with a traceback: in a callback, as imports have them."""
    if lost.exc_type is KeyboardInterrupt:
        again = threading.Timer(0.01, _thread.interrupt_main)  # here it would be dropped once more
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def ending() -> Iterator[None]:
    """The last words of this process: none of them is heard meanwhile, and later each ends it at once, in silence."""
    heard = [number for number in ENDS if callable(signal.getsignal(number))]
    for number in heard:
        signal.signal(number, signal.SIG_IGN)
    yield
    for number in heard:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and the others where they are heard, wait for the end of the block: half a write locks the store."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDS}
    heard = {number: handler for number, handler in before.items() if callable(handler)}
    for number in heard:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
    if waiting:
        raise KeyboardInterrupt


@contextmanager
def deaf() -> Iterator[None]:
    """All of them held back: a process that is started meanwhile never hears them, from its very beginning."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started meanwhile hear no Ctrl-C and no closed terminal until they are `hearing`.

    One that has only begun to start would answer Ctrl-C with a traceback, and one that keeps account of the others
    would die with the terminal. What a thread holds back is inherited by all that it starts; so the main thread holds
    it back, and another one hears it: Python acts on it in the main thread, as before.
    """
    over = threading.Event()
    threading.Thread(target=over.wait, daemon=True).start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)
    try:
        resource_tracker.ensure_running()  # its start lets Ctrl-C through again, in Python 3.11
        signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()


@contextmanager
def hearing() -> Iterator[None]:
    """Hear both, also in a process that was started deaf; what it has held back comes at once."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
