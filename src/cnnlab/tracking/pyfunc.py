"""The trained networks as an MLflow model: digits in, answers out. MLflow runs this file to load one."""

import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from threadpoolctl import threadpool_limits

from cnnlab.networks import load_network
from cnnlab.nn import predict

MOST = 10_000  # images of one call


class Digits(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Images of 0 to 255, (N, H, W), (N, H*W) or (N, H, W, 3), to the class of each, (N,) int64.

    With the param `probabilities` to the probability of each class, (N, classes), instead. It takes one BLAS thread,
    or as many as `CNNLAB_THREADS` says.
    """

    def load_context(self, context: Any) -> None:
        """Read the networks that the run saved: one, or several whose outputs are added."""
        self.networks = [load_network(Path(file)) for file in context.artifacts.values()]

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of each image, or with `{"probabilities": True}` the probability of each class."""
        _, _, shape, normalizer = self.networks[0]
        rows, channels, columns = shape
        images = np.asarray(model_input)
        if len(images) > MOST:
            raise ValueError(f"{len(images):,} images: choose at most {MOST:,} for one call")
        pixels = np.rint(images).astype(np.uint8).reshape(-1, rows, columns, channels).transpose(1, 3, 2, 0)
        count, table = pixels.shape[-1], normalizer.table
        with threadpool_limits(int(os.environ.get("CNNLAB_THREADS", "1"))):
            each = [
                predict(network, trained, shape, count, lambda part: table[pixels[..., part]])
                for network, trained, _, _ in self.networks
            ]
        outputs = np.sum(each, axis=0)
        if not (params or {}).get("probabilities"):
            return outputs.argmax(0)
        shares = np.exp((outputs - outputs.max(0)).T / len(each)).astype(float)
        return shares / shares.sum(1, keepdims=True)


mlflow.models.set_model(Digits())
