"""Networks of well-known tutorials, and the perceptron with hidden layers that most of them start from."""

from collections.abc import Sequence

from cnnlab import nn
from cnnlab.models.parts import DenseOutput, Output, border, init_before, named, poolings
from cnnlab.nn.windows import Padding


def zhou(
    activation: nn.Activation = nn.Identity(),
    pooling: nn.Layer = nn.MaxPool(2),
    padding: Padding = "valid",
    init: nn.Initializer = nn.Gaussian(power=1),
    output: Output = DenseOutput(),
    background: float = -0.5,
    classes: int = 10,
    fill: float | None = None,
) -> nn.Sequential:
    """Victor Zhou's first CNN (2019): one convolution without bias, one pooling; 13,602 parameters."""
    _, last, after = poolings(pooling, activation, init)
    hidden = init_before(activation, init)
    c1 = nn.Conv2D(8, 3, padding=padding, pad_value=border(fill, background), bias=None, initializer=hidden)
    return nn.Sequential(named(C1=c1, A1=activation, S2=last, A2=after) | output.layers(classes, init))


def keras_convnet(
    activation: nn.Activation = nn.ReLU(),
    pooling: nn.Layer = nn.MaxPool(2),
    padding: Padding = "valid",
    init: nn.Initializer = nn.Glorot(),
    output: Output = DenseOutput(),
    dropout: float = 0.5,
    background: float = 0.0,
    classes: int = 10,
    fill: float | None = None,
) -> nn.Sequential:
    """Keras' "Simple MNIST convnet": 34,826 parameters."""
    first, last, after = poolings(pooling, activation, init)
    hidden = init_before(activation, init)
    c1 = nn.Conv2D(32, 3, padding=padding, pad_value=border(fill, background), initializer=hidden)
    return nn.Sequential(
        named(C1=c1, A1=activation, S2=first, A2=after)
        | named(C3=nn.Conv2D(64, 3, initializer=hidden), A3=activation)
        | named(S4=last, A4=after, D4=nn.Dropout(dropout))
        | output.layers(classes, init)
    )


def mlp(
    hidden: Sequence[int] = (100,),
    activation: nn.Activation = nn.ReLU(),
    init: nn.Initializer = nn.He(),
    output: Output = DenseOutput(),
    background: float = 0.0,
    classes: int = 10,
) -> nn.Sequential:
    """Multi-layer perceptron: fully connected layers F1, F2, ... of the given widths."""
    inner, layers = init_before(activation, init), dict[str, nn.Layer]()
    for number, units in enumerate(hidden, 1):
        layers |= {f"F{number}": nn.Dense(units, initializer=inner), f"A{number}": activation}
    return nn.Sequential(layers | output.layers(classes, init))


def nielsen_mlp(
    hidden: Sequence[int] = (30,),
    activation: nn.Activation = nn.Sigmoid(),
    init: nn.Initializer = nn.Gaussian(power=0, bias_std=1),
    output: Output = DenseOutput(nn.Sigmoid()),
    background: float = 0.0,
    classes: int = 10,
) -> nn.Sequential:
    """Nielsen's 784-30-10 sigmoid network (Neural Networks and Deep Learning, chapter 1)."""
    return mlp(hidden, activation, init, output, background, classes)


def nielsen_cnn(
    filters: Sequence[int] = (20, 40),
    hidden: Sequence[int] = (100,),
    activation: nn.Activation = nn.Sigmoid(),
    pooling: nn.Layer = nn.MaxPool(2),
    init: nn.Initializer = nn.Gaussian(power=0.5, bias_std=1),
    output: Output = DenseOutput(),
    dropout: float = 0.0,
    background: float = 0.0,
    classes: int = 10,
) -> nn.Sequential:
    """Nielsen's networks of chapter 6: 5x5 convolutions, each with its pooling, then fully connected layers.

    By default that with two convolutions, 85,670 parameters. `dropout` stands before each fully connected layer, the
    output included, and scales values down when predicting, as in his program.
    """
    first, last, after = poolings(pooling, activation, init)
    inner, layers = init_before(activation, init), dict[str, nn.Layer | None]()
    drop = nn.Dropout(dropout, inverted=False) if dropout else None
    for number, maps in enumerate(filters, 1):
        pool = last if number == len(filters) else first
        layers |= {f"C{number}": nn.Conv2D(maps, 5, initializer=inner), f"A{number}": activation}
        layers |= {f"S{number}": pool, f"S{number}_f": after}
    for number, units in enumerate(hidden, len(filters) + 1):
        layers |= {f"D{number}": drop, f"F{number}": nn.Dense(units, initializer=inner), f"A{number}": activation}
    layers[f"D{len(filters) + len(hidden) + 1}"] = drop
    return nn.Sequential(named(**layers) | output.layers(classes, init))
