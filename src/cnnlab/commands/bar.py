"""The progress bar of a single run."""

from __future__ import annotations

from tqdm import tqdm

from cnnlab.journal import Watcher


class Bar(Watcher):
    """A progress bar with the time left, images/s, loss and accuracy; only on a terminal, of 80 columns or more."""

    def __init__(self) -> None:
        shown = "{percentage:3.0f}%|{bar}| {remaining} left, {rate_noinv_fmt}{postfix}"  # at 80 columns there is a bar
        self._bar = tqdm(unit=" images", bar_format=shown, disable=None, leave=False)

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """One step of the bar, which begins where a resumed run does."""
        if not self._bar.total:
            self._bar.reset(total)
            self._bar.n = self._bar.initial = done - batch
        self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}", refresh=False)
        self._bar.update(batch)

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.close()
