"""How slowly squared error begins: one sigmoid neuron, and the first 500 steps of the runs of the study `loss`.

python experiments/loss/slowdown.py computes the neuron of Nielsen's chapter 3 with the engine's own layers, reads the
first steps of the finished runs, if the store here has any, and writes `neuron.csv`, `first_steps.csv`, a figure of
each, and the numbers of README.md that stand between the comments `slowdown`. Figures and numbers are made from the
two files alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab import nn, plots
from cnnlab.commands import in_one_line
from cnnlab.composing import sweep_of
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.plots import style
from cnnlab.plots.style import Array
from cnnlab.report.arms import arms, swept
from cnnlab.report.tables import as_csv, count, replaced
from cnnlab.summaries import records_of
from cnnlab.tracking.records import curve
from cnnlab.tracking.store import Study, studies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent
STUDY, METRIC = "loss", "first_steps/loss"
NEURON, STEPS = "neuron.csv", "first_steps.csv"
STARTS = ((0.6, 0.9), (2.0, 2.0))  # weight and bias
LOSSES = {  # with the rates that Nielsen chose
    "squared error": (nn.MeanSquaredError(), 0.15),
    "cross-entropy": (nn.BinaryCrossEntropy(), 0.005),
}
EPOCHS = 300
SMOOTHED = 25  # steps that a point of a curve is the mean of: itself and those around it

Lines = Sequence[Mapping[str, Any]]
Columns = Mapping[str, Array]  # the mean loss of each arm at the steps 1, 2, ...


def main(folder: Path = FOLDER) -> None:
    """Compute, read and write all."""
    lines = [line for start in STARTS for loss in LOSSES for line in neuron(loss, *start)]
    write_atomically(folder / NEURON, as_csv(lines).encode())
    if found := first_steps():
        rows = [dict(zip(found, map("{:.5g}".format, row), strict=True)) for row in zip(*found.values(), strict=True)]
        numbered = [{"step": step} | row for step, row in enumerate(rows, 1)]
        write_atomically(folder / STEPS, as_csv(numbered).encode())
    write(folder)


def neuron(loss: str, weight: float, bias: float) -> list[dict[str, Any]]:
    """A sigmoid neuron with the input 1 that should answer 0: what it is before each epoch and after the last one.

    The engine's losses want 1 of one output and 0 of all others. So there are two neurons, which learn side by side:
    the second is the one that is asked for, and the first its mirror image, whose target is 1.
    """
    layers = {"F": nn.Dense(2), "A": nn.Sigmoid()}
    params = {"F": {"W": np.array([[-weight], [weight]]), "b": np.array([-bias, bias])}, "A": {}}
    theta = nn.pack(params)
    workspace = nn.Workspace(nn.Sequential(layers), nn.unpack(theta, params), (1,))
    criterion, rate = LOSSES[loss]
    lines, optimizer = list[dict[str, Any]](), nn.SGD()
    for epoch in range(EPOCHS + 1):
        both, outputs, gradient = workspace.loss_gradient(criterion, np.ones((1, 1)), np.zeros(1, int), None)
        slope = nn.unpack(gradient, params)["F"]["W"][1, 0]
        found = {"output": outputs[1, 0], "cost": both / 2, "slope": slope}
        start = {"loss": loss, "weight": weight, "bias": bias, "epoch": epoch}
        lines.append(start | {name: f"{value:.6f}" for name, value in found.items()})
        optimizer.step(theta, gradient, {}, rate)
    return lines


def first_steps() -> dict[str, Array]:
    """The loss of each update that finished runs recorded, a mean over the seeds of each arm; empty without any."""
    if STUDY not in {study.name for study in studies()}:
        return {}
    study, sweep = Study.open(STUDY), sweep_of(STUDY)
    records = records_of(study, sweep, runs := study.newest([plan.fingerprint for plan in sweep.plans]))
    by_id = {run.info.run_id: run for run in runs.values()}
    found = {}
    for arm in arms(records, swept(records)):
        curves = [curve(study, by_id[record.run_id], METRIC) for record in arm.finished]
        losses = [[value for _, value in sorted(points.items())] for points in curves if points]
        if losses:
            found[arm.label] = np.mean([each[: min(map(len, losses))] for each in losses], axis=0)
    steps = max(map(len, found.values()), default=0)
    return {arm: np.pad(values, (0, steps - len(values)), constant_values=math.nan) for arm, values in found.items()}


def write(folder: Path) -> None:
    """Write the figures, and the numbers of the page, from the two files."""
    lines, losses = read(folder)
    write_atomically(folder / "slowdown.png", plots.png(neurons(lines)))
    if losses:
        write_atomically(folder / "first_steps.png", plots.png(steps(losses)))
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "<!-- slowdown -->\n<!-- /slowdown -->\n"
    write_atomically(page, replaced(text, "slowdown", numbers(lines, losses)).encode())


def read(folder: Path) -> tuple[Lines, Columns]:
    """What the two files say; the second one may not be there yet."""
    lines = _rows(folder / NEURON)
    rows = _rows(folder / STEPS) if (folder / STEPS).exists() else []
    names = [name for name in rows[0] if name != "step"] if rows else []
    return lines, {name: np.array([float(row[name]) for row in rows]) for name in names}


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def smooth(values: Array) -> Array:
    """Each value's mean with those around it: `SMOOTHED` in all, fewer at the ends."""
    sums = np.convolve(values, np.ones(SMOOTHED), "same")
    return sums / np.convolve(np.ones(len(values)), np.ones(SMOOTHED), "same")


def steps_to_half(values: Array) -> int | None:
    """The first step at which the smoothed loss is half of the first step's loss or less; None where it never is."""
    below = np.flatnonzero(smooth(values) <= values[0] / 2)
    return int(below[0]) + 1 if below.size else None


def numbers(lines: Lines, losses: Columns) -> str:
    """The part of the page that is made from the two files."""
    said = [_of_neuron(lines, loss) for loss in LOSSES]
    if losses:
        halves = {arm: steps_to_half(values) for arm, values in losses.items()}
        order = sorted(halves, key=lambda arm: (halves[arm] is None, halves[arm] or 0))
        parts = [f"{arm} {halves[arm] or 'not in ' + count(len(losses[arm]), 'step')}" for arm in order]
        said.append(f"Steps until the loss (smoothed) is half of the first step's: {', '.join(parts)}.")
    shown = ["\n".join(f"- {sentence}" for sentence in said)]
    shown += ["![The output and the cost of one neuron, by squared error and by cross-entropy](slowdown.png)"]
    shown += ["![The loss of the first steps of each arm](first_steps.png)"] * bool(losses)
    return "\n\n".join(shown)


def _of_neuron(lines: Lines, loss: str) -> str:
    """What the neuron does by one loss from both starts."""
    starts = [_of(lines, loss, start) for start in STARTS]
    first, second = ([float(line["output"]) for line in each] for each in starts)
    slopes = [float(each[0]["slope"]) for each in starts]
    half = [next((f"in epoch {epoch}" for epoch, y in enumerate(ys) if y < 0.5), "never") for ys in (first, second)]
    return (
        f"By {loss} (rate {LOSSES[loss][1]:g}) the first slope of the cost by the weight is {slopes[0]:.3f} where the "
        f"output is {first[0]:.2f}, and {slopes[1]:.3f} where it is {second[0]:.2f}, which is more wrong. After "
        f"{EPOCHS} epochs the outputs are {first[-1]:.2f} and {second[-1]:.2f}; they fall below 0.5 {half[0]} and "
        f"{half[1]}."
    )


def _of(lines: Lines, loss: str, start: tuple[float, float]) -> Lines:
    return [line for line in lines if line["loss"] == loss and (float(line["weight"]), float(line["bias"])) == start]


@style.own_style()
def neurons(lines: Lines) -> Figure:
    """The neuron's output over the epoch: a panel for each loss, a line for each start."""
    figure = style.canvas(8, 3.4, title="one sigmoid neuron learns to answer 0")
    panels = figure.subplots(1, len(LOSSES), sharey=True)
    for axes, (loss, (_, rate)) in zip(panels, LOSSES.items(), strict=True):
        for start, colour, dash in zip(STARTS, style.COLOURS, style.DASHES, strict=False):
            outputs = [float(line["output"]) for line in _of(lines, loss, start)]
            axes.plot(outputs, color=colour, linestyle=dash, label=f"from weight {start[0]:g}, bias {start[1]:g}")
        axes.set(xlabel="epoch", title=f"{loss}, rate {rate:g}", ylim=(0, 1))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("output (0 is right)")
    panels[-1].legend(fontsize=8, loc="lower left")
    return figure


@style.own_style()
def steps(losses: Columns) -> Figure:
    """The loss of the first steps as a share of the first step's, a panel for each half of the name, a line an arm.

    The arms are called activation_loss, and losses keep their look.
    """
    split = {arm: arm.partition("_") for arm in losses}
    groups, kinds = dict.fromkeys(name[0] for name in split.values()), dict.fromkeys(name[2] for name in split.values())
    looks = dict(zip(kinds, style.looks(len(kinds)), strict=True))
    figure = style.canvas(9, 4.2, title=f"first steps: mean over seeds, each point the mean of {SMOOTHED} steps")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, groups, strict=True):
        for arm, (first, _, kind) in split.items():
            if first == group:
                shown = smooth(losses[arm]) / losses[arm][0]
                axes.plot(np.arange(1, len(shown) + 1), shown, label=kind.replace("_", " "), **looks[kind])
        _finish(axes, group)
    panels[0].set_ylabel("loss / loss of the first step")
    return figure


def _finish(axes: Axes, title: str) -> None:
    axes.set(xlabel="step", title=title, yscale="log")
    style.plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")  # the losses fall


if __name__ == "__main__":
    refuse_other_checkout()
    with in_one_line():
        main()
