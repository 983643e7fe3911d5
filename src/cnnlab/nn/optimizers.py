"""Optimisers on one flat vector of parameters, with weight decay and gradient clipping in common."""

from dataclasses import dataclass

import numpy as np

from .layer import Array, Rng
from .options import at_least, below_one, positive

State = dict[str, Array]


@dataclass(frozen=True)
class Optimizer:
    """A rule that moves ``theta`` in place against its gradient.

    ``weight_decay`` adds its multiple of theta to the gradient (L2); ``clip_norm`` scales a gradient
    whose Euclidean norm is larger down to that norm, before the decay.
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would climb, or stand still."""
        at_least(0, weight_decay=self.weight_decay)
        if self.clip_norm is not None:
            positive(clip_norm=self.clip_norm)

    @property
    def looks(self) -> int:
        """After how many patterns of a pass it wants to look at the curvature again: 0 for never."""
        return 0

    def patterns(self, count: int, rng: Rng) -> Array:
        """Which of so many patterns it then looks at."""
        raise NotImplementedError

    def look(self, curvature: Array, state: State) -> None:
        """Take in the mean of what ``Layer.curvature`` finds, a value for each parameter."""

    def init(self, theta: Array) -> State:
        """The optimiser's own vectors before the first step, by name."""
        return {}

    def step(self, theta: Array, gradient: Array, state: State, rate: float) -> None:
        """One update of theta and of the state, in place; the gradient may be overwritten."""
        if self.clip_norm is not None:
            norm = float(np.linalg.norm(gradient))
            gradient *= min(1.0, self.clip_norm / norm) if norm > 0 else 1.0
        if self.weight_decay:
            gradient += self.weight_decay * theta
        self.update(theta, gradient, state, rate)

    def update(self, theta: Array, gradient: Array, state: State, rate: float) -> None:
        """The rule itself."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """``v = momentum v + g; theta -= rate v``; Nesterov's form steps along ``g + momentum v``.

    The rate multiplies outside the velocity, as in PyTorch (Sutskever et al. 2013 put it inside).
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Refuse a momentum that would not fade, and Nesterov's form without any."""
        super().__post_init__()
        below_one(momentum=self.momentum)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true: choose a momentum above 0")

    def init(self, theta: Array) -> State:
        """A velocity, where there is momentum."""
        return {"velocity": np.zeros_like(theta)} if self.momentum else {}

    def update(self, theta: Array, gradient: Array, state: State, rate: float) -> None:
        """See the class."""
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

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse means that would never move, and a division by zero."""
        super().__post_init__()
        below_one(beta1=self.beta1, beta2=self.beta2)
        positive(epsilon=self.epsilon)

    def init(self, theta: Array) -> State:
        """Running mean, running square, and the number of steps so far."""
        return {"mean": np.zeros_like(theta), "square": np.zeros_like(theta), "steps": np.zeros((), np.int64)}

    def update(self, theta: Array, gradient: Array, state: State, rate: float) -> None:
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
    """Stochastic diagonal Levenberg-Marquardt (LeCun et al. 1998, App. C): ``theta -= rate g / (mu + h)``.

    h is ``Layer.curvature``'s approximation, from what ``Loss.curvature`` gives, a mean over ``samples`` patterns at
    the start of each pass and after every ``every`` patterns of it: others at random each time, or always the
    ``first``. The paper looks once a pass, does not say at which, and takes what it sees. But a unit that saturates
    has no curvature, its rates would rise to their cap, and drive it further: so h is the ``largest`` seen so far,
    and rates only ever fall.
    """

    mu: float = 0.02
    samples: int = 500
    every: int = 5000
    first: bool = False
    largest: bool = True

    def __post_init__(self) -> None:
        """Refuse what would divide by zero or never look."""
        super().__post_init__()
        positive(mu=self.mu)
        at_least(1, samples=self.samples, every=self.every)

    @property
    def looks(self) -> int:
        """As chosen."""
        return self.every

    def patterns(self, count: int, rng: Rng) -> Array:
        """``samples`` of them."""
        return np.arange(min(self.samples, count)) if self.first else rng.integers(count, size=self.samples)

    def init(self, theta: Array) -> State:
        """h, nothing until the first look, and ``1 / (mu + h)``."""
        return {"h": np.zeros_like(theta), "gain": np.full_like(theta, 1 / self.mu)}

    def look(self, curvature: Array, state: State) -> None:
        """See the class."""
        np.maximum(curvature, state["h"] if self.largest else 0, out=state["h"])
        np.divide(1, state["h"] + self.mu, out=state["gain"])

    def update(self, theta: Array, gradient: Array, state: State, rate: float) -> None:
        """See the class."""
        gradient *= state["gain"]
        gradient *= rate
        theta -= gradient
