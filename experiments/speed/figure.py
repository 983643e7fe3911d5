"""The speed of cnnlab beside its peers': how many times as long each takes for the same work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cases import PEERS, STEP
from cnnlab.paths import write_atomically
from cnnlab.plots import png, style
from results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, *THEIRS = style.COLOURS[: 1 + len(PEERS)]
WIDTH = 7.3  # inches: 800 pixels


class Pace(NamedTuple):
    """A piece of work, and by side the quartiles (low, median, high) of its time over ours."""

    label: str
    ratios: Mapping[str, tuple[float, float, float]]


def draw(path: Path, results: Sequence[Result], facts: Mapping[str, Any], threads: int) -> None:
    """Write the figure of some results; `facts` are those of the machine."""
    versions = (("PyTorch", facts["versions"]["torch"]), ("JAX", facts["versions"]["jax"]))
    peers = " and ".join(f"{name} {version}" for name, version in versions if version)
    title = f"{peers} beside cnnlab, {facts['cpu']}, threads each: {threads}"
    write_atomically(path, png(speed(panels(results), title)))


def panels(results: Sequence[Result]) -> dict[str, list[Pace]]:
    """The ratios that there are, as they are drawn: each network's steps by batch, and the longer work."""
    drawn: dict[str, list[Pace]] = {}
    for result in results:
        ratios = {side: ratio for side in PEERS if (ratio := result.ratio(side))}
        if not ratios:
            continue
        kind, network, batch = result.case
        step = kind == STEP
        name, label = (f"{network}, training step", f"batch {batch}") if step else ("longer work", f"{kind}\n{network}")
        drawn.setdefault(name, []).append(Pace(label, ratios))
    return drawn


def speed(panels: Mapping[str, Sequence[Pace]], title: str) -> Figure:
    """Bars of the peers' times over ours, a panel for each kind of work; the shaded part is our time."""
    if not panels:
        figure = style.canvas(WIDTH, 2)
        style.note(figure.subplots(), "nothing to compare with")
        return figure
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    most = max(map(len, panels.values()))
    figure = style.canvas(WIDTH, 1 + rows * (0.45 + 0.17 * most * len(PEERS)))
    places = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for axes, (name, paces) in zip(places, panels.items(), strict=False):
        _draw(axes, paces)
        axes.set_title(name, fontsize=9, loc="left")
    for unused in places[len(panels) :]:
        unused.remove()
    _finish(figure, places[0], title)
    return figure


def _draw(axes: Axes, paces: Sequence[Pace]) -> None:
    thickness = 0.8 / len(PEERS)
    axes.axvspan(0, 1, color=OURS, alpha=0.25, linewidth=0)
    axes.axvline(1, color=OURS, linewidth=1.2)
    for number, side in enumerate(PEERS):
        for row, pace in enumerate(paces):
            if side in pace.ratios:
                _bar(axes, row + (number + 0.5) * thickness - 0.4, thickness, pace.ratios[side], THEIRS[number])
    axes.set_yticks(range(len(paces)), [pace.label for pace in paces], fontsize=8)
    axes.set_ylim(len(paces) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, labelbottom=True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _bar(axes: Axes, place: float, thickness: float, quartiles: tuple[float, float, float], colour: str) -> None:
    low, median, high = quartiles
    axes.barh(place, median, 0.9 * thickness, color=colour)
    axes.plot([low, high], [place, place], color="k", linewidth=0.8, alpha=0.6)
    axes.annotate(f"{median:.1f}×", (high, place), (3, 0), textcoords="offset points", va="center", fontsize=7)


def _finish(figure: Figure, axes: Axes, title: str) -> None:
    """One legend for all panels, and room on the right for the longest bar's number."""
    from matplotlib.patches import Patch

    axes.set_xlim(0, 1.12 * axes.get_xlim()[1])
    handles = [Patch(color=OURS, alpha=0.25, label="cnnlab (= 1)")]
    handles += [Patch(color=colour, label=name) for colour, name in zip(THEIRS, PEERS.values(), strict=False)]
    look = {"ncols": 1 + len(PEERS), "fontsize": 8, "title_fontsize": 10, "frameon": False}
    figure.legend(handles=handles, loc="outside upper center", title=title, **look)
    figure.supxlabel("time for the same work, as a multiple of cnnlab's", fontsize=9)
