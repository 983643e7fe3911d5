"""PyTorch's answers kept in a small file, for machines without PyTorch; record.py writes it."""

from pathlib import Path
from typing import Any

import numpy as np
from parity.cases import CASES
from parity.compare import Array, Numbers
from parity.training import TRAININGS

FILE = Path(__file__).with_name("recorded.npz")
WHOLE, COVECTORS = 128, 16
PRECISIONS = (np.float64, np.float32)


def sketch(array: Array) -> Array:
    """The values of a small array; of a large one, products with random covectors, which no error escapes."""
    flat = array.ravel().astype(np.float64)
    if flat.size <= WHOLE:
        return flat
    return np.random.RandomState(0).standard_normal((COVECTORS, flat.size)) @ flat


def sketches(results: Numbers) -> Numbers:
    """The sketch of each array."""
    return {name: sketch(array) for name, array in results.items()}


def some(losses: Array) -> Array:
    """Every fiftieth step's loss, the last one's too."""
    return losses[49::50]


def answers(t: Any) -> dict[str, Array]:
    """What is recorded: a vector for each case, losses for each training, and PyTorch's version."""
    vectors = {
        name: np.concatenate(list(sketches(case.theirs(t, np.float64)).values())) for name, case in CASES.items()
    }
    losses = {
        f"{name}-{dtype.__name__}": some(training.theirs(t, dtype))
        for name, training in TRAININGS.items()
        for dtype in PRECISIONS
    }
    return {"torch": np.array(version(t)), **vectors, **losses}


def version(t: Any) -> str:
    """2.13.0, whatever it was built for."""
    return str(t.__version__).split("+")[0]


def recorded() -> dict[str, Array]:
    """The file's content."""
    with np.load(FILE) as file:
        return dict(file)


def split(vector: Array, like: Numbers) -> Numbers:
    """A case's recorded vector cut into arrays of the sizes that ours have."""
    sizes = [array.size for array in like.values()]
    assert len(vector) == sum(sizes), "the case has changed: run tests/parity/record.py"
    return dict(zip(like, np.split(vector, np.cumsum(sizes)[:-1]), strict=True))
