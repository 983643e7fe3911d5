"""Whole networks and their twins in PyTorch: LeNet-5 as in 1998, a modern one, and the Habr series' one."""

from typing import Any

import numpy as np
from parity.compare import Case, Draw
from parity.peers import (
    connected,
    cross_entropy,
    linear,
    minus_distances,
    posterior,
    squash,
    subsample,
)

from cnnlab.nn import (
    RBF,
    Conv2D,
    Dense,
    MaximumAPosteriori,
    MaxPool,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Subsample,
    Tanh,
)

TABLE_1 = [[(f + i) % 6 for i in range(3)] for f in range(6)]  # which maps of S2 each map of C3 sees
TABLE_1 += [[(f + i) % 6 for i in range(4)] for f in range(6)]
TABLE_1 += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]
CODES = np.sign(Draw(seed=1).normal(10, 84))
SQUASH = Tanh(1.7159, 2 / 3)


def _network(**layers: Any) -> Sequential:
    return Sequential(layers, input_gradient=True)


LENET5_1998 = _network(
    C1=Conv2D(6, 5), A1=SQUASH, S2=Subsample(), A2=SQUASH, C3=Conv2D(16, 5, connections=TABLE_1), A3=SQUASH,
    S4=Subsample(), A4=SQUASH, C5=Conv2D(120, 5), A5=SQUASH, F6=Dense(84), A6=SQUASH, output=RBF(CODES),
)  # fmt: skip
LENET5_MODERN = _network(
    C1=Conv2D(6, 5, padding="same"), A1=ReLU(), S2=MaxPool(), C3=Conv2D(16, 5), A3=ReLU(), S4=MaxPool(),
    C5=Dense(120), A5=ReLU(), F6=Dense(84), A6=ReLU(), output=Dense(10),
)  # fmt: skip
HABR = _network(
    C1=Conv2D(2, 3), A1=ReLU(), S1=MaxPool(), C2=Conv2D(5, 2, stride=2, padding=1), A2=Sigmoid(),
    F3=Dense(64), A3=Sigmoid(), output=Dense(10),
)  # fmt: skip


def _lenet5_1998(t: Any, x: Any, C1: Any, S2: Any, C3: Any, S4: Any, C5: Any, F6: Any, **_: Any) -> Any:
    x = squash(subsample(t, squash(t.conv2d(x, C1["W"], C1["b"])), **S2))
    x = squash(t.conv2d(x, connected(t, C3["W"], TABLE_1), C3["b"]))
    x = squash(t.conv2d(squash(subsample(t, x, **S4)), C5["W"], C5["b"]))
    return minus_distances(t, squash(linear(t, x, **F6)), CODES)


def _lenet5_modern(t: Any, x: Any, C1: Any, C3: Any, C5: Any, F6: Any, output: Any, **_: Any) -> Any:
    x = t.max_pool2d(t.conv2d(x, C1["W"], C1["b"], padding=2).relu(), 2)
    x = t.max_pool2d(t.conv2d(x, C3["W"], C3["b"]).relu(), 2)
    return linear(t, linear(t, linear(t, x, **C5).relu(), **F6).relu(), **output)


def _habr(t: Any, x: Any, C1: Any, C2: Any, F3: Any, output: Any, **_: Any) -> Any:
    x = t.max_pool2d(t.conv2d(x, C1["W"], C1["b"]).relu(), 2)
    x = t.conv2d(x, C2["W"], C2["b"], stride=2, padding=1).sigmoid()
    return linear(t, linear(t, x, **F3).sigmoid(), **output)


NETWORKS = {
    "network-lenet5-1998": Case(LENET5_1998, (32, 1, 32), _lenet5_1998, MaximumAPosteriori(0.1), posterior, batch=2),
    "network-lenet5-modern": Case(LENET5_MODERN, (28, 1, 24), _lenet5_modern, SoftmaxCrossEntropy(), cross_entropy),
    "network-habr": Case(HABR, (16, 1, 16), _habr, SoftmaxCrossEntropy(), cross_entropy),
}
