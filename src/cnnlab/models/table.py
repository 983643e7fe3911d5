"""A network as the paper's table: what each layer puts out, and what it costs."""

from ..nn import Cost, Sequential


def costs(network: Sequential, shape: tuple[int, ...]) -> list[tuple[str, str, str, Cost]]:
    """The paper's table of a network: (name, kind, output, cost) for each layer, for images of a shape."""
    shapes = network.shapes(shape)
    return [
        (name, type(layer).__name__, _printed(out), layer.cost(given))
        for (name, layer), given, out in zip(network.layers.items(), shapes, shapes[1:], strict=False)
    ]


def describe(network: Sequential, shape: tuple[int, ...]) -> str:
    """That table as text, with its totals."""
    from tabulate import tabulate

    rows = [(name, kind, out, *cost) for name, kind, out, cost in costs(network, shape)]
    rows.append(("total", "", "", *network.cost(shape)))
    headers = ("layer", "kind", "output", "parameters", "connections", "multiply-accumulates")
    return tabulate(rows, headers, intfmt=",", colalign=("left", "left", "left", "right", "right", "right"))


def _printed(shape: tuple[int, ...]) -> str:
    """A shape as the paper prints it: maps@rows x columns."""
    return f"{shape[1]}@{shape[0]}x{shape[2]}" if len(shape) == 3 else str(shape[0])
