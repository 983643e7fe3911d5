"""Writing a trained network as an MLflow model folder."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np


def write_model(folder: Path, networks: Sequence[Path], shape: tuple[int, int, int]) -> None:
    """An MLflow pyfunc model in `folder`, of networks' npz files, for images (N, H, W) or (N, H, W, 3) of bytes.

    What loads it needs cnnlab, which no index has: it is no requirement that could be fetched.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, shape[0], shape[2], *([shape[1]] if shape[1] > 1 else [])))
    answers = TensorSpec(np.dtype(np.int64), (-1,))
    params = ParamSchema([ParamSpec("probabilities", DataType.boolean, False)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={network.stem: str(network) for network in networks},
            signature=ModelSignature(Schema([images]), Schema([answers]), params),
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy")],
            metadata={"cnnlab": version("cnnlab")},
        )
