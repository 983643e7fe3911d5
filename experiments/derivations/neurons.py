"""Neurons, losses and the chain rule: what the engine computes, beside the documents' formulas and small steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from cnnlab import nn
from cnnlab.nn.losses import one_hot
from cnnlab.plots import style
from cnnlab.plots.style import Array
from convolutions import digit
from drawing import SMALL, ink, signed
from excerpts import excerpt
from lenet import scores
from passes import Passed, forward, way_back
from section import Section, agree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Document 001's network of two inputs, two hidden and two output neurons, with numbers of our own.
PARAMS: nn.Params = {
    "F2": {"W": np.array([[0.5, -1.0], [1.0, 0.5]]), "b": np.array([0.5, -0.5])},
    "A2": {},
    "F3": {"W": np.array([[1.0, -1.0], [-0.5, 2.0]]), "b": np.array([0.0, -1.0])},
    "A3": {},
}
NETWORK = nn.Sequential({"F2": nn.Dense(2), "A2": nn.Sigmoid(), "F3": nn.Dense(2), "A3": nn.Sigmoid()})
INPUT, LABEL = np.array([[1.0], [0.5]]), np.array([0])  # the wanted outputs are 1 and 0
STEP = 1e-5
RATES = {0.01: "slow", 0.5: "well chosen", 1.8: "overshoots", 2.2: "diverges"}


@style.own_style()
def neuron() -> Section:
    """A neuron's function and its slope."""
    kinds = {"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "ReLU": nn.ReLU(), "leaky ReLU, 0.1": nn.LeakyReLU(0.1)}
    z = np.linspace(-4, 4, 401)[:, None]
    figure = style.canvas(8.5, 3.2, title="activations f(z) and their slopes f'(z)")
    left, right = figure.subplots(1, 2)
    found = {}
    for (name, layer), look in zip(kinds.items(), style.looks(len(kinds)), strict=True):
        y, backward = layer.forward({}, z)
        found[name] = y, backward(np.ones_like(z))[0]
        for axes, values in zip((left, right), found[name], strict=True):
            axes.plot(z, values, label=name, **look)
    left.set(xlabel="z", ylabel="f(z)", ylim=(-1.2, 2))
    right.set(xlabel="z", ylabel="f'(z)", ylim=(-0.1, 1.1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(fontsize=8, loc="upper left")
    (f, slope), (t, t_slope) = found["sigmoid"], found["tanh"]
    at_zero = nn.ReLU().forward({}, np.zeros((1, 1)))[1](np.ones((1, 1)))[0][0, 0]
    lenet = nn.Tanh(1.7159, 2 / 3).forward({}, np.array([[-1.0, 1.0]]))[0][0]
    said = [
        agree("The engine's slope of the sigmoid and f (1 - f)", (slope, f * (1 - f))),
        agree("Its slope of tanh and 1 - f²", (t_slope, 1 - t**2)),
        f"The sigmoid's slope is at most {slope.max():.2f}, and {slope[-1, 0]:.3f} where z = 4. The slope of ReLU at 0 "
        f"is {at_zero:g}.",
        f"LeNet-5 itself has 1.7159 tanh(2z/3), which makes {lenet[0]:.4f} of -1 and {lenet[1]:.4f} of 1.",
    ]
    code = [
        excerpt(nn.Dense.bind, '"""', "def forward", "def backward"),
        excerpt(nn.Sigmoid.f),
        excerpt(nn.Sigmoid.derivative),
        excerpt(nn.ReLU.derivative),
    ]
    return Section("neuron", code, said, figure)


@style.own_style()
def loss() -> Section:
    """Softmax and cross-entropy of a real digit's scores, and the softmax's Jacobian."""
    label, t = scores()
    labels = np.array([label])
    y, backward = nn.Softmax().forward({}, t)
    value, fused = nn.SoftmaxCrossEntropy()(t, labels)
    target = one_hot(labels, 10, t.dtype)
    jacobian = np.array([backward(row[:, None])[0][:, 0] for row in np.eye(10)])
    literal = np.array([[y[i, 0] * ((i == j) - y[j, 0]) for j in range(10)] for i in range(10)])

    figure = style.canvas(9, 2.9, title=f"a network's scores for a picture of a {label}, softmax, and the error p - y")
    panels = figure.subplots(1, 4)
    bars(panels[0], t[:, 0], "scores t")
    bars(panels[1], y[:, 0], "p = softmax(t)")
    bars(panels[2], fused[:, 0], "error p - y at the scores")
    signed(panels[3], jacobian, "Jacobian ∂p/∂t")
    panels[3].set(xlabel="score", ylabel="probability")
    for axis in (panels[3].xaxis, panels[3].yaxis):
        axis.set_ticks(range(10))
    panels[3].tick_params(labelbottom=True, labelleft=True, labelsize=7)
    squared, sigmoid = nn.MeanSquaredError(), nn.Sigmoid()
    a, a_back = sigmoid.forward({}, t)
    said = [
        f"The loss is -ln p of the right digit: -ln {y[label, 0]:.4f} = {value:.4f}.",
        agree("The engine's gradient of softmax with cross-entropy, and p - y", (fused, y - target)),
        agree(
            "Cross-entropy alone, whose slope is -y/p (document 002's (1)), carried back through the whole Jacobian by "
            "`Softmax`, and p - y",
            (backward(nn.CrossEntropy()(y, labels)[1])[0], fused),
        ),
        agree("The Jacobian of the engine and pᵢ (1[i=j] - pⱼ), entry by entry,", (jacobian, literal)),
        agree(
            "Squared error behind softmax and document 003's product of p - y with the Jacobian",
            (backward(squared(y, labels)[1])[0], jacobian.T @ (y - target)),
        ),
        agree(
            "Binary cross-entropy behind a sigmoid a (document 001) and a - y",
            (a_back(nn.BinaryCrossEntropy()(a, labels)[1])[0], a - target),
        ),
        f"Squared error ½ Σ (y - p)² of the same p is {squared(y, labels)[0]:.4f}; its gradient by p is p - y.",
    ]
    code = [
        excerpt(nn.Softmax.forward),
        excerpt(nn.SoftmaxCrossEntropy.__call__),
        excerpt(nn.CrossEntropy.__call__),
        excerpt(nn.MeanSquaredError.__call__),
        excerpt(nn.BinaryCrossEntropy.__call__),
    ]
    return Section("loss", code, said, figure)


def bars(axes: Axes, values: Array, title: str) -> None:
    """A bar for each digit."""
    axes.bar(range(10), values, color="0.45", edgecolor="black", linewidth=0.6)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(10))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("digit")
    axes.set_title(title, fontsize=SMALL)


def cost(params: nn.Params) -> float:
    """Half the squared error of the small network with these parameters."""
    return nn.MeanSquaredError()(NETWORK.forward(params, INPUT)[0], LABEL)[0]


def small_step(name: str, kind: str, place: tuple[int, ...]) -> float:
    """How the cost changes with one parameter, measured by a small step to either side."""
    costs = []
    for sign in (1, -1):
        moved = {layer: {key: array.copy() for key, array in own.items()} for layer, own in PARAMS.items()}
        moved[name][kind][place] += sign * STEP
        costs.append(cost(moved))
    return (costs[0] - costs[1]) / (2 * STEP)


@style.own_style()
def chain() -> Section:
    """The four equations of backpropagation on document 001's network."""
    passed = forward(NETWORK, PARAMS, INPUT)
    out = passed[-1].y
    _, d_out = nn.MeanSquaredError()(out, LABEL)
    errors, grads = way_back(passed, d_out)
    a2, a3 = passed[1].y, passed[3].y
    W3, target = PARAMS["F3"]["W"], one_hot(LABEL, 2, np.float64)
    delta3 = (a3 - target) * a3 * (1 - a3)
    delta2 = W3.T @ delta3 * a2 * (1 - a2)
    rows = [
        ("BP1", "δᴸ = ∇C · f'(zᴸ)", delta3, errors["F3"], ("F3", "b")),
        ("BP2", "δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ · f'(zˡ)", delta2, errors["F2"], ("F2", "b")),
        ("BP3", "∂C/∂b = δ", delta2[:, 0], grads["F2"]["b"], ("F2", "b")),
        ("BP4", "∂C/∂w = δ aᵀ, hidden", delta2 @ INPUT.T, grads["F2"]["W"], ("F2", "W")),
        ("BP4", "the same, output", delta3 @ a2.T, grads["F3"]["W"], ("F3", "W")),
    ]
    lines = []
    for equation, formula, theirs, ours, (name, kind) in rows:
        stepped = [small_step(name, kind, place) for place in np.ndindex(PARAMS[name][kind].shape)]
        ours, theirs = ours.ravel(), theirs.ravel()
        agree(equation, (ours, theirs))
        if not np.allclose(stepped, ours, rtol=1e-6, atol=1e-8):
            raise ValueError(f"{equation}: {ours} by backward and {stepped} by small steps")
        lines.append([equation, formula, *(", ".join(f"{v:.6f}" for v in each) for each in (theirs, ours, stepped))])
    heads = ["equation", "formula", "by the formula", "by the engine", "by a small step"]
    literal, only_first = _derivatives()
    _, backward = NETWORK.forward(PARAMS, INPUT)
    said = [
        agree("The loop `way_back` and the engine's own `Sequential`", (nn.pack(grads), nn.pack(backward(d_out)[1]))),
        agree(
            "Document 001's derivatives of the error of output 1, written out factor by factor, and the engine's "
            "backward of that error alone",
            (literal, only_first),
        ),
        "The error that reaches the hidden neurons is (W³)ᵀ times the error of the outputs: document 001's "
        "proportional form, without its denominator.",
    ]
    table = tabulate(lines, heads, tablefmt="github", disable_numparse=True)
    return Section("chain", [excerpt(forward), excerpt(way_back)], said, two_ways(passed, errors, grads), table)


def _derivatives() -> tuple[Array, Array]:
    """Document 001's derivatives of e_o1 by w11 and b1 of either layer, and what the engine has for them."""
    passed = forward(NETWORK, PARAMS, INPUT)
    a1, a2, a3 = INPUT[:, 0], passed[1].y[:, 0], passed[3].y[:, 0]
    y1, w11 = 1.0, PARAMS["F3"]["W"][0, 0]
    common = (a3[0] - y1) * a3[0] * (1 - a3[0])
    hidden = common * w11 * a2[0] * (1 - a2[0])
    _, grads = way_back(passed, np.array([[a3[0] - y1], [0.0]]))
    engine = [grads["F3"]["W"][0, 0], grads["F3"]["b"][0], grads["F2"]["W"][0, 0], grads["F2"]["b"][0]]
    return np.array([common * a2[0], common, hidden * a1[0], hidden]), np.array(engine)


def two_ways(passed: Sequence[Passed], errors: dict[str, Array], grads: nn.Params) -> Figure:
    """The small network twice: what goes forward, and what comes back."""
    figure = style.canvas(9, 3.5, title="document 001's network: forward, and back")
    left, right = figure.subplots(1, 2)
    outputs = [INPUT[:, 0], passed[1].y[:, 0], passed[3].y[:, 0]]
    weights = [PARAMS[name]["W"] for name in ("F2", "F3")]
    names = [("input", "input"), ("hidden a", "hidden a"), ("output a", "output a")]
    _network(left, outputs, weights, [name[0] for name in names], "forward: outputs a on neurons, weights on lines")
    deltas = [errors["input"][:, 0], errors["F2"][:, 0], errors["F3"][:, 0]]
    slopes = [grads[name]["W"] for name in ("F2", "F3")]
    title = "back: errors δ on neurons, ∂C/∂w on lines"
    _network(right, deltas, slopes, ["∂C/∂input", "hidden δ", "output δ"], title)
    return figure


def _network(axes: Axes, values: list[Array], wires: list[Array], names: list[str], title: str) -> None:
    """Columns of two neurons with numbers in them, and a number on each line between two columns."""
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for column, matrix in enumerate(wires):
        for (j, k), weight in np.ndenumerate(matrix):
            axes.plot([column, column + 1], [-k, -j], color="0.5", linewidth=1, zorder=1)
            along = 0.5 if j == k else 0.3
            place = column + along, -k + along * (k - j)
            text = style.plain(weight, 3)
            axes.text(*place, text, ha="center", va="center", fontsize=8, bbox=white, zorder=2)
    for column, layer in enumerate(values):
        for row, value in enumerate(layer):
            axes.scatter(column, -row, s=1500, color="white", edgecolor="black", zorder=3)
            text = style.plain(value, 3)
            axes.text(column, -row, text, ha="center", va="center", fontsize=8, zorder=4)
        axes.text(column, 0.42, names[column], ha="center", fontsize=8)
    axes.set(xlim=(-0.35, 2.35), ylim=(-1.4, 0.6))
    axes.axis("off")
    axes.set_title(title, fontsize=SMALL)


def descent(rate: float, steps: int = 12) -> Array:
    """Where gradient descent takes one weight that starts at 1, the cost being half its square."""
    neuron, optimizer, theta = nn.Dense(1, bias=False), nn.SGD(), np.ones(1)
    path = [1.0]
    for _ in range(steps):
        y, backward = neuron.forward({"W": theta[None]}, np.ones((1, 1)))  # one input of 1; the target is 0
        optimizer.step(theta, nn.pack(backward(y)[1]), {}, rate)
        path.append(float(theta[0]))
    return np.array(path)


@style.own_style()
def steps() -> Section:
    """Gradient descent at four learning rates."""
    figure = style.canvas(9, 2.6, title="gradient descent on C = w²/2 from w = 1, twelve steps at four learning rates")
    found = {rate: descent(rate) for rate in RATES}
    curve = np.linspace(-1.6, 1.6, 101)
    for axes, (rate, path) in zip(figure.subplots(1, 4, sharey=True), found.items(), strict=True):
        axes.plot(curve, curve**2 / 2, color="0.7")
        seen = path[np.abs(path) < 1.6]
        axes.plot(seen, seen**2 / 2, color="black", marker="o", markersize=3.5, linewidth=0.8)
        axes.set(xlabel="weight w", xlim=(-1.65, 1.65), ylim=(-0.08, 1.3))
        axes.set_title(f"rate {rate:g}: {RATES[rate]}", fontsize=SMALL)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("cost C")
    literal = {rate: (1 - rate) ** np.arange(13.0) for rate in RATES}
    said = [
        "After twelve steps the weight is "
        + ", ".join(f"{path[-1]:.3g} at the rate {rate:g}" for rate, path in found.items())
        + ". It should be 0.",
        agree(
            "The engine's paths and w ← w - α w, which is (1 - α)ⁿ after n steps,",
            *((path, literal[rate]) for rate, path in found.items()),
        ),
    ]
    return Section("steps", [excerpt(nn.SGD.update), excerpt(descent)], said, figure)


@style.own_style()
def dropout() -> Section:
    """What dropout does to a digit's pixels while a network learns, and when it answers."""
    picture, layer = digit(5), nn.Dropout(0.5)
    x = picture[:, None, :, None]

    def drawn(seed: int) -> Array:
        return layer.forward({}, x, np.random.default_rng(seed))[0][:, 0, :, 0]

    mean = np.mean([drawn(seed) for seed in range(1000)], axis=0)
    figure = style.canvas(9, 2.05, title="dropout at the rate 0.5, here of pixels")
    shown: dict[str, Callable[[], Array]] = {
        "a digit": lambda: picture,
        "training, one draw": lambda: drawn(0),
        "training, another draw": lambda: drawn(1),
        "mean of 1,000 draws": lambda: mean,
        "predicting": lambda: layer.forward({}, x)[0][:, 0, :, 0],
    }
    for axes, (name, made) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        ink(axes, made(), name, top=510)
    first = drawn(0)
    inked = picture > 0
    y, backward = layer.forward({}, x, np.random.default_rng(0))
    said = [
        f"Of {np.count_nonzero(inked)} pixels with ink {np.count_nonzero(first[inked])} are kept in the first draw, "
        f"each doubled, so that the mean stays: over 1,000 draws the pixels' mean is {mean.mean():.1f}, and the "
        f"digit's is {picture.mean():.1f}.",
        agree("Going back, x as an error, and x as the input of the same draw,", (backward(x)[0], y))
        + " So what was dropped passes nothing back.",
        "When predicting, nothing is dropped.",
    ]
    return Section("dropout", [excerpt(nn.Dropout.forward)], said, figure)
