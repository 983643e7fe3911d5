"""The trained networks as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from threadpoolctl import threadpool_limits

from cnnlab.predictor import Predictor

MOST = 10_000  # images of one call


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images of 0 to 255, (N, H, W), (N, H*W) or (N, H, W, 3), to the class of each, (N,) int64.

    With the param `probabilities` to the probability of each class, (N, classes), instead. It takes one BLAS thread,
    or as many as `CNNLAB_THREADS` says.
    """

    def load_context(self, context: Any) -> None:
        """Read the networks that the run saved: one, or several whose outputs are added."""
        self.predictor = Predictor.of([Path(file) for file in context.artifacts.values()])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image, or with `{"probabilities": True}` the probability of each class."""
        if len(model_input) > MOST:
            raise ValueError(f"{len(model_input):,} images: choose at most {MOST:,} for one call")
        with threadpool_limits(int(os.environ.get("CNNLAB_THREADS", "1"))):
            if (params or {}).get("probabilities"):
                return self.predictor.predict_proba(model_input)
            return self.predictor.predict(model_input)


mlflow.models.set_model(Digits())
