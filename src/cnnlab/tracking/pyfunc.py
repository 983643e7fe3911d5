"""The trained networks as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from threadpoolctl import threadpool_limits

from cnnlab.predictor import Predictor

MOST = 10_000  # images of one call


class Refused(mlflow.MlflowException, ValueError):
    """A ValueError whose line MLflow's server passes on to who asked: of others it says that they are unexpected."""


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images, as `Predictor` takes them, to the number of the class of each, (N,) int64.

    With the param `probabilities` to the probability of each class, (N, classes), instead. It takes one BLAS and OpenMP
    thread, or as many as `CNNLAB_THREADS` says.
    """

    def load_context(self, context: Any) -> None:
        """Read the networks that the run saved: one, or several whose outputs are added."""
        self.predictor = Predictor.of([Path(file) for file in context.artifacts.values()])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image, or with `{"probabilities": True}` the probability of each class.

        ValueError, in one line, for images that the networks do not take, or too many of them.
        """
        answer = self.predictor.predict_proba if (params or {}).get("probabilities") else self.predictor.predict
        try:
            images = np.asarray(model_input)
            if images.ndim and len(images) > MOST:
                raise ValueError(f"{len(images):,} images: choose at most {MOST:,} for one call")
            with threadpool_limits(_threads()):
                return answer(images)
        except ValueError as error:
            raise Refused(str(error), INVALID_PARAMETER_VALUE) from None


def _threads() -> int:
    said = os.environ.get("CNNLAB_THREADS", "1")
    if not (said.isdecimal() and int(said)):
        raise ValueError(f"CNNLAB_THREADS={said}: choose a whole number above 0")
    return int(said)


mlflow.models.set_model(Digits())
