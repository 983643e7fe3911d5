"""Every layer in many settings, with an input that fits: the fixture `case`."""

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from nn.loops import TABLE_1, normal

from cnnlab.nn import (
    GELU,
    RBF,
    AvgPool,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool,
    Identity,
    Layer,
    LeakyReLU,
    MaxPool,
    MixedPool,
    ReLU,
    Repeat,
    Sequential,
    Sigmoid,
    Softmax,
    Softplus,
    StochasticPool,
    StridedConv,
    Subsample,
    Tanh,
    correlate,
)
from cnnlab.nn.layer import Array, Shape


class Case(NamedTuple):
    layer: Layer
    shape: Shape
    training: bool = False

    @property
    def x(self) -> Array:
        """A batch of 3 in float64, nowhere negative where the layer needs that."""
        x = normal(*self.shape, 3)
        return np.abs(x) if needs_nonnegative(self.layer) else x

    def rng(self) -> np.random.Generator | None:
        return np.random.default_rng(5) if self.training else None


def needs_nonnegative(layer: Layer) -> bool:
    return getattr(layer, "needs_nonnegative", False)


MAPS, VECTOR = (7, 2, 6), (5,)
SLOPES = Identity(), Sigmoid(), Tanh(), Tanh(1.7159, 2 / 3), ReLU(), LeakyReLU(), LeakyReLU(0.3), GELU(), Softplus()
POOLS = MaxPool, AvgPool, MixedPool, StochasticPool, Subsample, StridedConv
# Sizes and strides: tiles that divide neither side, overlaps, gaps, rows and columns that differ.
WINDOWS = (2, None), (3, 2), ((2, 3), (1, 2)), (2, 3), ((3, 1), None)
CONVS = {
    "plain": {},
    "strides 2 1": {"stride": (2, 1)},
    "strides 3 2": {"stride": (3, 2)},
    "stride 3": {"stride": 3},
    "same": {"padding": "same"},
    "same stride 2": {"padding": "same", "stride": 2},
    "full": {"padding": "full"},
    "padding 1": {"padding": 1, "stride": 2},
    "uneven": {"padding": ((0, 2), (1, 0))},
    "uneven stride 2 3": {"padding": ((1, 2), (3, 0)), "stride": (2, 3)},
    "pad value": {"padding": "same", "pad_value": -0.7},
    "flip": {"flip": True},
    "flip uneven stride 2": {"flip": True, "padding": ((2, 0), (0, 1)), "stride": 2},
    "bias position": {"bias": "position", "stride": (1, 2)},
    "no bias": {"bias": None},
    "connections": {"connections": [[0], [1], [0, 1]]},
    "connections flip": {"connections": [[1], [0, 1], [0]], "flip": True, "padding": "same", "stride": 2},
}


def lenet5() -> Sequential:
    """LeNet-5 on 28x30 pixels (the last convolution's windows then do not divide its maps)."""
    squash = Tanh(1.7159, 2 / 3)
    return Sequential(
        {
            "C1": Conv2D(6, 5, padding=2, pad_value=-0.1),
            "A1": squash,
            "S2": Subsample(2),
            "A2": squash,
            "C3": Conv2D(16, 5, connections=TABLE_1),
            "A3": squash,
            "S4": Subsample(2),
            "A4": squash,
            "C5": Conv2D(8, 5),
            "A5": squash,
            "F6": Dense(9),
            "A6": squash,
            "Output": RBF(np.sign(normal(4, 9))),
        },
        input_gradient=True,
    )


def modern() -> Sequential:
    """Padding, ReLU, max pooling, dropout, global average pooling and softmax in a row."""
    return Sequential(
        {
            "C1": Conv2D(4, 3, padding="same"),
            "A1": ReLU(),
            "S2": MaxPool(2),
            "C3": Conv2D(5, 3, (2, 1), flip=True),
            "A3": LeakyReLU(0.1),
            "S4": MixedPool(2),
            "G5": GlobalAvgPool(),
            "D5": Dropout(0.3),
            "F6": Dense(4),
            "P": Softmax(),
        },
        input_gradient=True,
    )


def stochastic() -> Sequential:
    """Two layers that draw, one of them over activations that are never negative."""
    layers = {"C1": Conv2D(3, 2), "A1": Sigmoid(), "S2": StochasticPool(2), "D2": Dropout(), "F3": Dense(2)}
    return Sequential(layers, input_gradient=True)


CASES = {
    **{f"conv {name}": Case(Conv2D(3, (3, 2), **options), MAPS) for name, options in CONVS.items()},
    "conv 1x1": Case(Conv2D(2, 1), MAPS),
    "conv the whole map": Case(Conv2D(2, (7, 6)), MAPS),
    "dense vector": Case(Dense(4), VECTOR),
    "dense maps": Case(Dense(4), MAPS),
    "dense no bias": Case(Dense(4, bias=False), MAPS),
    "rbf": Case(RBF(np.sign(normal(3, 5))), VECTOR),
    "rbf half": Case(RBF(np.sign(normal(3, 5)), factor=0.5), VECTOR),
    "softmax": Case(Softmax(), VECTOR),
    "dropout": Case(Dropout(), MAPS),
    "dropout training": Case(Dropout(0.3), MAPS, training=True),
    "dropout scaling down": Case(Dropout(0.3, inverted=False), MAPS),
    "dropout scaling down, training": Case(Dropout(0.3, inverted=False), MAPS, training=True),
    **{f"{slope}": Case(slope, MAPS) for slope in SLOPES},
    **{f"{pool.__name__} {w}": Case(pool(*w), MAPS) for pool in POOLS for w in WINDOWS},
    **{f"StochasticPool {w} training": Case(StochasticPool(*w), MAPS, training=True) for w in WINDOWS},
    "mixed pool 0.2": Case(MixedPool(3, 2, 0.2), MAPS),
    "subsample mean": Case(Subsample((3, 2), mean=True), MAPS),
    "global average": Case(GlobalAvgPool(), MAPS),
    "repeat": Case(Repeat(3), MAPS),
    "lenet5": Case(lenet5(), (28, 1, 30)),
    "modern": Case(modern(), (14, 2, 15)),
    "modern training": Case(modern(), (14, 2, 15), training=True),
    "stochastic": Case(stochastic(), MAPS),
    "stochastic training": Case(stochastic(), MAPS, training=True),
}


@pytest.fixture(params=[(False, 0), (True, 0), (True, 64)], ids=["copies", "small products", "few values"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`correlate` on a machine whose BLAS copies what it multiplies, and on one that need not, with its other ways."""
    small, few = request.param
    cached = correlate._rows_together, correlate._kernel_parts
    for function in cached:
        function.cache_clear()
    monkeypatch.setattr(correlate, "small_products", lambda: small)
    monkeypatch.setattr(correlate, "FEW", few)
    monkeypatch.setattr(correlate, "SMALL", 48)
    yield correlate
    for function in cached:
        function.cache_clear()


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param
