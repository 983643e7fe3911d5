"""The notebook `tour.ipynb`, run from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

from cnnlab.paths import write_atomically
from excerpts import FOLDER

NOTEBOOK = FOLDER / "tour.ipynb"
LIMIT = 600  # seconds for a cell, or until the first: many times what they take


def executed(file: Path = NOTEBOOK) -> str:
    """The notebook with its outputs, as JSON; an error in a cell is raised.

    What says when and by which Python it was run is left out, so that a notebook that has not changed stays as it is.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(file, as_version=4)
    inside = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=LIMIT, startup_timeout=LIMIT, resources=inside).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    return nbformat.writes(notebook) + "\n"


def renew() -> None:
    """Run the notebook and keep it with its outputs."""
    write_atomically(NOTEBOOK, executed().encode())
    print(f"written: {NOTEBOOK}")
