"""The trained networks as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from cnnlab.networks import load_network
from cnnlab.nn import predict


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images as bytes, (N, H, W) or (N, H, W, 3) uint8, to the class of each, (N,) int64."""

    def load_context(self, context: Any) -> None:
        """Read the networks that the run saved: one, or several whose outputs are added."""
        self.networks = [load_network(Path(file)) for file in context.artifacts.values()]

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image."""
        _, _, shape, normalizer = self.networks[0]
        rows, channels, columns = shape
        pixels = np.asarray(model_input, np.uint8).reshape(-1, rows, columns, channels).transpose(1, 3, 2, 0)
        count, table = pixels.shape[-1], normalizer.table
        each = (
            predict(network, trained, shape, count, lambda part: table[pixels[..., part]])
            for network, trained, _, _ in self.networks
        )
        return np.sum(list(each), axis=0).argmax(0)


mlflow.models.set_model(Digits())
