"""Where the time of our training step goes: layer by layer, forward and backward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from statistics import median
from time import perf_counter
from typing import Any

from ..nn import Bound
from ..training import Recipe
from .cases import STEP_RATE, Case
from .ours import recipe, stepping

SECONDS, FEWEST = 3.0, 30  # how long, and how many steps at least
FORWARD, BACKWARD = "forward", "backward"
Clock = dict[tuple[str, str], float]  # seconds of one step, by part and direction
STEP = ("step", FORWARD)


def timed(thing: Any, method: str, name: str, clock: Clock) -> Any:
    """The same dataclass with a clock in one of its methods, or in what its ``bind`` returns.

    It stays an instance of its class, so that whoever looks at classes treats it as before.
    """
    original = getattr(type(thing), method)

    def bound(self: Any, *arguments: Any) -> Bound:
        found = original(self, *arguments)
        return found._replace(
            forward=_clocked(found.forward, clock, (name, FORWARD)),
            backward=_clocked(found.backward, clock, (name, BACKWARD)),
        )

    with_clock = bound if method == "bind" else _clocked(original, clock, (name, FORWARD))
    kind = type(type(thing).__name__, (type(thing),), {method: with_clock})
    return kind(**{field.name: getattr(thing, field.name) for field in fields(thing) if field.init})


def _clocked(f: Callable[..., Any], clock: Clock, key: tuple[str, str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        began = perf_counter()
        answer = f(*arguments)
        clock[key] = clock.get(key, 0.0) + perf_counter() - began  # a batch may come in several pieces
        return answer

    return call


def instrumented(how: Recipe, clock: Clock) -> Recipe:
    """The recipe with a clock in each layer, in the loss and in the optimiser."""
    layers = {name: timed(layer, "bind", name, clock) for name, layer in how.network.layers.items()}
    return replace(
        how,
        network=replace(how.network, layers=layers),
        loss=timed(how.loss, "__call__", "loss", clock),
        optimizer=timed(how.optimizer, "step", "optimiser", clock),
    )


def profile(network: str, batch: int, seconds: float = SECONDS) -> str:
    """The table of a step's parts: median milliseconds forward and backward, and their share of the step."""
    clock: Clock = {}
    how = instrumented(recipe(Case("step", network, batch), STEP_RATE), clock)
    step = _clocked(stepping(how), clock, STEP)
    steps: list[Clock] = []
    for _ in range(5):
        step()  # what is slow only the first time is not what a step costs
    while sum(measured[STEP] for measured in steps) < seconds or len(steps) < FEWEST:
        clock.clear()
        step()
        steps.append(dict(clock))
    parts = how.network.layers | {"loss": how.loss, "optimiser": how.optimizer}
    title = f"{network}, batch {batch}: medians of {len(steps)} steps"
    return f"{title}\n\n{_table({name: type(part).__name__ for name, part in parts.items()}, steps)}"


def _table(parts: Mapping[str, str], steps: Sequence[Clock]) -> str:
    from tabulate import tabulate

    def milliseconds(part: str, way: str) -> float:
        return 1e3 * median(step.get((part, way), 0.0) for step in steps)

    whole, rest = milliseconds(*STEP), 1e3 * median(2 * step[STEP] - sum(step.values()) for step in steps)
    times = [(name, kind, milliseconds(name, FORWARD), milliseconds(name, BACKWARD)) for name, kind in parts.items()]
    times += [("rest", "", rest, 0.0), ("step", "", whole, 0.0)]
    rows = [
        (name, kind, *(f"{time:.3f}" if time else "" for time in pair), f"{sum(pair) / whole:.1%}")
        for name, kind, *pair in times
    ]
    headers = ("part", "", "forward ms", "backward ms", "share")
    return tabulate(rows, headers, colalign=("left", "left", "right", "right", "right"), disable_numparse=True)
