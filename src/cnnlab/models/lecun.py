"""LeCun's networks for digits, 1989 to 1998, and their tables: for each map, the maps before it that it sees."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np

from cnnlab import nn
from cnnlab.models.parts import DenseOutput, Output, RBFOutput, border, init_before, named, poolings
from cnnlab.nn.options import BelowOne, Limit, Natural, Whole, refuse
from cnnlab.nn.windows import Padding

LENET_TANH = nn.Tanh(1.7159, 2 / 3)

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

Table = tuple[tuple[int, ...], ...]
F6Activation = Annotated[str | None, Limit("lenet_tanh or null", lambda value: value in ("lenet_tanh", None))]


def _around(starts: Iterable[int], steps: Sequence[int], maps: int) -> Table:
    """For each start, the maps that many steps after it, counted in a ring."""
    return tuple(tuple((start + step) % maps for step in steps) for start in starts)


# Ours, so that LeNet-4 has its printed totals: 60 kernels, as in Table 1; four or five of the 16 maps for each unit.
LENET4_C3 = _around(range(8), range(4), 8) + _around(range(4), (0, 1, 4, 5), 8) + _around(range(4), (0, 3, 6), 8)
LENET4_C5 = _around(range(80), range(5), 16) + _around(range(80, 120), range(4), 16)


def random_table(seed: int) -> Table:
    """A table with as many connections as Table 1, drawn from all of them; none of the maps is left out."""
    generator = np.random.RandomState(seed)  # its stream is frozen for good; default_rng's is not
    while True:
        order = generator.permutation(16 * 6)
        table = (order < sum(map(len, TABLE_1))).reshape(16, 6)
        if table.any(0).all() and table.any(1).all():
            return tuple(tuple(np.flatnonzero(row).tolist()) for row in table)


def lenet5(
    activation: nn.Activation = LENET_TANH,
    pooling: nn.Layer = nn.Subsample(2),
    padding: Padding = "same",
    init: nn.Initializer = nn.LeCun1998(),
    output: Output = RBFOutput(),
    connections: str = "table1",
    background: float = -0.1,
    classes: int = 10,
    table_seed: Whole | None = None,
    fill: float | None = None,
    c3: Natural | None = None,
    c5: Natural | None = None,
    f6: F6Activation = None,
    dropout: BelowOne | None = None,
) -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998, Fig. 2): 60,000 parameters as printed.

    "same" padding of C1 is the paper's 32x32 field around a 28x28 image. C5 sees the whole of S4 and is written as the
    fully connected layer that it is at this image size. `c3` and `c5` are the widths of these layers, if they are not
    the paper's; `f6` is the activation of F6, if it is not that of the other layers; `fill` is the value around the
    image, if it is not the background. `dropout` is before F6 and before the output.
    """
    first, last, after = poolings(pooling, activation, init)
    hidden, squash = init_before(activation, init), LENET_TANH if f6 else activation
    c1 = nn.Conv2D(6, 5, padding=padding, pad_value=border(fill, background), initializer=hidden)
    table = _table(connections, c3 or 16, table_seed)
    drop = nn.Dropout(dropout) if dropout else None
    return nn.Sequential(
        named(C1=c1, A1=activation, S2=first, A2=after)
        | named(C3=nn.Conv2D(c3 or 16, 5, connections=table, initializer=hidden), A3=activation)
        | named(S4=last, A4=after)
        | named(C5=nn.Dense(c5 or 120, initializer=hidden), A5=activation, D5=drop)
        | named(F6=nn.Dense(84, initializer=init_before(squash, init)), A6=squash, D6=drop)
        | output.layers(classes, init)
    )


def _table(connections: str, maps: int, seed: int | None) -> Table | None:
    """The connections of C3 by their name."""
    tables = {"table1": TABLE_1, "full": None, "random": random_table(seed or 0)}
    if connections not in tables:
        refuse("connections", connections, " or ".join(tables))
    if connections != "full" and maps != len(TABLE_1):
        refuse("c3", maps, f"{len(TABLE_1)}, for which connections={connections} is, or connections=full")
    if connections != "random" and seed is not None:
        refuse("table_seed", seed, "null, or connections=random")
    return tables[connections]


def lenet1(
    activation: nn.Activation = LENET_TANH,
    pooling: nn.Layer = nn.Subsample(2),
    init: nn.Initializer = nn.LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -0.1,
    classes: int = 10,
) -> nn.Sequential:
    """LeNet-1 (LeCun et al. 1990) for 28x28 images: 2,578 parameters, 98,442 connections."""
    first, last, after = poolings(pooling, activation, init)
    hidden = init_before(activation, init)
    return nn.Sequential(
        named(H1=nn.Conv2D(4, 5, initializer=hidden), A1=activation, H2=first, A2=after)
        | named(H3=nn.Conv2D(12, 5, connections=LENET1_TABLE, initializer=hidden), A3=activation)
        | named(H4=last, A4=after)
        | output.layers(classes, init)
    )


def lenet4(
    activation: nn.Activation = LENET_TANH,
    pooling: nn.Layer = nn.Subsample(2),
    padding: Padding = "same",
    init: nn.Initializer = nn.LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -0.1,
    classes: int = 10,
    fill: float | None = None,
) -> nn.Sequential:
    """A network like LeNet-4 (LeCun et al. 1998, III-C): 16,998 parameters, 258,306 connections.

    It cannot be LeNet-4 itself, for the text contradicts itself: 4 maps, 8 subsampling maps in pairs behind them,
    16 and 16 maps, "a fully connected layer with 120 units" and 10 outputs have "260,000 connections" and "17,000
    free parameters", but 120 units that see all of 16@5x5 have 48,120 parameters alone. Kept are the maps, the 120
    units and, to the digits that are printed, both totals: C3 has 60 kernels, and each unit of C5 sees four or five
    maps. Which ones, and that the outputs are tanh units as in LeNet-1, is our choice.
    """
    first, last, after = poolings(pooling, activation, init)
    hidden = init_before(activation, init)
    c1 = nn.Conv2D(4, 5, padding=padding, pad_value=border(fill, background), initializer=hidden)
    return nn.Sequential(
        named(C1=c1, A1=activation, R1=nn.Repeat(2), S2=first, A2=after)
        | named(C3=nn.Conv2D(16, 5, connections=LENET4_C3, initializer=hidden), A3=activation)
        | named(S4=last, A4=after)
        | named(C5=nn.Conv2D(120, 5, connections=LENET4_C5, initializer=hidden), A5=activation)
        | output.layers(classes, init)
    )


def lecun1989(
    activation: nn.Activation = LENET_TANH,
    init: nn.Initializer = nn.LeCun1998(),
    output: Output = DenseOutput(LENET_TANH),
    background: float = -1.0,
    classes: int = 10,
) -> nn.Sequential:
    """The zip-code network (LeCun et al. 1989) for 16x16 images: 9,760 parameters, 64,660 connections, 1,256 units.

    Strides of 2 do the subsampling, each unit has a bias of its own, and the maps of both planes are padded with the
    background. Each map of H2 sees eight of H1's twelve, "according to a scheme that will not be described here"; taken
    is that of Karpathy's reproduction (2022), where each map of H1 is seen eight times, too.
    """
    hidden = init_before(activation, init)
    plane = nn.Conv2D(12, 5, 2, padding=2, pad_value=background, bias="position", initializer=hidden)
    return nn.Sequential(
        named(H1=plane, A1=activation, H2=replace(plane, connections=LECUN1989_TABLE), A2=activation)
        | named(H3=nn.Dense(30, initializer=hidden), A3=activation)
        | output.layers(classes, init)
    )
