"""The progress bar of a single run."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from cnnlab.journal import Watcher


class Bar(Watcher):
    """A progress bar in images, with loss, accuracy, images/s and time left; only on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """One step of the bar."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done - batch, unit=" images", disable=None, leave=False)
        self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}", refresh=False)
        self._bar.update(batch)
