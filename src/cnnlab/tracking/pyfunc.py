"""The trained network as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from cnnlab.checkpoint import load_network
from cnnlab.nn import predict


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images as bytes, ``(N, H, W)`` uint8, to the class of each, ``(N,)`` int64."""

    def load_context(self, context: Any) -> None:
        """Read the network that the run saved."""
        self.network, self.params, self.shape, self.normalizer = load_network(Path(context.artifacts["network"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image."""
        rows, _, columns = self.shape
        pixels = np.asarray(model_input, np.uint8).reshape(-1, rows, columns).transpose(1, 2, 0)[:, None]
        count, table = pixels.shape[-1], self.normalizer.table
        outputs = predict(self.network, self.params, self.shape, count, lambda part: table[pixels[..., part]])
        return outputs.argmax(0)


mlflow.models.set_model(Digits())
