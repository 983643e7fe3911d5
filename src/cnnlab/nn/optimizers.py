"""Optimisers on one flat vector of parameters, with weight decay and gradient clipping in common."""

from dataclasses import dataclass

import numpy as np

from cnnlab.nn.layer import Array, Rng
from cnnlab.nn.options import BelowOne, Natural, NotNegative, Positive, TypeChecked, refuse

OptimizerState = dict[str, Array]  # what an optimiser remembers, by name: velocity, running means, curvature


@dataclass(frozen=True, kw_only=True)
class Optimizer(TypeChecked):
    """A rule that moves `theta` in place against its gradient.

    `weight_decay` times theta is added to the gradient (L2); before that, `clip_norm` scales a gradient whose Euclidean
    norm is larger down to that norm.
    """

    weight_decay: NotNegative = 0.0
    clip_norm: Positive | None = None

    @property
    def curvature_every(self) -> int:
        """After how many patterns it wants to observe the loss's curvature again; 0 for never."""
        return 0

    def curvature_patterns(self, count: int, rng: Rng) -> Array:
        """The indices of the patterns to compute it on, of so many that there are."""
        raise NotImplementedError

    def observe_curvature(self, curvature: Array, state: OptimizerState) -> None:
        """Take in the mean of `Layer.curvature` over those patterns, a value for each parameter."""

    def init(self, theta: Array) -> OptimizerState:
        """What it remembers before the first step."""
        return {}

    def step(self, theta: Array, gradient: Array, state: OptimizerState, rate: float) -> None:
        """One update of theta and of the state, in place; the gradient may be overwritten."""
        if self.clip_norm is not None:
            norm = float(np.linalg.norm(gradient))
            gradient *= min(1.0, self.clip_norm / norm) if norm > 0 else 1.0
        if self.weight_decay:
            gradient += self.weight_decay * theta
        self.update(theta, gradient, state, rate)

    def update(self, theta: Array, gradient: Array, state: OptimizerState, rate: float) -> None:
        """The rule itself, for a gradient that is clipped and has its decay."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """`v = momentum v + g; theta -= rate v`; Nesterov's form steps along `g + momentum v`.

    The rate multiplies outside the velocity, as in PyTorch (Sutskever et al. 2013 put it inside).
    """

    momentum: BelowOne = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Nesterov's form needs momentum."""
        super().__post_init__()
        if self.nesterov and not self.momentum:
            refuse("nesterov", "true", "a momentum above 0")

    def init(self, theta: Array) -> OptimizerState:
        """A velocity, where there is momentum."""
        return {"velocity": np.zeros_like(theta)} if self.momentum else {}

    def update(self, theta: Array, gradient: Array, state: OptimizerState, rate: float) -> None:
        """`v = momentum v + g; theta -= rate v`, or with Nesterov's form `theta -= rate (g + momentum v)`."""
        direction = gradient
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += gradient
            direction = gradient + self.momentum * velocity if self.nesterov else velocity
        theta -= np.multiply(rate, direction, out=gradient)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps by the gradient's running mean over the root of its running square (Kingma and Ba 2015)."""

    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: Positive = 1e-8

    def init(self, theta: Array) -> OptimizerState:
        """Running mean, running square, and the number of steps so far."""
        return {"mean": np.zeros_like(theta), "square": np.zeros_like(theta), "steps": np.zeros((), np.int64)}

    def update(self, theta: Array, gradient: Array, state: OptimizerState, rate: float) -> None:
        """Algorithm 1, with the two bias corrections."""
        mean, square = state["mean"], state["square"]
        state["steps"] += 1
        steps = int(state["steps"])
        mean += (1 - self.beta1) * (gradient - mean)
        square += (1 - self.beta2) * (gradient * gradient - square)
        root = np.sqrt(square / (1 - self.beta2**steps)) + self.epsilon
        theta -= rate / (1 - self.beta1**steps) * mean / root


@dataclass(frozen=True)
class DiagonalLM(Optimizer):
    """Stochastic diagonal Levenberg-Marquardt (LeCun et al. 1998, App. C): `theta -= rate g / (mu + h)`.

    h is the mean of `Layer.curvature` over `samples` patterns, at random each time or always the `first` ones. It is
    computed at the start of each pass and again after `every` patterns. The paper does so once in a pass, does not say
    on which patterns, and uses the result as it is. But a unit that saturates has no curvature: its weights' rates rise
    to their cap, 1 / mu, and drive it further into saturation. So h is by default the `largest` so far, and rates only
    ever fall.
    """

    mu: Positive = 0.02
    samples: Natural = 500
    every: Natural = 5000
    first: bool = False
    largest: bool = True

    @property
    def curvature_every(self) -> int:
        """It wants the curvature again after so many patterns."""
        return self.every

    def curvature_patterns(self, count: int, rng: Rng) -> Array:
        """`samples` patterns: the first ones, or at random with replacement."""
        return np.arange(min(self.samples, count)) if self.first else rng.integers(count, size=self.samples)

    def init(self, theta: Array) -> OptimizerState:
        """Its state: `h`, the curvature, at first 0; `rates`, one each; the `rate` of these (nan: none yet)."""
        return {"h": np.zeros_like(theta), "rates": np.zeros_like(theta), "rate": np.array(np.nan)}

    def observe_curvature(self, curvature: Array, state: OptimizerState) -> None:
        """Take it as h; where h is to be the `largest` so far, only if it is larger."""
        np.maximum(curvature, state["h"] if self.largest else 0, out=state["h"])
        state["rate"].fill(np.nan)

    def update(self, theta: Array, gradient: Array, state: OptimizerState, rate: float) -> None:
        """`theta -= rate g / (mu + h)`, whose quotients are computed again when rate or h has changed."""
        if float(state["rate"]) != rate:
            np.divide(rate, state["h"] + self.mu, out=state["rates"])
            state["rate"].fill(rate)
        gradient *= state["rates"]
        theta -= gradient
