"""The page of derivations: the engine's lines for each formula of the founding documents, a check, and a picture.

python experiments/derivations/derivations.py writes the pictures and the parts of README.md that stand between
comments, which are the engine's own lines and what was computed with them; a few seconds, offline. It also runs
`tour.ipynb` anew. Prose and formulas of the page are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import convolutions
import neurons
from cnnlab import plots
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.tables import replaced
from excerpts import FOLDER
from lenet import lenet
from section import Section
from tour import renew

SECTIONS: dict[str, Callable[[], Section]] = {
    "neuron": neurons.neuron,
    "sobel": convolutions.sobel,
    "padding": convolutions.padding,
    "matrix": convolutions.matrix,
    "full": convolutions.full,
    "pooling": convolutions.pooling,
    "loss": neurons.loss,
    "chain": neurons.chain,
    "steps": neurons.steps,
    "dropout": neurons.dropout,
    "lenet": lenet,
}


def main(folder: Path = FOLDER) -> None:
    """Write all pictures, and the page, whose prose is that of the folder's README.md."""
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, make in SECTIONS.items():
        section = make()
        write_atomically(folder / f"{name}.png", plots.png(section.figure))
        text = replaced(text, name, section.markdown())
    write_atomically(page, text.encode())
    print(f"written: {page} and its {len(SECTIONS)} pictures", flush=True)


if __name__ == "__main__":
    refuse_other_checkout()
    main()
    renew()
