"""A run of a classifier, from its plan to its finished record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..config import Plan
from ..data import Dataset, Images
from ..metrics import accuracy
from ..recording import Outcome, keep_circumstances, keep_test, recorded
from ..tracking.log import RunLog
from ..training import Record
from .classifiers import Classic, Fitted, Rows, load


@dataclass(frozen=True)
class Parts:
    """What a plan builds: the data, and the classifier that learns them."""

    data: Dataset
    classifier: Classic


def execute(plan: Plan, build: Callable[[], Parts], log: RunLog) -> Outcome:
    """Fit and test the classifier of a plan, unless that is done, with as many threads as the plan says."""
    from threadpoolctl import threadpool_limits

    load()
    with threadpool_limits(plan.config["threads"]):
        return recorded(plan, {}, log, lambda log, _: _fit_and_test(plan, build(), log))


def _fit_and_test(plan: Plan, parts: Parts, log: RunLog) -> Record:
    """Fit, test and keep what there is to see; the metrics of the test."""
    data, classifier = parts.data, parts.classifier
    keep_circumstances(plan, data, log)
    began = perf_counter()
    fitted = classifier.fit(rows(data, data.train), data.train.labels, plan.config["seed"])
    trained = perf_counter()
    outputs = fitted.scores(rows(data, data.test))
    times = {"time/fit_s": trained - began, "time/predict_s": perf_counter() - trained}
    times["time/total_s"] = sum(times.values())
    metrics = keep_test(outputs.T, data, log) | times | dict(_judged(parts, fitted))
    metrics |= {"size/parameters": fitted.parameters, "size/macs": fitted.macs}
    log.metrics(metrics)
    return metrics


def _judged(parts: Parts, fitted: Fitted) -> Iterator[tuple[str, float]]:
    """Accuracy and error on validation images, if any, and on the training images that the classifier asks for."""
    data = parts.data
    for split, images in {"val": data.val, "train": data.train[: parts.classifier.judged]}.items():
        if len(images):
            right = accuracy(images.labels, fitted.scores(rows(data, images)).argmax(1))
            yield from {f"{split}/accuracy": right, f"{split}/error": 1 - right}.items()


def rows(data: Dataset, images: Images) -> Rows:
    """The normalised inputs of images as rows, float64 (N, H * W)."""
    return data.normalizer.table.astype(np.float64)[images.pixels.reshape(len(images), -1)]
