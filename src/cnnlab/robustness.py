"""How a finished run's network answers the test images when these are shifted, turned, scaled or noisy.

The test error at every amount of a change (see `changes`), in per cent, is the metric
`test_error_percent/KIND_DIRECTION` of the run at that step, so that MLflow draws error over amount.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnnlab import plots
from cnnlab.changes import KINDS
from cnnlab.composing import load
from cnnlab.data import Dataset
from cnnlab.data.warping import Bytes
from cnnlab.locks import locked
from cnnlab.measuring import scores
from cnnlab.predictor import Predictor
from cnnlab.runs import threads
from cnnlab.tracking import records
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import DIGEST, Study, state_folder, tag

Curve = dict[int, float]  # test error in per cent, by amount

FAMILY = "test_error_percent"


def metric(kind: str, direction: str) -> str:
    """The name of the metric that a run has for a kind of change in a direction."""
    return f"{FAMILY}/{kind}_{direction}"


def data_of(run: Any, config: Mapping[str, Any]) -> Dataset:
    """The images that a run was made with. ValueError or OSError, in one line, where they are others now or gone."""
    data = load(config["data"])
    if data.digest != tag(run, DIGEST):
        raise ValueError(f"the images of data={run.data.params['data']} are others now than when it was made")
    return data


@dataclass(frozen=True)
class Evaluated:
    """What a run answered its test by: the data and its networks."""

    data: Dataset
    predictor: Predictor
    threads: int

    @classmethod
    def of(cls, study: Study, run: Any) -> Evaluated:
        """Those of a finished run. ValueError or OSError, in one line, where it has no network or its data are gone."""
        config = records.config(study, run)
        return cls(data_of(run, config), records.predictor(study, run), config["threads"])

    def error_percent(self, kind: str, direction: str, amount: int) -> float:
        """The error in per cent when the test images are changed by this amount."""
        if not amount:
            return self._plain
        change, levels = KINDS[kind].directions[direction].change, self.data.normalizer.levels
        return self._error_percent(change(self.data.test.pixels, amount, levels))

    @cached_property
    def _plain(self) -> float:
        return self._error_percent(self.data.test.pixels)

    def _error_percent(self, pixels: Bytes) -> float:
        return scores("test", self.predictor.outputs(pixels), self.data.test.labels)["test/error_percent"]


def evaluate(study: Study, run: Any, words: Mapping[str, float]) -> Iterator[tuple[str, dict[str, Curve], bool]]:
    """The test error of a finished run under each kind of change, as far as `words` say; it becomes part of the run.

    Gives each kind, its curves by direction, and whether any of it was new. What the run knows already is not
    computed again, so what was cut off goes on with the kind that it was at. ValueError or OSError, in one line, where
    the run cannot be evaluated.
    """
    subject: Evaluated | None = None
    busy = f"waiting for another process, which evaluates {run.info.run_name}"
    with locked(state_folder() / f"evaluate-{run.info.run_id}.lock", lambda: print(busy, flush=True)):
        curves = {
            name: {each: records.curve(study, run, metric(name, each)) for each in kind.directions}
            for name, kind in KINDS.items()
        }
        for kind, word in words.items():
            todo = [
                (direction, amount)
                for direction in KINDS[kind].directions
                for amount in KINDS[kind].amounts(direction, word)
                if amount not in curves[kind][direction]
            ]
            if todo:
                subject = subject or Evaluated.of(study, run)
                with threads(subject.threads):
                    for direction, amount in todo:
                        curves[kind][direction][amount] = subject.error_percent(kind, direction, amount)
                _keep(study, run, kind, todo, curves)
            yield kind, curves[kind], bool(todo)


def _keep(
    study: Study, run: Any, kind: str, new: Sequence[tuple[str, int]], curves: Mapping[str, Mapping[str, Curve]]
) -> None:
    """Write down what is new of a kind: the picture first, so that it has all that the run's metrics have."""
    shown = {f"{name} ({KINDS[name].unit})": lines for name, lines in curves.items() if any(lines.values())}
    with RunLog.reopened(study, run.info.run_id) as log:
        log.figure("plots/robustness.png", plots.robustness, shown, "test error on changed images")
        log.upload()
        for step in sorted({amount for _, amount in new}):
            found = {direction: curves[kind][direction][step] for direction, amount in new if amount == step}
            log.metrics({metric(kind, direction): error for direction, error in found.items()}, step)
