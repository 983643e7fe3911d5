"""Networks that read like their papers' tables.

Called without arguments each is the network as it was published; the keywords are the choices that an
ablation varies. ``background`` is the value of an empty pixel: what padding puts around an image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .codes import digit_codes
from .nn import (
    RBF,
    Activation,
    AvgPool,
    Conv2D,
    Cost,
    Dense,
    Dropout,
    Gaussian,
    GlobalAvgPool,
    Glorot,
    He,
    Identity,
    Initializer,
    Layer,
    LeCun1998,
    MaxPool,
    Pool,
    ReLU,
    Repeat,
    Sequential,
    Sigmoid,
    Subsample,
    Tanh,
)

LENET_TANH = Tanh(1.7159, 2 / 3)

# LeCun et al. 1998, Table 1: for each map of C3, the maps of S2 that it sees.
TABLE_1 = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
# LeCun et al. 1990: for each map of LeNet-1's H3, the maps of H2 that it sees.
LENET1_TABLE = ((0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1), (2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3))
# Karpathy 2022, for LeCun et al. 1989: each third of H2's maps leaves out another third of H1's.
LECUN1989_TABLE = tuple(tuple(seen for seen in range(12) if seen // 4 != (2 + h2 // 4) % 3) for h2 in range(12))
CONNECTIONS = {"table1": TABLE_1, "full": None}


def _around(starts: Iterable[int], steps: Sequence[int], maps: int) -> tuple[tuple[int, ...], ...]:
    """For each start, the maps these steps further on, the first following the last."""
    return tuple(tuple((start + step) % maps for step in steps) for start in starts)


# Ours, to LeNet-4's printed totals: 60 kernels, as in Table 1; then four or five of the 16 maps for each unit.
LENET4_C3 = _around(range(8), range(4), 8) + _around(range(4), (0, 1, 4, 5), 8) + _around(range(4), (0, 3, 6), 8)
LENET4_C5 = _around(range(80), range(5), 16) + _around(range(80, 120), range(4), 16)


@dataclass(frozen=True)
class DenseOutput:
    """Output of one unit to a class, squashed or (None) left as scores."""

    squash: Layer | None = None

    def layers(self, classes: int, init: Initializer) -> dict[str, Layer]:
        """The layers under their names."""
        return _named(OUT=Dense(classes, initializer=_suited(init, self.squash)), OUT_f=self.squash)


@dataclass(frozen=True)
class RBFOutput:
    """Output of LeNet-5: the distance to a fixed picture of each digit (LeCun et al. 1998, Eq. 7)."""

    def layers(self, classes: int, init: Initializer) -> dict[str, Layer]:
        """The layers under their names."""
        if classes != 10:
            raise ValueError(f"there are codes for 10 digits, but the data has {classes} classes")
        return {"OUT": RBF(digit_codes())}


Output = DenseOutput | RBFOutput


def lenet5(
    activation: Activation = LENET_TANH,
    pooling: Layer = Subsample(2),
    padding: str | int | Sequence[Sequence[int]] = "same",
    init: Initializer = LeCun1998(),
    output: Output = RBFOutput(),
    connections: str = "table1",
    background: float = -0.1,
    classes: int = 10,
) -> Sequential:
    """LeNet-5 (LeCun et al. 1998, Fig. 2): 60,000 parameters as printed.

    "same" padding of C1 is the paper's 32x32 field around a 28x28 image. C5 sees the whole of S4, so it
    is written as the fully connected layer that it is at this image size. The paper squashes its
    trainable S layers; pooling without parameters goes unsquashed.
    """
    if connections not in CONNECTIONS:
        raise ValueError(f"connections={connections}: choose {' or '.join(CONNECTIONS)}")
    first, last = _stages(pooling, activation)
    hidden = _suited(init, activation)
    after = activation if isinstance(pooling, Subsample) else None
    c1 = Conv2D(6, 5, padding=padding, pad_value=background, initializer=hidden)
    return Sequential(
        _named(C1=c1, A1=activation, S2=first, A2=after)
        | _named(C3=Conv2D(16, 5, connections=CONNECTIONS[connections], initializer=hidden), A3=activation)
        | _named(S4=last, A4=after)
        | _named(C5=Dense(120, initializer=hidden), A5=activation)
        | _named(F6=Dense(84, initializer=hidden), A6=activation)
        | output.layers(classes, init)
    )


def lenet1(
    activation: Activation = LENET_TANH,
    pooling: Layer = Subsample(2),
    init: Initializer = LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -0.1,
    classes: int = 10,
) -> Sequential:
    """LeNet-1 (LeCun et al. 1990) for 28x28 images: 2,578 parameters, 98,442 connections."""
    first, last = _stages(pooling, activation)
    hidden = _suited(init, activation)
    after = activation if isinstance(pooling, Subsample) else None
    return Sequential(
        _named(H1=Conv2D(4, 5, pad_value=background, initializer=hidden), A1=activation, H2=first, A2=after)
        | _named(H3=Conv2D(12, 5, connections=LENET1_TABLE, initializer=hidden), A3=activation)
        | _named(H4=last, A4=after)
        | output.layers(classes, init)
    )


def lenet4(
    activation: Activation = LENET_TANH,
    pooling: Layer = Subsample(2),
    padding: str | int | Sequence[Sequence[int]] = "same",
    init: Initializer = LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -0.1,
    classes: int = 10,
) -> Sequential:
    """A network like LeNet-4 (LeCun et al. 1998, III-C): 16,998 parameters, 258,306 connections.

    It cannot be LeNet-4 itself, for the text contradicts itself: 4 maps, 8 subsampling maps in pairs behind them,
    16 and 16 maps, "a fully connected layer with 120 units" and 10 outputs have "260,000 connections" and "17,000
    free parameters", but 120 units that see all of 16@5x5 have 48,120 parameters alone. Kept are the maps, the 120
    units and, to the digits that are printed, both totals; for these C3 has 60 kernels, and each unit of C5 sees
    four or five maps. Which ones, and that the outputs are squashed units as in LeNet-1, is our choice.
    """
    first, last = _stages(pooling, activation)
    hidden = _suited(init, activation)
    after = activation if isinstance(pooling, Subsample) else None
    c1 = Conv2D(4, 5, padding=padding, pad_value=background, initializer=hidden)
    return Sequential(
        _named(C1=c1, A1=activation, R1=Repeat(2), S2=first, A2=after)
        | _named(C3=Conv2D(16, 5, connections=LENET4_C3, initializer=hidden), A3=activation)
        | _named(S4=last, A4=after)
        | _named(C5=Conv2D(120, 5, connections=LENET4_C5, initializer=hidden), A5=activation)
        | output.layers(classes, init)
    )


def lecun1989(
    activation: Activation = LENET_TANH,
    init: Initializer = LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -1.0,
    classes: int = 10,
) -> Sequential:
    """The zip-code network (LeCun et al. 1989) for 16x16 images: 9,760 parameters, 64,660 connections, 1,256 units.

    Strides of 2 do the subsampling, each unit has a bias of its own, and around both planes lies background. Each
    map of H2 sees eight of H1's twelve, "according to a scheme that will not be described here"; taken is the one
    of Karpathy's reproduction (2022), where each map of H1 is seen eight times too.
    """
    hidden = _suited(init, activation)
    plane = Conv2D(12, 5, 2, padding=2, pad_value=background, bias="position", initializer=hidden)
    return Sequential(
        _named(H1=plane, A1=activation, H2=replace(plane, connections=LECUN1989_TABLE), A2=activation)
        | _named(H3=Dense(30, initializer=hidden), A3=activation)
        | output.layers(classes, init)
    )


def zhou(
    activation: Activation = Identity(),
    pooling: Layer = MaxPool(2),
    padding: str | int | Sequence[Sequence[int]] = "valid",
    init: Initializer = Gaussian(power=1),
    output: Output = DenseOutput(),
    background: float = -0.5,
    classes: int = 10,
) -> Sequential:
    """Victor Zhou's first CNN (2019): one convolution without bias, one pooling; 13,602 parameters."""
    _, last = _stages(pooling, activation)
    hidden = _suited(init, activation)
    c1 = Conv2D(8, 3, padding=padding, pad_value=background, bias=None, initializer=hidden)
    return Sequential(_named(C1=c1, A1=activation, S2=last) | output.layers(classes, init))


def keras_convnet(
    activation: Activation = ReLU(),
    pooling: Layer = MaxPool(2),
    padding: str | int | Sequence[Sequence[int]] = "valid",
    init: Initializer = Glorot(),
    output: Output = DenseOutput(),
    dropout: float = 0.5,
    background: float = 0.0,
    classes: int = 10,
) -> Sequential:
    """Keras' "Simple MNIST convnet": 34,826 parameters."""
    first, last = _stages(pooling, activation)
    hidden = _suited(init, activation)
    c1 = Conv2D(32, 3, padding=padding, pad_value=background, initializer=hidden)
    return Sequential(
        _named(C1=c1, A1=activation, S2=first)
        | _named(C3=Conv2D(64, 3, initializer=hidden), A3=activation, S4=last, D4=Dropout(dropout))
        | output.layers(classes, init)
    )


def mlp(
    hidden: Sequence[int] = (100,),
    activation: Activation = ReLU(),
    init: Initializer = He(),
    output: Output = DenseOutput(),
    background: float = 0.0,
    classes: int = 10,
) -> Sequential:
    """Multi-layer perceptron: fully connected layers F1, F2, ... of the given widths."""
    layers: dict[str, Layer] = {}
    for number, units in enumerate(hidden, 1):
        layers |= {
            f"F{number}": Dense(units, initializer=_suited(init, activation)),
            f"A{number}": activation,
        }
    return Sequential(layers | output.layers(classes, init))


def nielsen_mlp(
    hidden: Sequence[int] = (30,),
    activation: Activation = Sigmoid(),
    init: Initializer = Gaussian(power=0, bias_std=1),
    output: Output = DenseOutput(Sigmoid()),
    background: float = 0.0,
    classes: int = 10,
) -> Sequential:
    """Nielsen's 784-30-10 sigmoid network (Neural Networks and Deep Learning, chapter 1)."""
    return mlp(hidden, activation, init, output, background, classes)


def nielsen_cnn(
    filters: Sequence[int] = (20, 40),
    hidden: Sequence[int] = (100,),
    activation: Activation = Sigmoid(),
    pooling: Layer = MaxPool(2),
    init: Initializer = Gaussian(power=0.5, bias_std=1),
    output: Output = DenseOutput(),
    dropout: float = 0.0,
    background: float = 0.0,
    classes: int = 10,
) -> Sequential:
    """Nielsen's networks of chapter 6: 5x5 convolutions, each with its pooling, then fully connected layers.

    With both kinds of layers as in the text 85,670 parameters. ``dropout`` stands before each fully connected layer,
    the output included, as in his program.
    """
    first, last = _stages(pooling, activation)
    suited, layers = _suited(init, activation), dict[str, Layer]()
    for number, maps in enumerate(filters, 1):
        convolution = Conv2D(maps, 5, pad_value=background if number == 1 else 0.0, initializer=suited)
        pool = last if number == len(filters) else first
        layers |= {f"C{number}": convolution, f"A{number}": activation, f"S{number}": pool}
    for number, units in enumerate(hidden, len(filters) + 1):
        layers |= _dropped(number, dropout)
        layers |= {f"F{number}": Dense(units, initializer=suited), f"A{number}": activation}
    layers |= _dropped(len(filters) + len(hidden) + 1, dropout)
    return Sequential(_named(**layers) | output.layers(classes, init))


def costs(network: Sequential, shape: tuple[int, ...]) -> list[tuple[str, str, str, Cost]]:
    """The paper's table of a network: (name, kind, output, cost) for each layer, for images of a shape."""
    shapes = network.shapes(shape)
    return [
        (name, type(layer).__name__, _printed(out), layer.cost(given))
        for (name, layer), given, out in zip(network.layers.items(), shapes, shapes[1:], strict=False)
    ]


def describe(network: Sequential, shape: tuple[int, ...]) -> str:
    """That table as text, with its totals."""
    from tabulate import tabulate

    rows = [(name, kind, out, *cost) for name, kind, out, cost in costs(network, shape)]
    rows.append(("total", "", "", *network.cost(shape)))
    headers = ("layer", "kind", "output", "parameters", "connections", "multiply-accumulates")
    return tabulate(rows, headers, intfmt=",", colalign=("left", "left", "left", "right", "right", "right"))


def _suited(init: Initializer, squash: Layer | None) -> Initializer:
    """The distribution for weights in front of a squashing function, or of none."""
    return init.suited(squash.steepest if isinstance(squash, Activation) else 1.0)


def _printed(shape: tuple[int, ...]) -> str:
    """A shape as the paper prints it: maps@rows x columns."""
    return f"{shape[1]}@{shape[0]}x{shape[2]}" if len(shape) == 3 else str(shape[0])


def _named(**layers: Layer | None) -> dict[str, Layer]:
    """The layers that there are; names end up as in the papers."""
    return {name: layer for name, layer in layers.items() if layer is not None and layer != Identity()}


def _dropped(number: int, rate: float) -> dict[str, Layer]:
    """Dropout in front of a layer, where there is any."""
    return {f"D{number}": Dropout(rate)} if rate else {}


def _stages(pooling: Layer, activation: Activation) -> tuple[Layer, Layer]:
    """A network's first and last pooling; refuses a rule whose input this activation cannot give.

    Averaging of whole maps can only come last: plain 2x2 averaging stands in for it before.
    """
    if isinstance(pooling, Pool) and pooling.needs_nonnegative and not activation.nonnegative:
        rule, function = type(pooling).__name__, type(activation).__name__
        raise ValueError(
            f"pooling: {rule} needs activations that are never negative, which {function} "
            "does not give: choose activation=relu or activation=sigmoid, or another pooling"
        )
    return (AvgPool(2) if isinstance(pooling, GlobalAvgPool) else pooling), pooling
