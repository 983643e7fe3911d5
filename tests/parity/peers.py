"""The layers and losses in PyTorch's own functions, on (N, C, H, W) and (N, D); `t` is the module torch."""

from typing import Any

import numpy as np

Tensor = Any


def conv(
    t: Any, x: Tensor, W: Tensor, b: Any = None, *, pad: Any = (0, 0, 0, 0), value: float = 0.0,
    stride: Any = 1, flip: bool = False, seen: Any = None,
) -> Tensor:  # fmt: skip
    """Convolution of maps padded by (left, right, top, bottom), with one bias per map or per position."""
    W = W if seen is None else connected(t, W, seen)
    x = t.nn.functional.pad(x, pad, value=value)
    y = t.conv2d(x, W.flip(2, 3) if flip else W, stride=stride)
    return y if b is None else y + (b[:, None, None] if b.ndim == 1 else b)


def connected(t: Any, W: Tensor, seen: list[list[int]]) -> Tensor:
    """A kernel (F, C, K_h, K_w) with zeros where a filter does not see a map."""
    mask = t.zeros_like(W)
    for f, maps in enumerate(seen):
        mask[f, maps] = 1
    return W * mask


def conv_same(t: Any, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """Convolution with PyTorch's own idea of "same" (odd kernels only: it warns of even ones)."""
    return t.conv2d(x, W, b, padding="same")


def maximum(t: Any, x: Tensor, size: Any, stride: Any = None) -> Tensor:
    """Max pooling."""
    return t.nn.functional.max_pool2d(x, size, stride)


def average(t: Any, x: Tensor, size: Any, stride: Any = None) -> Tensor:
    """Average pooling."""
    return t.nn.functional.avg_pool2d(x, size, stride)


def mixed(t: Any, x: Tensor, size: Any, stride: Any = None, mix: float = 0.5) -> Tensor:
    """`mix` parts of one and `1 - mix` of the other."""
    return mix * maximum(t, x, size, stride) + (1 - mix) * average(t, x, size, stride)


def expected(t: Any, x: Tensor, size: Any, stride: Any = None) -> Tensor:
    """Stochastic pooling when predicting: `sum a^2 / sum a`, 0 where all are 0."""
    mean = average(t, x, size, stride)
    return average(t, x * x, size, stride) / mean.clamp(min=t.finfo(x.dtype).tiny)


def subsample(t: Any, x: Tensor, W: Tensor, b: Tensor, size: Any = 2, stride: Any = None, mean: bool = False) -> Tensor:
    """A coefficient for each map times its windows' sums (or means), plus a bias for each map."""
    s = t.nn.functional.avg_pool2d(x, size, stride, divisor_override=None if mean else 1)
    return W[:, None, None] * s + b[:, None, None]


def flat(x: Tensor) -> Tensor:
    """Maps flattened in cnnlab's order, which is H, C, W."""
    return x.transpose(1, 2).flatten(1)


def linear(t: Any, x: Tensor, W: Tensor, b: Any = None) -> Tensor:
    """Fully connected layer, on vectors or on maps."""
    return t.nn.functional.linear(flat(x) if x.ndim == 4 else x, W, b)


def squash(x: Tensor) -> Tensor:
    """LeNet-5's tanh."""
    return 1.7159 * (2 / 3 * x).tanh()


def minus_distances(t: Any, x: Tensor, codes: np.ndarray) -> Tensor:
    """Minus the squared distances from each code."""
    return -(x[:, None] - t.tensor(codes, dtype=x.dtype)).square().sum(2)


def targets(t: Any, output: Tensor, labels: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """`high` at the label, `low` elsewhere."""
    return low + (high - low) * t.nn.functional.one_hot(labels, output.shape[1]).to(output.dtype)


def squared(t: Any, output: Tensor, labels: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Half the summed squares, averaged over the batch."""
    loss = t.nn.functional.mse_loss(output, targets(t, output, labels, low, high), reduction="sum")
    return loss / (2 * len(labels))


def binary(t: Any, output: Tensor, labels: Tensor, function: str = "binary_cross_entropy") -> Tensor:
    """Either of PyTorch's binary cross-entropies, summed over the outputs and averaged over the batch."""
    loss = getattr(t.nn.functional, function)
    return loss(output, targets(t, output, labels), reduction="sum") / len(labels)


def log_loss(t: Any, output: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of probabilities."""
    return t.nn.functional.nll_loss(output.log(), labels)


def cross_entropy(t: Any, output: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of scores."""
    return t.nn.functional.cross_entropy(output, labels)


def right_penalty(output: Tensor, labels: Tensor) -> Tensor:
    """y_D of LeCun et al. 1998, Eqs. 8 and 9, where penalties are y = -output."""
    return -output.gather(1, labels[:, None])[:, 0]


def likelihood(t: Any, output: Tensor, labels: Tensor) -> Tensor:
    """LeCun et al. 1998, Eq. 8."""
    return right_penalty(output, labels).mean()


def posterior(t: Any, output: Tensor, labels: Tensor, j: float = 0.1) -> Tensor:
    """LeCun et al. 1998, Eq. 9."""
    return (right_penalty(output, labels) + (np.exp(-j) + output.exp().sum(1)).log()).mean()
