"""Literal sums over indices, as the founding documents print them, for single maps in float64.

`at` reads an array that is zero outside its bounds, so that a sum may run over all integers.
"""

from collections.abc import Callable

import numpy as np

from cnnlab.nn import Layer
from cnnlab.nn.layer import Array, Params

# The six maps of S2 that each of the sixteen maps of C3 sees (LeCun et al. 1998, Table 1).
TABLE_1 = [[(k + i) % 6 for i in range(3)] for k in range(6)]
TABLE_1 += [[(k + i) % 6 for i in range(4)] for k in range(6)]
TABLE_1 += [[(k + i) % 6 for i in (0, 1, 3, 4)] for k in range(3)] + [[0, 1, 2, 3, 4, 5]]


def normal(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float64 numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def run(layer: Layer, params: Params, x: Array, seed: int = 9) -> tuple[Array, Array, Array, Params]:
    """Output, a random error at the output, and what backward makes of it: (y, delta, dx, grads)."""
    y, backward = layer.forward(params, x)
    delta = normal(*y.shape, seed=seed)
    return y, delta, *backward(delta)


def at(array: Array, i: int, j: int) -> float:
    """`array[i, j]`, and 0 where there is no such element."""
    rows, columns = array.shape
    return float(array[i, j]) if 0 <= i < rows and 0 <= j < columns else 0.0


def table(shape: tuple[int, ...], value: Callable[..., float]) -> Array:
    """The array whose elements are `value(i, j, ...)`."""
    return np.array([value(*index) for index in np.ndindex(shape)]).reshape(shape)


def convolve(y: Array, w: Array, shape: tuple[int, int], s: int, g: int, centre: tuple[int, int]) -> Array:
    """`x_ij = sum_ab w_ab y[is - g a, js - g b]`: g = 1 convolution, g = -1 cross-correlation.

    The kernel's indices a and b are counted from its centre (document 003).
    """
    p, q = centre
    A, B = range(-p, w.shape[0] - p), range(-q, w.shape[1] - q)
    return table(
        shape,
        lambda i, j: sum(w[a + p, b + q] * at(y, i * s - g * a, j * s - g * b) for a in A for b in B),
    )


def kernel_gradient(delta: Array, y: Array, shape: tuple[int, int], s: int, g: int, centre: tuple[int, int]) -> Array:
    """`dE/dw_ab = sum_ij delta_ij y[is - g a, js - g b]` (document 003)."""
    p, q = centre
    I, J = map(range, delta.shape)  # noqa: E741 - the formula's letters
    return table(
        shape,
        lambda m, n: sum(delta[i, j] * at(y, i * s - g * (m - p), j * s - g * (n - q)) for i in I for j in J),
    )


def input_gradient(delta: Array, w: Array, shape: tuple[int, int], s: int, g: int, centre: tuple[int, int]) -> Array:
    """`dE/dy_ij = sum_i'j' delta_i'j' w[g (i's - i), g (j's - j)]` (document 003)."""
    p, q = centre
    I, J = map(range, delta.shape)  # noqa: E741 - the formula's letters
    return table(
        shape,
        lambda i, j: sum(delta[k, m] * at(w, g * (k * s - i) + p, g * (m * s - j) + q) for k in I for m in J),
    )
