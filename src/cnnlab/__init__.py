"""What did each step from LeNet-5 to the modern CNN buy? Networks, runs and what they found, from Python.

`Classifier` is a scikit-learn estimator; `load` gives the trained network of a run or a file; `run` makes a tracked
run; `records` lists the runs of a study. Each is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnlab.api import load, records, run
    from cnnlab.estimator import Classifier

    __version__: str

__all__ = ["Classifier", "__version__", "load", "records", "run"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What is asked for, imported now."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("cnnlab")
        elif name in __all__:
            value = getattr(import_module("cnnlab.estimator" if name == "Classifier" else "cnnlab.api"), name)
        else:
            raise AttributeError(f"module 'cnnlab' has no attribute {name!r}")
        globals()[name] = value
        return value
