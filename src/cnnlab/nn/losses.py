"""Losses: what training minimises, summed over the outputs and averaged over the batch."""

from dataclasses import dataclass

import numpy as np

from cnnlab.nn.layer import Array
from cnnlab.nn.options import Positive, TypeChecked


@dataclass(frozen=True)
class Loss(TypeChecked):
    """A number for outputs `[classes, N]` and labels `(N,)`, and its gradient by the outputs."""

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """(value, d_output), the gradient in the outputs' shape and dtype."""
        raise NotImplementedError

    def curvature(self, output: Array, labels: Array) -> Array:
        """The second derivative by each output, or what stands in for it: see `Layer.curvature` and that of RBF."""
        raise NotImplementedError


def one_hot(labels: Array, classes: int, dtype: np.typing.DTypeLike = np.float32) -> Array:
    """Target vectors `[classes, N]`: 1 at the label, 0 elsewhere; ValueError for a label that is no class."""
    return (np.arange(classes)[:, None] == _whole(labels, classes)).astype(dtype)


def _whole(labels: Array, classes: int) -> Array:
    """Labels (N,) as int64, whose multiples cannot overflow; ValueError unless each is a class."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels of shape {labels.shape} and type {labels.dtype}: give whole numbers (N,)")
    whole = labels.astype(np.int64, copy=False)
    if np.maximum.reduce(whole.view(np.uint64)) >= classes:  # as unsigned numbers, negative ones are huge
        raise ValueError(f"labels {labels.min()} to {labels.max()} for classes 0 to {classes - 1}")
    return whole


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """`1/2 sum_i (y_i - t_i)^2` with targets `high` for the label and `low` for the rest."""

    low: float = 0.0
    high: float = 1.0

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """Gradient `y - t`."""
        hot = one_hot(labels, len(output), output.dtype)
        error = output - (self.low + (self.high - self.low) * hot).astype(output.dtype, copy=False)
        return float(np.square(error).sum() / (2 * len(labels))), error / len(labels)

    def curvature(self, output: Array, labels: Array) -> Array:
        """1 for every output: the loss is a parabola."""
        return np.full_like(output, 1 / len(labels))


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """`-sum_i (t_i ln p_i + (1 - t_i) ln(1 - p_i))`, a yes or no for each class.

    `logits` says that the outputs come before their sigmoid, p = 1 / (1 + exp(-y)), which no value can overflow.
    """

    logits: bool = False

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """Gradient `p - t` by logits, `(p - t) / (p (1 - p))` by probabilities."""
        t = one_hot(labels, len(output), output.dtype)
        if self.logits:
            value = (np.maximum(output, 0) - t * output + np.log1p(np.exp(-np.abs(output)))).sum()
            return float(value / len(labels)), (0.5 * np.tanh(0.5 * output) + 0.5 - t) / len(labels)
        p = _inside(output)
        value = -(t * np.log(p) + (1 - t) * np.log1p(-p)).sum()
        return float(value / len(labels)), (p - t) / (p * (1 - p)) / len(labels)

    def curvature(self, output: Array, labels: Array) -> Array:
        """`p (1 - p)` by logits, `t / p^2 + (1 - t) / (1 - p)^2` by probabilities."""
        if self.logits:
            p = 0.5 * np.tanh(0.5 * output) + 0.5
            return p * (1 - p) / len(labels)
        t, p = one_hot(labels, len(output), output.dtype), _inside(output)
        return np.square((p - t) / (p * (1 - p))) / len(labels)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """`-ln p_label` of probabilities, for outputs that end in a Softmax layer."""

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """Gradient `-t / p`."""
        t, p = one_hot(labels, len(output), output.dtype), _inside(output)
        return float(-(t * np.log(p)).sum() / len(labels)), -t / p / len(labels)

    def curvature(self, output: Array, labels: Array) -> Array:
        """`t / p^2`."""
        return one_hot(labels, len(output), output.dtype) / np.square(_inside(output)) / len(labels)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """`-ln p_label` with `p = softmax(y)`, softmax and cross-entropy in one step, safe for any score.

    That is `ln sum_i exp(y_i) - y_label`, here of scores from which the largest was subtracted, so that no exponential
    overflows.
    """

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """Gradient `p - t`, where t is 1 at the label."""
        t, count = one_hot(labels, len(output), output.dtype), len(labels)
        rubbish = self._rubbish()
        largest = np.maximum.reduce(output, initial=rubbish)
        p = output - largest
        likely = np.vdot(t, p)
        np.exp(p, out=p)
        total = np.add.reduce(p)
        if rubbish is not None:
            total += np.exp(rubbish - largest)
        p /= total
        p -= t
        p *= 1 / count
        return float(np.add.reduce(np.log(total)) - likely) / count, p

    def _rubbish(self) -> float | None:
        """The score of one more class, which is never the right one, if there is one."""
        return None

    def curvature(self, output: Array, labels: Array) -> Array:
        """`p (1 - p)`."""
        count, gradient = len(labels), self(output, labels)[1]
        p = count * gradient + one_hot(labels, len(output), output.dtype)
        return p * (1 - p) / count


@dataclass(frozen=True)
class MaximumLikelihood(Loss):
    """LeNet-5's first criterion, the mean penalty of the right class (LeCun et al. 1998, Eq. 8).

    The outputs are minus the penalties, as the RBF layer gives them.
    """

    def __call__(self, output: Array, labels: Array) -> tuple[float, Array]:
        """Gradient -1 at the label, 0 elsewhere."""
        t = one_hot(labels, len(output), output.dtype)
        return float(-(t * output).sum() / len(labels)), -t / len(labels)

    def curvature(self, output: Array, labels: Array) -> Array:
        """1 at the label: how much each penalty counts; the penalties themselves are curved (see RBF)."""
        return one_hot(labels, len(output), output.dtype) / len(labels)


@dataclass(frozen=True)
class MaximumAPosteriori(SoftmaxCrossEntropy):
    """LeNet-5's discriminative criterion: `y_D + log(exp(-j) + sum_i exp(-y_i))` (LeCun et al. 1998, Eq. 9).

    A cross-entropy over minus the penalties y, with one more class, the rubbish, that always scores -j. The smaller j,
    the longer patterns count that are learnt already; the paper does not print it.
    """

    j: Positive  # as the paper says

    def _rubbish(self) -> float:
        return -self.j

    def curvature(self, output: Array, labels: Array) -> Array:
        """That of the first criterion, our choice: its own is nearly 0 for patterns that are learnt already."""
        return MaximumLikelihood().curvature(output, labels)


def _inside(p: Array) -> Array:
    """Probabilities kept away from 0 and 1, where a logarithm is infinite."""
    limits = np.finfo(p.dtype)
    return np.clip(p, limits.tiny, 1 - limits.eps)
