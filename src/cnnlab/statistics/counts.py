"""Right and wrong answers, counted. This is all that training needs of the room."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts, int64 (classes, classes): row = true class, column = answer. ValueError on a class out of range."""
    truth, answer = _whole(labels), _whole(predictions)
    if truth.shape != answer.shape:
        raise ValueError(f"confusion matrix: {truth.size} labels but {answer.size} predictions")
    if truth.size and not (min(truth.min(), answer.min()) >= 0 and max(truth.max(), answer.max()) < classes):
        raise ValueError(f"confusion matrix: a label or a prediction is not one of 0 to {classes - 1}")
    return np.bincount(truth * classes + answer, minlength=classes**2).reshape(classes, classes)


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """The share of right answers, 0 to 1; nan when there are none to judge."""
    right = _whole(labels) == _whole(predictions)
    return float(right.mean()) if right.size else math.nan


def _whole(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values, dtype=np.int64).ravel()
