"""Convolution and pooling on small pictures: what the engine computes, beside the sums of the documents as loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import convolve2d

from cnnlab import nn
from cnnlab.data import mnist5k
from cnnlab.nn.correlate import Correlation
from cnnlab.nn.windows import dilated, margins, pad
from cnnlab.plots import style
from cnnlab.plots.style import Array
from drawing import bare, cells, ink, signed, table
from excerpts import excerpt
from section import Section, agree

if TYPE_CHECKING:
    pass

PICTURE = np.array([[0.0, 50, 0, 29], [0, 80, 31, 2], [33, 90, 0, 75], [0, 9, 0, 95]])  # document 002's
VERTICAL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
KERNEL = np.arange(1.0, 10).reshape(3, 3)  # nine different weights, so that a turn can be seen
ERROR = np.array([[1.0, 2], [3, 4]])


def maps(picture: Array) -> Array:
    """A single picture as the engine's maps, `[H, 1, W, 1]`."""
    return picture[:, None, :, None]


def convolution(layer: nn.Conv2D, picture: Array, kernel: Array, error: Array | None = None) -> tuple[Array, ...]:
    """What the layer makes of one picture by one kernel; for an error at its output, also both gradients.

    The gradients are those of the picture and of the kernel.
    """
    y, backward = layer.forward({"W": kernel[None, :, None]}, maps(picture))
    if error is None:
        return (y[:, 0, :, 0],)
    dx, grads = backward(maps(error))
    return y[:, 0, :, 0], dx[:, 0, :, 0], grads["W"][0, :, 0]


def correlated(x: Array, w: Array) -> Array:
    """`conv(i, j) = sum_ab x(i + a, j + b) w(a, b)`, as document 002 writes it, term by term."""
    out = np.zeros((x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1))
    for i, j in np.ndindex(out.shape):
        for a, b in np.ndindex(w.shape):
            out[i, j] += x[i + a, j + b] * w[a, b]
    return out


def errors_back(error: Array, w: Array, shape: tuple[int, ...], s: int = 1) -> Array:
    """`dE/dy(i, j) = sum_kl error(k, l) w(i - k s, j - l s)`, as document 003 writes it for cross-correlation."""
    back = np.zeros(shape)
    for i, j in np.ndindex(*shape):
        for k, m in np.ndindex(error.shape):
            a, b = i - k * s, j - m * s
            if 0 <= a < w.shape[0] and 0 <= b < w.shape[1]:
                back[i, j] += error[k, m] * w[a, b]
    return back


def weights_gradient(error: Array, x: Array, shape: tuple[int, ...], s: int = 1) -> Array:
    """`dE/dw(a, b) = sum_ij error(i, j) x(i s + a, j s + b)`, as document 003 writes it for cross-correlation."""
    gradient = np.zeros(shape)
    for a, b in np.ndindex(*shape):
        for i, j in np.ndindex(error.shape):
            gradient[a, b] += error[i, j] * x[i * s + a, j * s + b]
    return gradient


def digit(label: int) -> Array:
    """The first validation image of this digit in the embedded set, 0 to 255."""
    images = mnist5k().val
    return images.pixels[np.flatnonzero(images.labels == label)[0]].astype(float)


@style.own_style()
def sobel() -> Section:
    """The worked example that gives 29, and a digit's edges by both Sobel kernels."""
    layer = nn.Conv2D(1, 3, bias=None)
    (y,) = convolution(layer, PICTURE, VERTICAL)
    window = PICTURE[:3, :3]
    figure = style.canvas(9, 4.9, title="a kernel slides over a picture: document 002's example, and a digit")
    above, below = figure.subplots(2, 4)
    table(above[0], PICTURE, "picture, its first window framed", [(0, 0, 3, 3)])
    table(above[1], VERTICAL, "vertical Sobel kernel")
    table(above[2], window * VERTICAL, f"their products: sum {np.sum(window * VERTICAL):g}")
    table(above[3], y, "output, its first value framed", [(0, 0, 1, 1)])
    picture = digit(5)
    vertical, horizontal = (convolution(layer, picture, kernel)[0] for kernel in (VERTICAL, VERTICAL.T))
    ink(below[0], picture, "a digit of MNIST")
    signed(below[1], vertical, "by the vertical kernel:\nupright edges")
    table(below[2], VERTICAL.T, "horizontal Sobel kernel")
    signed(below[3], horizontal, "by the horizontal kernel:\nlevel edges")
    rows = [", ".join(f"{value:g}" for value in row) for row in y]
    said = [
        f"The engine's output for document 002's picture is {rows[0]} and {rows[1]}; the first value is 62 - 33 = 29.",
        agree("The engine and the sum written as loops", (y, correlated(PICTURE, VERTICAL)))
        + f" On the digit they differ by {_differ(vertical, correlated(picture, VERTICAL))}.",
        "In the pictures of edges grey is 0, white is positive (from dark to bright), and black is negative.",
    ]
    code = [
        excerpt(nn.Conv2D.bind, '"""The correlation'),
        excerpt(Correlation.__init__, "def forward"),
        excerpt(correlated),
    ]
    return Section("sobel", code, said, figure)


def _differ(ours: Array, theirs: Array) -> str:
    return "nothing" if np.array_equal(ours, theirs) else "rounding" if np.allclose(ours, theirs) else "something"


@style.own_style()
def padding() -> Section:
    """Valid, same and full padding of a digit, and the kernel's centre."""
    from matplotlib.patches import Rectangle

    picture = digit(5)
    figure = style.canvas(9, 2.7, title="padding: how far the kernel may reach over the edge")
    shown = {"a digit": picture}
    for kind in ("valid", "same", "full"):
        (shown[kind],) = convolution(nn.Conv2D(1, 5, bias=None, padding=kind), picture, np.full((5, 5), 1 / 25))
    for axes, (name, y) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        side, room = len(y), (33 - len(y)) / 2  # all pixels of one size, and the digit in one place
        ink(axes, y, f"{name}: {side} x {side}")
        axes.set(xlim=(-0.5 - room, side - 0.5 + room), ylim=(side - 0.5 + room, -0.5 - room))
        axes.add_patch(Rectangle((-0.5, -0.5), side, side, fill=False))
        axes.set_frame_on(False)
    centred = nn.Conv2D(1, 3, bias=None, padding=((0, 2), (0, 2)))
    (y,) = convolution(centred, PICTURE, KERNEL)
    (same,) = convolution(nn.Conv2D(1, 3, bias=None, padding="same"), PICTURE, KERNEL)
    said = [
        "The kernel here is the mean over 5 x 5 pixels. Valid padding takes 4 rows and columns away, same padding "
        "keeps the size, full padding adds 4.",
        f"On document 002's 4 x 4 picture a 3 x 3 kernel with its centre in the middle (same padding) starts with "
        f"{same[0, 0]:g}, and with its centre in the first element (padding ((0, 2), (0, 2))) with {y[0, 0]:g}; both "
        "outputs are 4 x 4.",
    ]
    return Section("padding", [excerpt(margins)], said, figure)


def matrix_of(layer: nn.Conv2D, kernel: Array, shape: tuple[int, int]) -> Array:
    """The dense matrix that does what the layer does: its columns are the answers to a single pixel of 1."""
    pixels = np.eye(shape[0] * shape[1]).reshape(shape[0], 1, shape[1], -1)
    y, _ = layer.forward({"W": kernel[None, :, None]}, pixels)
    return y.reshape(-1, pixels.shape[3])


@style.own_style()
def matrix() -> Section:
    """A convolution as a fully connected layer with connections cut and weights shared."""
    kernel, shape, layer = np.array([[1.0, 2], [3, 4]]), (4, 4), nn.Conv2D(1, 2, bias=None)
    shared = matrix_of(layer, kernel, shape)
    dense = nn.Dense(len(shared), bias=False)
    free = np.abs(dense.init((shared.shape[1],), np.random.default_rng(0))[0]["W"])
    free = 1 + 3 * (free - free.min()) / np.ptp(free)
    y, dx, dw = convolution(layer, PICTURE, kernel, error := np.arange(1.0, 10).reshape(3, 3))
    y_dense, backward = dense.forward({"W": shared}, PICTURE.reshape(-1, 1))
    dx_dense, grads = backward(error.reshape(-1, 1))
    summed = [[grads["W"][shared == weight].sum() for weight in row] for row in kernel]

    figure = style.canvas(9, 5.4, title="from a fully connected layer to a convolution: 16 inputs, 9 outputs")
    left, *right = figure.subplot_mosaic("ab\ncd").values()
    parts = {
        f"fully connected: {free.size} weights": free,
        f"connections cut: {np.count_nonzero(shared)} weights are left": free * (shared != 0),
        f"weights shared: {kernel.size} weights": shared,
    }
    for axes, (title, weights) in zip((left, *right[:2]), parts.items(), strict=True):
        if weights is shared:
            table(axes, weights, title, zeros=False, top=5)
        else:
            axes.imshow(weights, cmap="Greys", vmin=0, vmax=5)
            cells(axes, *weights.shape)
            bare(axes, title)
        axes.set(xlabel="16 input pixels", ylabel="9 outputs")
    table(right[2], kernel, "the kernel, as it slides\nover 4 x 4 pixels", top=5)
    said = [
        agree("The dense layer with this matrix and the convolution", (y.ravel(), y_dense[:, 0])),
        agree(
            "Going back, the dense layer's transposed matrix and the convolution's backward",
            (dx.ravel(), dx_dense[:, 0]),
        ),
        agree(
            "The convolution's gradient of a weight and the sum of the dense gradients over all places of that weight",
            (dw, np.array(summed)),
        ),
    ]
    return Section("matrix", [excerpt(matrix_of)], said, figure)


@style.own_style()
def full() -> Section:
    """Forward valid, backward full with the turned kernel, and the gradient of the weights; with a stride of 2."""
    layer, strided = nn.Conv2D(1, 3, bias=None), nn.Conv2D(1, 3, stride=2, bias=None)
    y, dx, dw = convolution(layer, PICTURE, KERNEL, ERROR)
    large = np.arange(25.0).reshape(5, 5) % 7
    _, dx2, dw2 = convolution(strided, large, KERNEL, ERROR)
    around = margins("full", (3, 3))
    spread = dilated(maps(ERROR), (2, 2))
    spread[1][...] = maps(ERROR)
    ringed, ringed2 = (pad(each, around)[:, 0, :, 0] for each in (maps(ERROR), spread[0]))
    turned = KERNEL[::-1, ::-1]

    figure = style.canvas(7, 9.6, title="forward valid, backward full with the turned kernel")
    rows = figure.subplots(4, 3)
    table(rows[0][0], PICTURE, "forward: picture x")
    table(rows[0][1], KERNEL, "kernel w")
    table(rows[0][2], y, "output z")
    table(rows[1][0], ringed, "backward: error δ at z,\nzeros around it", zeros=False)
    table(rows[1][1], turned, "w turned by 180°")
    table(rows[1][2], dx, "error at x")
    table(rows[2][0], PICTURE, "weights: picture x")
    table(rows[2][1], ERROR, "error δ at z, as the kernel")
    table(rows[2][2], dw, "gradient of w")
    table(rows[3][0], ringed2, "stride 2: δ with zeros between\nits values, and around", zeros=False)
    table(rows[3][1], turned, "w turned by 180°")
    table(rows[3][2], dx2, "error at x, here of 5 x 5")
    flipped = nn.Conv2D(1, 3, flip=True, bias=None)
    _, dx_flipped, dw_flipped = convolution(flipped, PICTURE, KERNEL, ERROR)
    said = [
        agree("The engine's error at x and document 003's sum as loops", (dx, errors_back(ERROR, KERNEL, dx.shape))),
        agree(
            "The same error and SciPy's full convolution of δ with w, which turns the kernel",
            (dx, convolve2d(ERROR, KERNEL, "full")),
        ),
        agree(
            "The engine's gradient of w and document 003's sum as loops",
            (dw, weights_gradient(ERROR, PICTURE, dw.shape)),
        ),
        agree(
            "With a stride of 2 both gradients and both sums",
            (dx2, errors_back(ERROR, KERNEL, dx2.shape, 2)),
            (dw2, weights_gradient(ERROR, large, dw2.shape, 2)),
        ),
        agree(
            "Where the forward way turns the kernel (`flip=True`, a convolution proper, as in document 000), the way "
            "back does not: its error at x and that of the plain layer with the turned kernel",
            (dx_flipped, convolution(layer, PICTURE, turned, ERROR)[1]),
        ),
        agree(
            "There the gradient of w and document 000's formula, x turned and convolved with δ,",
            (dw_flipped, convolve2d(PICTURE[::-1, ::-1], ERROR, "valid")),
        ),
        _biases(),
    ]
    code = [
        excerpt(Correlation.input_gradient, '"""Fills', "turned =", "def run"),
        excerpt(Correlation.kernel_gradient, '"""Fills', "errors =", "def run"),
        excerpt(errors_back),
        excerpt(weights_gradient),
    ]
    return Section("full", code, said, figure)


def _biases() -> str:
    """The gradients of a bias for each map, and of one for each position."""
    params = {"W": KERNEL[None, :, None], "b": np.zeros(1)}
    of_map = nn.Conv2D(1, 3).forward(params, maps(PICTURE))[1](maps(ERROR))[1]["b"]
    params["b"] = np.zeros((2, 1, 2))
    of_position = nn.Conv2D(1, 3, bias="position").forward(params, maps(PICTURE))[1](maps(ERROR))[1]["b"][:, 0]
    return (
        f"A bias for the whole map has the gradient {of_map[0]:g}, the sum of δ; of a bias for each position "
        f"(`bias='position'`) it is δ itself: {', '.join(f'{value:g}' for value in of_position.ravel())}."
    )


@style.own_style()
def pooling() -> Section:
    """Where an error goes through max and mean pooling."""
    figure = style.canvas(8.5, 4.4, title="pooling 2 x 2: forward, and where the error goes")
    kinds = {"max": nn.MaxPool(2), "mean": nn.AvgPool(2)}
    backs = {}
    for row, (name, layer) in zip(figure.subplots(2, 4), kinds.items(), strict=True):
        y, backward = layer.forward({}, maps(PICTURE))
        backs[name] = dx = backward(maps(ERROR))[0][:, 0, :, 0]
        won = [(row, column, 1, 1) for row, column in np.argwhere(dx)] if name == "max" else []
        table(row[0], PICTURE, "picture, the largest framed" if won else "picture", won)
        table(row[1], y[:, 0, :, 0], f"{name} of each 2 x 2")
        table(row[2], ERROR, "error at the output")
        table(row[3], dx, "error at the picture", won, zeros=False)
    tie = np.full((2, 2), 7.0)
    first = nn.MaxPool(2).forward({}, maps(tie))[1](np.full((1, 1, 1, 1), 5.0))[0][:, 0, :, 0]
    others = {
        "mixed, half and half": nn.MixedPool(2),
        "stochastic, when predicting": nn.StochasticPool(2),
        "mean of the whole map": nn.GlobalAvgPool(),
    }
    found = {name: layer.forward({}, maps(PICTURE))[0].ravel() for name, layer in others.items()}
    said = [
        f"The sum of the error is {ERROR.sum():g} before and {backs['max'].sum():g} (max) and {backs['mean'].sum():g} "
        "(mean) after: neither loses any of it here, and neither has weights to train.",
        f"In a tie the first place has all of it: a window of four sevens sends an error of 5 to "
        f"{', '.join(f'{value:g}' for value in first.ravel())}.",
        "The other kinds make of the same picture: "
        + "; ".join(f"{name} {', '.join(f'{value:.4g}' for value in values)}" for name, values in found.items())
        + ".",
    ]
    code = [
        excerpt(nn.MaxPool.bind, '"""', "def forward", "def backward"),
        excerpt(nn.AvgPool.bind, '"""', "def backward"),
    ]
    return Section("pooling", code, said, figure)
