"""LeNet-5 trained for seconds on embedded digits, and the way of an error through all of its layers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tabulate import tabulate

from cnnlab import nn
from cnnlab.data import Dataset, mnist5k
from cnnlab.models import lenet5
from cnnlab.models.lecun import LENET_TANH
from cnnlab.models.parts import DenseOutput
from cnnlab.plots import style
from cnnlab.plots.style import Array
from drawing import SMALL, ink, signed
from excerpts import excerpt
from passes import forward, way_back
from section import Section, agree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPOCHS, BATCH, RATE, MOMENTUM = 3, 32, 0.01, 0.9
LOSS = nn.SoftmaxCrossEntropy()


class Trained(NamedTuple):
    """What was trained, on what, and two validation images: one that is answered wrongly, and one rightly."""

    network: nn.Sequential
    params: nn.Params
    data: Dataset
    wrong: int
    right: int


@cache
def trained() -> Trained:
    """LeNet-5's layers with max pooling and softmax; in float64, so that every machine gives the same digits."""
    data, rng = mnist5k(), np.random.default_rng(0)
    paper = float(data.normalizer.table[0])  # what an empty pixel is
    network = lenet5(LENET_TANH, nn.MaxPool(2), "same", nn.Glorot(), DenseOutput(), background=paper)
    params, _ = network.init(data.shape, rng)
    theta = nn.pack(params).astype(np.float64)
    params = nn.unpack(theta, params)
    workspace, optimizer = nn.Workspace(network, params, data.shape), nn.SGD(momentum=MOMENTUM)
    state = optimizer.init(theta)
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(data.train)), len(data.train) // BATCH):
            x, labels = data.batch(data.train, batch), data.train.labels[batch]
            *_, gradient = workspace.loss_gradient(LOSS, x, labels, rng)
            optimizer.step(theta, gradient, state, RATE)
    outputs = nn.predict(network, params, data.shape, len(data.val), lambda part: data.batch(data.val, part))
    wrong = outputs.argmax(0) != data.val.labels
    return Trained(network, params, data, int(np.flatnonzero(wrong)[0]), int(np.flatnonzero(~wrong)[0]))


def image(number: int) -> tuple[Array, Array]:
    """A validation image as the network sees it, `[28, 1, 28, 1]`, and its label."""
    data = trained().data
    return data.batch(data.val, np.array([number])).astype(np.float64), data.val.labels[[number]]


def scores() -> tuple[int, Array]:
    """The label of the image that is answered wrongly, and the network's scores `[10, 1]` for it."""
    x, labels = image(trained().wrong)
    return int(labels[0]), trained().network.forward(trained().params, x)[0]


def back(number: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs of all layers for a validation image, and the errors there, on the way back; the image is "input"."""
    network, params, *_ = trained()
    x, labels = image(number)
    passed = forward(network, params, x)
    _, error = LOSS(passed[-1].y, labels)
    errors, grads = way_back(passed, error)
    whole, backward = network.forward(params, x)
    agree("LeNet-5 layer by layer", (whole, passed[-1].y), (nn.pack(backward(error)[1]), nn.pack(grads)))
    return {"input": x} | {name: y for name, y, _ in passed}, errors


@style.own_style()
def lenet() -> Section:
    """All outputs and all errors of LeNet-5 for a digit that it gets wrong."""
    known = trained()
    outputs, errors = back(known.wrong)
    _, calm = back(known.right)
    (label,), (right,) = image(known.wrong)[1], image(known.right)[1]
    answer, other = int(outputs["OUT"].argmax()), np.abs(calm["OUT"]).max()
    lines = [
        [
            name,
            _shape(y),
            f"{np.abs(y).max():.2g}",
            f"{np.linalg.norm(errors[name]):.2g}",
            f"{np.linalg.norm(calm[name]):.2g}",
            f"{100 * np.mean(errors[name] == 0):.0f}%",
        ]
        for name, y in reversed(outputs.items())
    ]
    heads = ["layer", "output", "largest output", "length of the error", f"of a right {right}'s", "zeros in it"]
    said = [
        "Left are the outputs, to be read from the top; right the errors, to be read from the bottom. Grey is 0, white "
        "is above and black below, and each row has a scale of its own, which its title names.",
        f"The picture is a {label}, and the network says {answer}. The error at the score of {label} is "
        f"{errors['OUT'][label, 0]:.2f}, at that of {answer} {errors['OUT'][answer, 0]:+.2f}. For a {right} that it "
        f"gets right no score has an error above {other:.2g}.",
        "Max pooling (S2, S4) hands each error to one of four values. So of the errors at A1 and A3 three quarters "
        "are 0.",
        "Layer by layer and by the engine's own `Sequential` all gradients agree to 9 digits.",
    ]
    title = f"a {label} that LeNet-5 takes for a {answer}: outputs, top down; errors, bottom up"
    table = tabulate(lines, heads, tablefmt="github", disable_numparse=True)
    return Section("lenet", [excerpt(trained), excerpt(back)], said, figure(outputs, errors, title), table)


def figure(outputs: dict[str, Array], errors: dict[str, Array], title: str) -> Figure:
    """Two columns with a row for each layer: its output, and the error there."""
    width, heights = 4.5, [_height(y) for y in outputs.values()]
    gap = 0.3
    high = sum(heights) + gap * (len(heights) + 1)
    drawn = style.canvas(2 * width + 0.9, high, margins=(0, 0, 0, 0), title=title)
    total = drawn.get_size_inches()[1]
    top = high
    for (name, y), height in zip(outputs.items(), heights, strict=True):
        top -= gap + height
        for column, values in enumerate((y, errors[name])):
            place = (0.3 + column * (width + 0.3)) / drawn.get_size_inches()[0]
            axes = drawn.add_axes((place, top / total, width / drawn.get_size_inches()[0], height / total))
            _layer(axes, name, values, column == 1)
    return drawn


def _height(y: Array) -> float:
    if y.ndim == 2:
        return 0.2
    rows, count, columns = y.shape[:3]
    across = _across(count)
    return min(1.25, 4.5 * (count // across * (rows + 1) + 1) / (across * (columns + 1) + 1))


def _across(count: int) -> int:
    return count if count <= 6 else 8


def _layer(axes: Axes, name: str, values: Array, error: bool) -> None:
    """One layer's maps or vector, with what its darkest and brightest stand for in the title."""
    most = style.plain(float(np.abs(values).max()), 2)
    what = "the scores of 0 to 9" if name == "OUT" else _shape(values)
    title = f"error at {name}, up to ±{most}" if error else f"{name}: {what}, up to ±{most}"
    if values.ndim == 2:
        signed(axes, values.T, title)
        axes.set_aspect("auto")
    elif name == "input" and not error:
        ink(axes, values[:, 0, :, 0], "input: 28 x 28")
        axes.set_anchor("W")
    else:
        signed(axes, style.mosaic(values[..., 0].transpose(1, 0, 2), _across(values.shape[1])), title)
        axes.set_anchor("W")
    axes.set_title(axes.get_title(), fontsize=SMALL, loc="left", pad=3)
    axes.set_title("")


def _shape(y: Array) -> str:
    return f"{y.shape[1]} of {y.shape[0]} x {y.shape[2]}" if y.ndim == 4 else f"{len(y)} values"
