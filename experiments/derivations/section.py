"""A section of the page: the code that it shows, what was computed, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots.style import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLOSE = 1e-9  # how far numbers may lie apart, relative to the largest, that the page calls the same


@dataclass(frozen=True)
class Section:
    """What a program writes of a section; its prose and formulas are in README.md, by hand."""

    name: str
    code: Sequence[str]
    said: Sequence[str]
    figure: Figure
    table: str = ""

    def markdown(self) -> str:
        """The code, the picture, and what was found."""
        picture = f"![{self.figure.get_suptitle()}]({self.name}.png)"
        found = "\n".join(f"- {sentence}" for sentence in self.said)
        return "\n\n".join([*self.code, picture, *([self.table] if self.table else []), found])


def agree(what: str, *pairs: tuple[Array, Array]) -> str:
    """A sentence that says that two computations gave the same; ValueError where they did not."""
    for ours, theirs in pairs:
        if ours.shape != theirs.shape or not np.abs(ours - theirs).max() <= CLOSE * np.abs(theirs).max():  # nor is NaN
            raise ValueError(f"{what}: {ours} and {theirs} are not the same")
    return f"{what} agree to 9 digits."
