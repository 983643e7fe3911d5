"""What networks share: their outputs, how an activation goes with weights and pooling, and the table of a network."""

from dataclasses import dataclass, replace
from math import prod

from cnnlab import nn
from cnnlab.models.codes import digit_codes
from cnnlab.nn.options import TypeChecked


@dataclass(frozen=True)
class DenseOutput(TypeChecked):
    """An output of one unit for each class, whose biases start at `bias`; `squash` comes after it, if any."""

    squash: nn.Layer | None = None
    bias: float = 0.0

    def layers(self, classes: int, init: nn.Initializer) -> dict[str, nn.Layer]:
        """The layers under their names."""
        units = nn.Dense(classes, initializer=init_before(self.squash, init), bias_start=self.bias)
        return named(OUT=units, OUT_f=self.squash)


@dataclass(frozen=True)
class RBFOutput(TypeChecked):
    """The output of LeNet-5: the distance to a fixed picture of each digit (LeCun et al. 1998, Eq. 7).

    `factor` is that of `RBF`, and `bars` that of `digit_codes`.
    """

    factor: float = 1.0
    bars: bool = True

    def layers(self, classes: int, init: nn.Initializer) -> dict[str, nn.Layer]:
        """The layers under their names."""
        if classes != 10:
            raise ValueError(f"there are codes for 10 digits, but the data has {classes} classes")
        return {"OUT": nn.RBF(digit_codes(self.bars), self.factor)}


Output = DenseOutput | RBFOutput


def named(**layers: nn.Layer | None) -> dict[str, nn.Layer]:
    """These layers by name, without those that are None or Identity."""
    return {name: layer for name, layer in layers.items() if layer is not None and layer != nn.Identity()}


def init_before(activation: nn.Layer | None, init: nn.Initializer) -> nn.Initializer:
    """The distribution of the weights before this activation, softmax or nothing."""
    return init.for_slope(activation.steepest if isinstance(activation, nn.Activation) else 1.0)


def poolings(
    pooling: nn.Layer, activation: nn.Activation, init: nn.Initializer
) -> tuple[nn.Layer, nn.Layer, nn.Activation | None]:
    """A network's first and last pooling layer, and the activation after each, if pooling has parameters.

    The mean of whole maps can only come last: plain 2x2 averaging stands in for it before. ValueError if the pooling
    cannot follow the activation.
    """
    if isinstance(pooling, nn.Pool) and pooling.needs_nonnegative and not activation.nonnegative:
        raise ValueError(
            f"pooling: {type(pooling).__name__} needs activations that are never negative, which "
            f"{type(activation).__name__} does not give: choose activation=relu or activation=sigmoid or "
            "activation=softplus, or another pooling"
        )
    if isinstance(pooling, nn.StridedConv):
        pooling = replace(pooling, initializer=init_before(activation, init))
    first = nn.AvgPool(2) if isinstance(pooling, nn.GlobalAvgPool) else pooling
    return first, pooling, activation if isinstance(pooling, (nn.Subsample, nn.StridedConv)) else None


def border(fill: float | None, background: float) -> float:
    """The value around an image: what it is filled with or, if nothing is said, the image's background."""
    return background if fill is None else fill


def costs(network: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[str, str, str, nn.Cost]]:
    """The paper's table of a network: (name, kind, output, cost) for each layer, for images of this shape."""
    shapes = network.shapes(shape)
    return [
        (name, type(layer).__name__, _printed(out), layer.cost(given))
        for (name, layer), given, out in zip(network.layers.items(), shapes, shapes[1:], strict=False)
    ]


def memory(network: nn.Sequential, shape: tuple[int, ...]) -> tuple[int, int]:
    """The bytes of a network's parameters, and of an image of this shape and every layer's output for it, in float32.

    Training takes each twice, with the gradients, and what the optimiser remembers.
    """
    return 4 * network.cost(shape).parameters, 4 * sum(map(prod, network.shapes(shape)))


def describe(network: nn.Sequential, shape: tuple[int, ...]) -> str:
    """That table as text, with its totals."""
    from tabulate import tabulate

    rows = [(name, kind, out, *cost) for name, kind, out, cost in costs(network, shape)]
    rows.append(("total", "", "", *network.cost(shape)))
    headers = ("layer", "kind", "output", "parameters", "connections", "multiply-accumulates")
    return tabulate(rows, headers, intfmt=",", colalign=("left", "left", "left", "right", "right", "right"))


def _printed(shape: tuple[int, ...]) -> str:
    """A shape as the paper prints it: maps@rows x columns."""
    return f"{shape[1]}@{shape[0]}x{shape[2]}" if len(shape) == 3 else str(shape[0])
