"""A plain stack of small convolutions, to see what depth does."""

from cnnlab import nn
from cnnlab.models.parts import DenseOutput, Output, init_before, named, poolings
from cnnlab.nn.options import Natural


def deep(
    depth: Natural = 8,
    maps: Natural = 8,
    activation: nn.Activation = nn.ReLU(),
    pooling: nn.Layer = nn.MaxPool(2),
    init: nn.Initializer = nn.Glorot(),
    output: Output = DenseOutput(),
    background: float = 0.0,
    classes: int = 10,
) -> nn.Sequential:
    """`depth` convolutions of 3x3 kernels that keep the size, each of so many maps, and the output.

    Half of them come before a first pooling and the others before a second, so that the output sees as many values at
    every depth.
    """
    first, last, after = poolings(pooling, activation, init)
    inner, layers = init_before(activation, init), dict[str, nn.Layer | None]()
    around = background
    for number in range(1, depth + 1):
        layers |= {f"C{number}": nn.Conv2D(maps, 3, 1, "same", around, initializer=inner), f"A{number}": activation}
        if number in (depth // 2, depth):
            layers |= {f"S{number}": last if number == depth else first, f"S{number}_f": after}
        around = 0.0
    return nn.Sequential(named(**layers) | output.layers(classes, init))
