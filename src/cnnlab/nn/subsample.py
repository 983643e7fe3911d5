"""LeNet-5's S layers: pooling by a sum with a trained coefficient and bias."""

from dataclasses import dataclass
from math import prod

import numpy as np

from .layer import Array, Backward, Bound, Cost, Params, Rng, Shape, squared
from .pool import Pool, summed
from .windows import pair


@dataclass(frozen=True)
class Subsample(Pool):
    """LeNet-5's S layers: ``y = W s + b`` with s the sum of the window, one W and one b to a map.

    (LeCun et al. 1998, II-B.) ``mean`` takes the window's mean instead, as II-A words it. The squashing
    function comes as a layer of its own. Parameters: ``W`` and ``b`` (C,), starting at ``coefficient`` and ``bias``.
    """

    mean: bool = False
    coefficient: float = 0.5
    bias: float = 0.0

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """All maps alike."""
        W, b = (np.full(shape[1], value, np.float32) for value in (self.coefficient, self.bias))
        return {"W": W, "b": b}, self.out_shape(shape)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """``[H_out, C, W_out, N]``."""
        tiles, y, dy, parts, collect = self._laid_out(x, dx)
        (W, b), s = (params[name][:, None, None] for name in "Wb"), np.empty_like(y)

        def forward(rng: Rng | None) -> None:
            np.multiply(summed(tiles, s), self._share, out=s)
            np.multiply(s, W, out=y)
            np.add(y, b, out=y)

        def backward() -> None:
            np.einsum("hcwn,hcwn->c", dy, s, out=grads["W"])
            np.einsum("hcwn->c", dy, out=grads["b"])
            np.multiply(dy, W * self._share, out=dy)
            for part in parts:
                np.copyto(part, dy)
            collect()

        return Bound(y, dy, forward, backward)

    @property
    def _share(self) -> float:
        return 1 / prod(pair(self.size)) if self.mean else 1.0

    def curvature(self, params: Params, x: Array) -> Backward:
        """``W^2`` to each value of the window, by its share squared; ``sum h s^2`` to W and ``sum h`` to b."""
        s, _ = self.forward({"W": np.ones_like(params["W"]), "b": np.zeros_like(params["b"])}, x)
        _, back = self.forward(squared(params), x)

        def backward(h: Array) -> tuple[Array, Params]:
            return back(h * self._share)[0], {"W": (h * s * s).sum((0, 2, 3)), "b": h.sum((0, 2, 3))}

        return backward

    def cost(self, shape: Shape) -> Cost:
        """Each output is connected to its window and its bias; one multiplication to an output."""
        rows, channels, columns = self.out_shape(shape)
        units, window = rows * channels * columns, prod(pair(self.size))
        return Cost(2 * channels, units * (window + 1), units)
