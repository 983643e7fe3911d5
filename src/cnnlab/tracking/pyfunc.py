"""The trained networks as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from cnnlab.predictor import Predictor


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images as bytes, (N, H, W) or (N, H, W, 3) uint8, to the class of each, (N,) int64."""

    def load_context(self, context: Any) -> None:
        """Read the networks that the run saved: one, or several whose outputs are added."""
        self.predictor = Predictor.of([Path(file) for file in context.artifacts.values()])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image."""
        return self.predictor.predict(model_input)


mlflow.models.set_model(Digits())
