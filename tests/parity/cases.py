"""The table of everything that is compared with PyTorch, by name: layers, losses, optimisers, networks."""

from functools import partial
from typing import Any

import numpy as np
from parity import peers
from parity.compare import FLOAT64, Array, Case, OptimizerCase
from parity.networks import CODES, NETWORKS

from cnnlab import nn

MAP = (7, 2, 8)
SEEN = [[0, 2], [1], [0, 1, 2], [2]]
STRIDES = {"1": 1, "2": 2, "3": 3, "1x2": (1, 2), "2x3": (2, 3), "3x1": (3, 1)}
PADDINGS: dict[str, tuple[Any, tuple[int, ...]]] = {  # of a 2x3 kernel: ours; (left, right, top, bottom)
    "valid": ("valid", (0, 0, 0, 0)),
    "same": ("same", (1, 1, 0, 1)),
    "full": ("full", (2, 2, 1, 1)),
    "2": (2, (2, 2, 2, 2)),
    "uneven": (((1, 0), (0, 2)), (0, 2, 1, 0)),
}
WINDOWS: dict[str, tuple[Any, Any]] = {  # size and stride; 7 x 8 maps leave some over
    "2": (2, None),
    "3x2": ((3, 2), None),
    "3-by-2": (3, 2),
    "2x3-by-1x2": ((2, 3), (1, 2)),
    "2x1-by-3": ((2, 1), 3),
}


def probabilities(x: Array) -> Array:
    """Columns that sum to 1."""
    return np.exp(x) / np.exp(x).sum(0)


def nonnegative(x: Array) -> Array:
    """Half of the values zero; some windows hold nothing else."""
    return np.maximum(x, 0)


def extreme(x: Array) -> Array:
    """Every other image ordinary, the rest with values whose exponentials overflow or vanish."""
    return x * np.where(np.arange(x.shape[-1]) % 2, 400, 1)


def conv(layer: nn.Conv2D, shape: tuple[int, int, int], batch: int = 2, **options: Any) -> Case:
    """A convolution, and what PyTorch's needs to be told to do the same."""
    return Case(layer, shape, partial(peers.conv, **options), batch=batch)


CONVOLUTIONS = {
    f"conv-stride-{step}-{name}": conv(nn.Conv2D(3, (2, 3), stride, padding), MAP, pad=pad, stride=stride)
    for step, stride in STRIDES.items()
    for name, (padding, pad) in PADDINGS.items()
}
CONVOLUTIONS |= {
    "conv-1x1": conv(nn.Conv2D(4, 1), (5, 3, 4)),
    "conv-1x1-stride-3": conv(nn.Conv2D(4, 1, 3), (8, 3, 6), stride=3),
    "conv-4x1-same": conv(nn.Conv2D(2, (4, 1), 1, "same"), (6, 3, 5), pad=(0, 0, 1, 2)),
    "conv-3x4-same": conv(nn.Conv2D(2, (3, 4), 2, "same"), (6, 1, 9), pad=(1, 2, 1, 1), stride=2),
    "conv-5x5-whole-map": conv(nn.Conv2D(3, 5), (5, 2, 5)),
    "conv-3x3-one-image": conv(nn.Conv2D(2, 3), (5, 1, 7), batch=1),
    "conv-3x3-torch-same": Case(nn.Conv2D(2, 3, 1, "same"), (5, 2, 7), peers.conv_same),
    "conv-pad-value": conv(nn.Conv2D(2, 3, 2, 2, -0.7), (6, 2, 5), pad=(2, 2, 2, 2), value=-0.7, stride=2),
    "conv-flip": conv(nn.Conv2D(3, (2, 3), flip=True), (5, 2, 6), flip=True),
    "conv-flip-full": conv(
        nn.Conv2D(3, (3, 2), 2, "full", 0.5, flip=True),
        (5, 2, 6), pad=(1, 1, 2, 2), value=0.5, stride=2, flip=True,
    ),
    "conv-bias-position": conv(nn.Conv2D(3, 3, (1, 2), bias="position"), (5, 2, 8), stride=(1, 2)),
    "conv-no-bias": conv(nn.Conv2D(3, (3, 2), bias=None), (5, 2, 6)),
    "conv-connections": conv(nn.Conv2D(4, 3, connections=SEEN), (5, 3, 6), seen=SEEN),
    "conv-connections-flip": conv(
        nn.Conv2D(4, (2, 3), 3, 1, flip=True, connections=SEEN),
        (6, 3, 7), pad=(1, 1, 1, 1), stride=3, seen=SEEN, flip=True,
    ),
}  # fmt: skip

RULES: dict[str, tuple[Any, Any, Any]] = {
    "max": (nn.MaxPool, peers.maximum, np.asarray),
    "max-ties": (nn.MaxPool, peers.maximum, np.round),
    "average": (nn.AvgPool, peers.average, np.asarray),
    "mixed": (partial(nn.MixedPool, mix=0.3), partial(peers.mixed, mix=0.3), np.asarray),
    "stochastic": (nn.StochasticPool, peers.expected, nonnegative),
    "subsample": (nn.Subsample, peers.subsample, np.asarray),
    "subsample-mean": (partial(nn.Subsample, mean=True), partial(peers.subsample, mean=True), np.asarray),
}
POOLINGS = {
    f"pool-{rule}-{name}": Case(
        layer(size, stride), MAP, partial(peer, size=size, stride=stride), domain=domain, batch=2
    )
    for rule, (layer, peer, domain) in RULES.items()
    for name, (size, stride) in WINDOWS.items()
}
POOLINGS["repeat"] = Case(nn.Repeat(3), MAP, lambda t, x: x.repeat_interleave(3, dim=1))
POOLINGS["pool-by-convolution"] = Case(nn.StridedConv(2), MAP, partial(peers.conv, stride=2), batch=2)
POOLINGS["pool-by-convolution-3x2-by-1x2"] = Case(
    nn.StridedConv((3, 2), (1, 2)), MAP, partial(peers.conv, stride=(1, 2)), batch=2
)
POOLINGS["pool-global-average"] = Case(nn.GlobalAvgPool(), MAP, lambda t, x: x.mean((2, 3)))

LAYERS = {
    "dense": Case(nn.Dense(4), (7,), peers.linear),
    "dense-no-bias": Case(nn.Dense(4, bias=False), (7,), peers.linear),
    "dense-maps": Case(nn.Dense(5), (3, 2, 4), peers.linear),
    "dropout-predicting": Case(nn.Dropout(0.4), (3, 2, 4), lambda t, x: t.dropout(x, 0.4, False)),
    "rbf": Case(nn.RBF(CODES), (84,), partial(peers.minus_distances, codes=CODES)),
    "identity": Case(nn.Identity(), (3, 2, 4), lambda t, x: t.nn.Identity()(x)),
    "sigmoid": Case(nn.Sigmoid(), (3, 2, 4), lambda t, x: x.sigmoid()),
    "sigmoid-extreme": Case(nn.Sigmoid(), (5,), lambda t, x: x.sigmoid(), domain=extreme),
    "tanh": Case(nn.Tanh(), (3, 2, 4), lambda t, x: x.tanh()),
    "tanh-lecun": Case(nn.Tanh(1.7159, 2 / 3), (3, 2, 4), lambda t, x: peers.squash(x)),
    "relu": Case(nn.ReLU(), (3, 2, 4), lambda t, x: x.relu(), domain=np.round),  # some at the kink itself
    "leaky-relu": Case(nn.LeakyReLU(0.1), (3, 2, 4), lambda t, x: t.nn.functional.leaky_relu(x, 0.1), domain=np.round),
    "gelu": Case(nn.GELU(), (3, 2, 4), lambda t, x: t.nn.functional.gelu(x, approximate="tanh")),
    "softplus": Case(nn.Softplus(), (3, 2, 4), lambda t, x: t.nn.functional.softplus(x, threshold=100)),
    "softplus-extreme": Case(nn.Softplus(), (5,), lambda t, x: t.nn.functional.softplus(x), domain=extreme),
    "softmax": Case(nn.Softmax(), (7,), lambda t, x: x.softmax(1)),
    "softmax-extreme": Case(nn.Softmax(), (7,), lambda t, x: x.softmax(1), domain=extreme),
}


def criterion(loss: nn.Loss, peer: Any, domain: Any = np.asarray) -> Case:
    """A loss of six outputs for each of five images."""
    return Case(nn.Identity(), (6,), lambda t, x: x, loss, peer, domain, batch=5)


with_logits = partial(peers.binary, function="binary_cross_entropy_with_logits")
LOSSES = {
    "loss-mse": criterion(nn.MeanSquaredError(), peers.squared),
    "loss-mse-plus-minus-1": criterion(nn.MeanSquaredError(-1.0, 1.0), partial(peers.squared, low=-1.0)),
    "loss-binary": criterion(nn.BinaryCrossEntropy(), peers.binary, probabilities),
    "loss-binary-logits": criterion(nn.BinaryCrossEntropy(logits=True), with_logits),
    "loss-binary-logits-extreme": criterion(nn.BinaryCrossEntropy(logits=True), with_logits, extreme),
    "loss-cross-entropy": criterion(nn.CrossEntropy(), peers.log_loss, probabilities),
    "loss-softmax": criterion(nn.SoftmaxCrossEntropy(), peers.cross_entropy),
    "loss-softmax-extreme": criterion(nn.SoftmaxCrossEntropy(), peers.cross_entropy, extreme),
    "loss-likelihood": criterion(nn.MaximumLikelihood(), peers.likelihood),
    "loss-posterior": criterion(nn.MaximumAPosteriori(0.1), peers.posterior),
    "loss-posterior-j": criterion(nn.MaximumAPosteriori(2.5), partial(peers.posterior, j=2.5)),
    "loss-sigmoid-then-binary": Case(
        nn.Sigmoid(), (6,), lambda t, x: x.sigmoid(), nn.BinaryCrossEntropy(), peers.binary, batch=5
    ),
    "loss-softmax-then-log": Case(
        nn.Softmax(), (6,), lambda t, x: x.softmax(1), nn.CrossEntropy(), peers.log_loss, batch=5
    ),
    "loss-softmax-then-mse": Case(
        nn.Softmax(), (6,), lambda t, x: x.softmax(1), nn.MeanSquaredError(), peers.squared, batch=5
    ),
}


def optimizer(ours: nn.Optimizer, peer: str, clip_norm: float | None = None, **options: Any) -> OptimizerCase:
    """An optimiser, PyTorch's class and what that is told."""
    tolerance = FLOAT64 if clip_norm is None else 2e-6  # PyTorch divides by the norm plus 1e-6
    return OptimizerCase(ours, lambda t, theta: getattr(t.optim, peer)(theta, lr=0.1, **options), clip_norm, tolerance)


OPTIMIZERS = {
    "sgd": optimizer(nn.SGD(), "SGD"),
    "sgd-decay": optimizer(nn.SGD(weight_decay=0.1), "SGD", weight_decay=0.1),
    "sgd-momentum-decay": optimizer(nn.SGD(weight_decay=0.1, momentum=0.9), "SGD", momentum=0.9, weight_decay=0.1),
    "sgd-nesterov-decay": optimizer(
        nn.SGD(weight_decay=0.1, momentum=0.9, nesterov=True), "SGD", momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "sgd-clip": optimizer(nn.SGD(clip_norm=1.0), "SGD", 1.0),
    "sgd-clip-momentum-decay": optimizer(
        nn.SGD(weight_decay=0.1, clip_norm=1.0, momentum=0.9), "SGD", 1.0, momentum=0.9, weight_decay=0.1
    ),
    "diagonal-lm": optimizer(nn.DiagonalLM(mu=1.0), "SGD"),  # before its first look at the curvature: see nn
    "adam": optimizer(nn.Adam(), "Adam"),
    "adam-decay": optimizer(
        nn.Adam(weight_decay=0.1, beta1=0.8, beta2=0.99, epsilon=1e-3),
        "Adam", betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1,
    ),
}  # fmt: skip

CASES: dict[str, Case | OptimizerCase] = {
    **CONVOLUTIONS, **POOLINGS, **LAYERS, **LOSSES, **OPTIMIZERS, **NETWORKS,
}  # fmt: skip
