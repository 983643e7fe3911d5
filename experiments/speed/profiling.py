"""Where our own time goes: in a training step layer by layer, and in whole trainings of more and more images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from math import log
from time import perf_counter
from typing import Any

from cases import EPOCH, EPOCH_RATE, STEP, STEP_RATE, Case
from cnnlab.data import mnist
from cnnlab.nn import Activation, Bound, subnormals_flushed
from cnnlab.nn.layer import SAID
from ours import Training, epochs, recipe, stepping

SECONDS, FEWEST = 3.0, 30  # how long a profile takes, and how many steps at least
SHOWN = 10  # one of so many steps is shown, the fastest: what else is going on here has slowed the others
FORWARD, BACKWARD = "forward", "backward"
Clock = dict[tuple[str, str], float]  # seconds of one step, by part and direction
WHOLE = ("step", FORWARD)


def profile(network: str, batch: int, seconds: float = SECONDS) -> str:
    """The table of a step's parts: milliseconds forward and backward, and their share of the step.

    They are means over the fastest steps, and over the same ones for all parts and for the whole: so they add up.
    """
    clock: Clock = {}
    how = instrumented(recipe(Case(STEP, network, batch), STEP_RATE), clock)
    step = _clocked(stepping(how), clock, WHOLE)
    steps: list[Clock] = []
    with subnormals_flushed():
        for _ in range(5):
            step()  # the first steps are slower
        while sum(measured[WHOLE] for measured in steps) < seconds or len(steps) < FEWEST:
            clock.clear()
            step()
            steps.append(dict(clock))
    fastest = sorted(steps, key=lambda measured: measured[WHOLE])[: len(steps) // SHOWN]
    parts = how.network.layers | {"loss": how.loss, "optimiser": how.optimizer}
    title = f"{network}, batch {batch}: means of the {len(fastest)} fastest of {len(steps)} steps"
    return f"{title}\n\n{_profile_table({name: type(part).__name__ for name, part in parts.items()}, fastest)}"


def instrumented(how: Training, clock: Clock) -> Training:
    """The recipe with a clock in each layer, in the loss and in the optimiser."""
    layers = {
        name: _timed(layer, "bind_over" if isinstance(layer, Activation) else "bind", name, clock)
        for name, layer in how.network.layers.items()
    }
    return replace(
        how,
        network=replace(how.network, layers=layers),
        loss=_timed(how.loss, "__call__", "loss", clock),
        optimizer=_timed(how.optimizer, "step", "optimiser", clock),
    )


def _timed(thing: Any, method: str, name: str, clock: Clock) -> Any:
    """The same dataclass with a clock in one of its methods, or in what its `bind` or `bind_over` returns.

    Its class is a subclass of the original, so that `isinstance` answers as before.
    """
    original = getattr(type(thing), method)

    def bound(self: Any, *arguments: Any) -> Bound:
        found = original(self, *arguments)
        return found._replace(
            forward=_clocked(found.forward, clock, (name, FORWARD)),
            backward=_clocked(found.backward, clock, (name, BACKWARD)),
        )

    with_clock = bound if method.startswith("bind") else _clocked(original, clock, (name, FORWARD))
    said = {name: getattr(thing, name) for name in SAID if hasattr(thing, name)}  # it computes as before
    kind = type(type(thing).__name__, (type(thing),), {method: with_clock, **said})
    return kind(**{field.name: getattr(thing, field.name) for field in fields(thing) if field.init})


def _clocked(f: Callable[..., Any], clock: Clock, key: tuple[str, str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        began = perf_counter()
        answer = f(*arguments)
        clock[key] = clock.get(key, 0.0) + perf_counter() - began  # a batch may come in several pieces
        return answer

    return call


def _profile_table(parts: Mapping[str, str], steps: Sequence[Clock]) -> str:
    from tabulate import tabulate

    def milliseconds(part: str, way: str) -> float:
        return 1e3 * statistics.fmean(step.get((part, way), 0.0) for step in steps)

    whole = milliseconds(*WHOLE)
    times = [(name, kind, milliseconds(name, FORWARD), milliseconds(name, BACKWARD)) for name, kind in parts.items()]
    rest = whole - sum(forward + backward for *_, forward, backward in times)
    times += [("rest", "", rest, 0.0), ("step", "", whole, 0.0)]
    rows = [
        (name, kind, *(f"{time:.3f}" if time else "" for time in pair), f"{sum(pair) / whole:.1%}")
        for name, kind, *pair in times
    ]
    headers = ("part", "", "forward ms", "backward ms", "share")
    return tabulate(rows, headers, colalign=("left", "left", "right", "right", "right"), disable_numparse=True)


IMAGES, EPOCHS, FEW = (5_000, 15_000, 30_000, 60_000), (1, 2, 4, 8), 5_000
GROWTH_ROUNDS = 3
Size = tuple[int, int]  # training images, epochs
SIZES: tuple[Size, ...] = (*((images, 1) for images in IMAGES), *((FEW, number) for number in EPOCHS[1:]))


def growth(network: str = "lenet5_relu", batch: int = 64) -> dict[Size, list[float]]:
    """Seconds of whole trainings, without evaluation, by size: round by round, the sizes in turns."""
    data = mnist(validation=0)
    how = recipe(Case(EPOCH, network, batch), EPOCH_RATE, data.normalizer.background)
    seconds: dict[Size, list[float]] = {size: [] for size in SIZES}
    for _ in range(GROWTH_ROUNDS):
        for (images, number), measured in seconds.items():
            part, short = replace(data, train=data.train[:images]), replace(how, epochs=number)
            began = perf_counter()
            for _ in epochs(short, part):
                pass
            measured.append(perf_counter() - began)
    return seconds


def exponent(seconds: Mapping[Size, list[float]]) -> float:
    """The p of `seconds = c (images x epochs)^p`, by least squares over logarithms; 1 is in proportion."""
    images = [log(images * number) for images, number in seconds]
    return statistics.linear_regression(images, [log(statistics.median(times)) for times in seconds.values()]).slope


def growth_table(seconds: Mapping[Size, list[float]]) -> str:
    """The sizes, one a row, and the exponent."""
    from tabulate import tabulate

    medians = {size: statistics.median(times) for size, times in seconds.items()}
    rows = [
        (f"{images:,}", number, f"{median:.2f}", f"{1e6 * median / (images * number):.1f}")
        for (images, number), median in medians.items()
    ]
    headers = ("images", "epochs", "seconds", "microseconds per image and epoch")
    columns = tabulate(rows, headers, colalign=("right",) * 4, disable_numparse=True)
    return f"{columns}\n\nseconds grow as (images x epochs)^{exponent(seconds):.3f}"
