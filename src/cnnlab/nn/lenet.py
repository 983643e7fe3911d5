"""Layers of LeCun's networks alone: trainable subsampling, outputs that are distances, copies of maps."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from cnnlab.nn.layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape
from cnnlab.nn.options import Natural, Positive, refuse
from cnnlab.nn.pool import Pool
from cnnlab.nn.windows import pair, refuse_vectors


@dataclass(frozen=True)
class Subsample(Pool):
    """LeNet-5's S layers: `y = W s + b` with s the sum of the window, one W and one b for each map.

    (LeCun et al. 1998, II-B.) `mean` takes the window's mean instead, as II-A words it. The activation is a layer of
    its own. Parameters: `W` and `b` (C,), starting at `coefficient` and `bias`.
    """

    forgets_output: ClassVar[bool] = True

    mean: bool = False
    coefficient: float = 0.5
    bias: float = 0.0

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """The same values for all maps."""
        W, b = (np.full(shape[1], value, np.float32) for value in (self.coefficient, self.bias))
        return {"W": W, "b": b}, self.out_shape(shape)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = W s + b`, so that `dW = sum dy s`, `db = sum dy`, and each value of the window gets `dx = W dy`."""
        sums = self._sums(x, dx)
        (W, b), s, dy = (params[name][:, None, None] for name in "Wb"), sums.y, sums.dy
        y = np.empty_like(s)

        def forward(rng: Rng | None) -> None:
            sums.forward(rng)
            if self.mean:
                np.multiply(s, self._share, out=s)
            np.multiply(s, W, out=y)
            np.add(y, b, out=y)

        def backward() -> None:
            np.einsum("hcwn,hcwn->c", dy, s, out=grads["W"])
            np.einsum("hcwn->c", dy, out=grads["b"])
            np.multiply(dy, W, out=dy)
            if self.mean:
                np.multiply(dy, self._share, out=dy)
            sums.backward()

        return Bound(y, dy, forward, backward)

    @property
    def _share(self) -> float:
        return 1 / prod(pair(self.size)) if self.mean else 1.0

    def curvature(self, params: Params, x: Array) -> Backward:
        """`W^2 h` to each value of the window, by its share squared; `sum h s^2` to W and `sum h` to b."""
        dx = np.empty_like(x)
        sums, scale = self._sums(x, dx), np.square(params["W"] * self._share)[:, None, None]
        sums.forward(None)
        s = sums.y * self._share

        def backward(h: Array) -> tuple[Array, Params]:
            np.multiply(h, scale, out=sums.dy)
            sums.backward()
            return dx.copy(), {"W": (h * s * s).sum((0, 2, 3)), "b": h.sum((0, 2, 3))}

        return backward

    def cost(self, shape: Shape) -> Cost:
        """Each output is connected to its window and its bias, and costs one multiplication."""
        rows, channels, columns = self.out_shape(shape)
        units, window = rows * channels * columns, prod(pair(self.size))
        return Cost(2 * channels, units * (window + 1), units)


@dataclass(frozen=True, eq=False)
class RBF(Layer):
    """Euclidean radial basis units with fixed codes: `y_i = -factor sum_j (x_j - c_ij)^2`.

    The paper's output is the distance itself (LeCun et al. 1998, Eq. 7) and the smallest wins; here it is negated, so
    that the largest output wins, as everywhere. `codes` is (units, D); nothing is trained. The paper's factor is 1,
    that of LeCun's later code 1/2.
    """

    codes: Array
    factor: Positive = 1.0

    def __post_init__(self) -> None:
        """Codes must be a matrix."""
        super().__post_init__()
        if self.codes.ndim != 2:
            refuse("codes", f"an array of shape {self.codes.shape}", "one of shape (units, D)")

    def __eq__(self, other: object) -> bool:
        """The same codes and factor."""
        return isinstance(other, RBF) and self.factor == other.factor and np.array_equal(self.codes, other.codes)

    def __hash__(self) -> int:
        """The hash of codes and factor."""
        return hash((self.codes.tobytes(), self.factor))

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the outputs, (units,): one for each code."""
        units, width = self.codes.shape
        if shape != (width,):
            raise ValueError(f"the codes have {width} components, but the layer before gives {shape}")
        return (units,)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y_i = -factor |x - c_i|^2`, so that `dx = -2 factor sum_i (x - c_i) dy_i`; y is `[units, N]`."""
        codes = self.codes.astype(x.dtype)
        apart = np.empty((*codes.shape, x.shape[-1]), x.dtype)
        y, dy = np.empty((2, len(codes), x.shape[-1]), x.dtype)

        def forward(rng: Rng | None) -> None:
            np.subtract(x, codes[..., None], out=apart)
            np.einsum("ijn,ijn->in", apart, apart, out=y)
            np.multiply(y, -self.factor, out=y)

        def backward() -> None:
            if dx is not None:
                np.einsum("ijn,in->jn", apart, dy, out=dx)
                np.multiply(dx, -2 * self.factor, out=dx)

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """`h_x = 2 factor sum_i h_i`: each distance is a parabola, and `h_i` is how much it counts in the loss.

        That is the loss's derivative by the distance, not a second one: see the losses of LeNet-5.
        """
        return lambda h: (np.broadcast_to(2 * self.factor * h.sum(0), x.shape).copy(), {})

    def cost(self, shape: Shape) -> Cost:
        """Fixed connections, none of them a parameter."""
        return Cost(0, self.codes.size, self.codes.size)


@dataclass(frozen=True)
class Repeat(Layer):
    """Each map `times` over, its copies side by side: `[H, C, W, N]` becomes `[H, times * C, W, N]`.

    So two layers of parameters may look at one map, as in LeNet-4.
    """

    times: Natural = 2

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the copied maps, (H, times * C, W)."""
        refuse_vectors(shape)
        return shape[0], self.times * shape[1], shape[2]

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """The copies; the gradient of a map is the sum over them, and so is its curvature."""
        copied = (x.shape[0], x.shape[1], self.times, *x.shape[2:])
        return np.repeat(x, self.times, axis=1), lambda dy: (dy.reshape(copied).sum(2), {})
