"""Writing a trained network as an MLflow model folder."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np


def write_model(folder: Path, networks: Sequence[Path], shape: tuple[int, int, int]) -> None:
    """An MLflow pyfunc model in `folder`, of networks' npz files, for images of a shape (H, C, W).

    Its signature says nothing of the images: MLflow's could say but one shape and type of them, and `Predictor` takes
    several. It requires cnnlab, which no index has: `mlflow models serve` needs `--env-manager local`, or a wheel.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    rows, channels, columns = shape
    images = f"{rows}x{columns} {'colour' if channels > 1 else 'grey'}, as cnnlab.predictor.Predictor takes them"
    answers = TensorSpec(np.dtype(np.int64), (-1,))
    params = ParamSchema([ParamSpec("probabilities", DataType.boolean, False)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={network.stem: str(network) for network in networks},
            signature=ModelSignature(None, Schema([answers]), params),
            pip_requirements=[f"{name}=={version(name)}" for name in ("cnnlab", "mlflow", "numpy")],
            metadata={"cnnlab": version("cnnlab"), "images": images},
        )
