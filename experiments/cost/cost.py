"""What a perceptron costs beside LeNet-5's sizes as images grow: weights, multiply-adds, memory and time.

python experiments/cost/cost.py counts, measures for two minutes, and writes `results.csv`, `cost.png` and the numbers
of README.md. The page and the figure are made from `results.csv` alone.
"""

from __future__ import annotations

import csv
import os
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate
from threadpoolctl import threadpool_limits

from cnnlab import nn, plots
from cnnlab.commands import in_one_line
from cnnlab.models import lenet5, mlp
from cnnlab.models.parts import DenseOutput, costs, memory
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.plots import style
from cnnlab.report.tables import as_csv, replaced
from cnnlab.tracking.circumstances import process

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent
HIDDEN = 1024  # units of the perceptron's layer, as in the founding document
SHAPES = ((28, 1, 28), (56, 1, 56), (112, 1, 112), (224, 1, 224), (224, 3, 224))  # rows, channels, columns
PERCEPTRON, CONVOLUTIONAL = "perceptron", "LeNet-5's sizes"
NETWORKS = {
    PERCEPTRON: mlp((HIDDEN,)),
    CONVOLUTIONAL: lenet5(
        nn.ReLU(), nn.MaxPool(2), "same", nn.Glorot(), DenseOutput(), connections="full", background=0.0
    ),
}
BATCH = 32
ROUNDS, TURN = 9, 0.1  # turns of each network, of which the median counts, and the least seconds of one
MOMENTUM, RATE = 0.9, 1e-4

Lines = Sequence[Mapping[str, Any]]


def main(folder: Path = FOLDER, rounds: int = ROUNDS) -> None:
    """Count, measure and write all."""
    busy = f"{os.getloadavg()[0]:.1f}"
    with threadpool_limits(1):
        lines = [line for shape in SHAPES for line in measured(shape, rounds)]
        where = process()
    on = {"machine": where["machine"], "blas": where["blas"], "load_before": busy}
    write_atomically(folder / "results.csv", as_csv([line | on for line in lines]).encode())
    write(folder)
    print(f"written: {folder / 'README.md'}")


def counted(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What can be counted without training: the numbers are the network's own, and bytes are of float32.

    To predict one image are held the parameters, the image and each layer's output; to train on a batch, gradients of
    all of these too, and a velocity for each parameter.
    """
    network = NETWORKS[name]
    weights, values = memory(network, shape)
    return {
        "network": name,
        "side": shape[0],
        "channels": shape[1],
        "parameters": network.cost(shape).parameters,
        "kernel_parameters": sum(cost.parameters for _, kind, _, cost in costs(network, shape) if kind == "Conv2D"),
        "macs": network.cost(shape).macs,
        "predict_bytes": weights + values,
        "train_bytes": 3 * weights + 2 * BATCH * values,
    }


def measured(shape: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """A line for each network: its counts, the most memory of a training, and milliseconds for an image.

    The networks take turns in this one process, so that what else the machine does meanwhile meets both alike.
    """
    work = {name: _work(network, shape) for name, network in NETWORKS.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, (_, steps) in work.items():
            for kind, step in steps.items():
                seconds.setdefault((name, kind), []).append(_turn(step))
    return [
        counted(name, shape)
        | {"train_peak_bytes": peak}
        | {f"{kind}_ms": f"{1000 * median(seconds[name, kind]) / BATCH:.4g}" for kind in steps}
        for name, (peak, steps) in work.items()
    ]


def _turn(step: Callable[[], object]) -> float:
    """Seconds of a step, repeated until a turn is over."""
    began, steps = perf_counter(), 0
    while (spent := perf_counter() - began) < TURN or not steps:
        step()
        steps += 1
    return spent / steps


def _work(network: nn.Sequential, shape: tuple[int, ...]) -> tuple[int, dict[str, Callable[[], object]]]:
    """The most bytes that a training step and all its arrays take, and the work itself, which was done once."""
    rng = np.random.default_rng(0)
    tracemalloc.start()
    params, _ = network.init(shape, rng)
    theta = nn.pack(params)
    params = nn.unpack(theta, params)
    x, labels = rng.random((*shape, BATCH), np.float32), np.arange(BATCH) % 10
    optimizer = nn.SGD(momentum=MOMENTUM)
    state, workspace = optimizer.init(theta), nn.Workspace(network, params, shape)

    def train() -> None:
        *_, gradient = workspace.loss_gradient(nn.SoftmaxCrossEntropy(), x, labels, rng)
        optimizer.step(theta, gradient, state, RATE)

    tracemalloc.reset_peak()  # making the first weights takes more, once
    train()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    workspace.predict(x)
    return peak, {"train": train, "predict": lambda: workspace.predict(x)}


def write(folder: Path) -> None:
    """Write the figure, and the numbers of the page, from `results.csv`."""
    lines = read(folder)
    write_atomically(folder / "cost.png", plots.png(figure(lines)))
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "<!-- numbers -->\n<!-- /numbers -->\n"
    write_atomically(page, replaced(text, "numbers", numbers(lines)).encode())


def read(folder: Path) -> Lines:
    """The lines of `results.csv`, numbers as numbers."""
    found = csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").splitlines())
    words = ("network", "machine", "blas")
    return [
        {name: value if name in words else float(value) for name, value in line.items()}
        | {name: int(value) for name, value in line.items() if value.isdecimal()}
        for line in found
    ]


def numbers(lines: Lines) -> str:
    """The part of the page that is made from the results."""
    by = {(line["network"], line["side"], line["channels"]): line for line in lines}
    small, large = ({name: by[name, side, 1] for name in NETWORKS} for side in (28, 224))
    ratio = {
        column: [shown[PERCEPTRON][column] / shown[CONVOLUTIONAL][column] for shown in (small, large)]
        for column in ("parameters", "macs", "predict_bytes", "train_bytes", "train_ms", "predict_ms")
    }
    conv = small[CONVOLUTIONAL]
    said = [
        dense_layer(),
        f"The convolutions of LeNet-5's sizes have {conv['kernel_parameters']:,} parameters at every image size; all "
        f"others are behind them: {conv['parameters'] - conv['kernel_parameters']:,} at 28 pixels a side and "
        f"{large[CONVOLUTIONAL]['parameters'] - conv['kernel_parameters']:,} at 224, since C5 sees the whole of S4. "
        f"So the perceptron has {_times(*ratio['parameters'])} times as many parameters at 28 and at 224 pixels a side "
        "(grey, as all ratios here).",
        f"Shared weights are used again at each place: the perceptron does {_times(*ratio['macs'])} times as many "
        "multiply-adds.",
        f"Predicting one image takes the perceptron {_times(*ratio['predict_bytes'])} times the memory, training on "
        f"{BATCH} images {_times(*ratio['train_bytes'])} times.",
        f"An image takes the perceptron {_times(*ratio['train_ms'])} times as long in training and "
        f"{_times(*ratio['predict_ms'])} times in prediction.",
    ]
    first = lines[0]
    load = first["load_before"]
    where = (
        f"Times are milliseconds an image in batches of {BATCH}, float32, one thread, the median of {ROUNDS} turns "
        f"that both networks take in one process ({first['machine']}, {first['blas']}). Before it began, the machine "
        f"had a load of {load:.1f}{': other programs ran, so that ratios say more than times' * (load >= 0.5)}."
    )
    heads = {
        "network": "network",
        "image": "image",
        "parameters": "parameters",
        "macs": "multiply-adds",
        "predict_bytes": "prediction of one image (MB)",
        "train_bytes": f"training on {BATCH} (MB)",
        "train_peak_bytes": "the same, measured (MB)",
        "train_ms": "training (ms)",
        "predict_ms": "prediction (ms)",
    }
    rows = [[_cell(name, line) for name in heads] for line in lines]
    aligned = ["left", "left", *["right"] * (len(heads) - 2)]
    table = tabulate(rows, list(heads.values()), tablefmt="github", disable_numparse=True, colalign=aligned)
    return "\n\n".join(["\n".join(f"- {sentence}" for sentence in said), table, where])


def dense_layer() -> str:
    """The founding document's figure, and LeNet-5's first convolution beside it."""
    shape = SHAPES[-1]
    layer, pixels = nn.Dense(HIDDEN, bias=False), prod(shape)
    c1 = NETWORKS[CONVOLUTIONAL].layers["C1"]
    weights, outputs = c1.cost(shape).parameters, prod(c1.out_shape(shape))
    return (
        f"A dense layer of {HIDDEN:,} units on 224x224x3 pixels has {pixels:,} x {HIDDEN:,} = "
        f"{layer.cost(shape).parameters:,} weights, as the founding document says of the first layer alone; its "
        f"{HIDDEN:,} biases are not counted. LeNet-5's C1 on the same pixels has {weights:,} parameters (6 x 5 x 5 x 3 "
        f"weights, 6 biases) for {outputs:,} outputs; a dense layer with as many outputs would have "
        f"{nn.Dense(outputs, bias=False).cost(shape).parameters:,} weights."
    )


def _times(small: float, large: float) -> str:
    return f"{small:.2g} and {large:.2g}"


def _cell(name: str, line: Mapping[str, Any]) -> str:
    if name == "image":
        return f"{line['side']}x{line['side']}x{line['channels']}"
    value = line[name]
    if name.endswith("bytes"):
        return f"{value / 1e6:,.3g}" if value < 1e9 else f"{value / 1e6:,.0f}"
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


@style.own_style()
def figure(lines: Lines) -> Figure:
    """Each cost over the side of a grey image, both networks, on logarithmic scales."""
    panels = {
        "parameters": ("parameters (millions)", 1e-6),
        "macs": ("multiply-adds of an image (millions)", 1e-6),
        "train_bytes": (f"memory to train on {BATCH} images (MB)", 1e-6),
        "train_ms": ("time to train on an image (ms)", 1.0),
    }
    drawn = style.canvas(9, 6, title="a perceptron of 1,024 units beside LeNet-5's sizes")
    for axes, (column, (label, scale)) in zip(drawn.subplots(2, 2).flat, panels.items(), strict=True):
        for name, colour, dash, marker in zip(NETWORKS, style.COLOURS, style.DASHES, "os", strict=False):
            shown = [line for line in lines if line["network"] == name and line["channels"] == 1]
            values = [scale * line[column] for line in shown]
            look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": marker, "label": name}
            axes.plot([line["side"] for line in shown], values, **look)
        axes.set(xscale="log", yscale="log", xlabel="pixels a side", ylabel=label)
        axes.set_xticks([shape[0] for shape in SHAPES[:4]], [str(shape[0]) for shape in SHAPES[:4]])
        axes.minorticks_off()
        style.plain_numbers(axes.yaxis)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper left")  # the costs rise
    return drawn


if __name__ == "__main__":
    refuse_other_checkout()
    with in_one_line():
        main()
