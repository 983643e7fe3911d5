"""A thousand steps of the Habr series' network on real digits, by cnnlab and by PyTorch in the same order."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from parity.compare import MAPS, WEIGHTS, Array, Case, Draw, flattened, mapped, to_torch
from parity.networks import NETWORKS

from cnnlab.nn import SGD, pack, unpack

STEPS = 1000
# What each loss may differ by: in float32 less than half a unit in its fifth significant digit.
PROMISED = {np.float32: 5e-6, np.float64: 1e-10}


@cache
def digits() -> tuple[Array, Array]:
    """The 1,797 digits of scikit-learn, each pixel doubled: [16, 1, 16, N] in 0..1, and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    maps = images.reshape(-1, 8, 8).transpose(1, 2, 0)[:, None] / 16
    return maps.repeat(2, axis=0).repeat(2, axis=2), labels


@dataclass(frozen=True)
class Training:
    """A thousand steps of SGD and the loss at each; batches come in the data's order."""

    optimizer: SGD
    rate: float
    batch: int
    case: Case = NETWORKS["network-habr"]

    def question(self, dtype: type) -> tuple[dict[str, Any], list[tuple[Array, Array]]]:
        """The parameters to start from, and the batches."""
        images, labels = digits()
        order = np.arange(STEPS * self.batch).reshape(STEPS, -1) % len(labels)
        batches = [(images[..., index].astype(dtype), labels[index]) for index in order]
        return Draw(dtype).parameters(self.case.layer, self.case.shape), batches

    def ours(self, dtype: type) -> Array:
        """The losses of cnnlab."""
        start, batches = self.question(dtype)
        theta, losses = pack(start), []
        params, state = unpack(theta, start), self.optimizer.init(theta)
        for x, labels in batches:
            y, backward = self.case.layer.forward(params, x)
            loss, dy = self.case.loss(y, labels)
            self.optimizer.step(theta, pack(backward(dy)[1]), state, self.rate)
            losses.append(loss)
        return np.array(losses)

    def theirs(self, t: Any, dtype: type) -> Array:
        """The losses of PyTorch."""
        start, batches = self.question(dtype)
        params, losses = mapped(lambda p: to_torch(t, p, WEIGHTS), start), []
        optimizer = t.optim.SGD(flattened(params).values(), self.rate, momentum=self.optimizer.momentum)
        for x, labels in batches:
            output = self.case.peer(t, to_torch(t, x, MAPS), **params)
            loss = self.case.criterion(t, output, t.tensor(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.array(losses)


TRAININGS = {
    "training-habr": Training(SGD(), rate=0.01, batch=1),  # the series' own setting: the loss hardly falls yet
    "training-faster": Training(SGD(), rate=0.1, batch=4),  # from 2.5 to 0.6
    "training-momentum": Training(SGD(momentum=0.9), rate=0.01, batch=4),  # from 2.4 to 0.7
}
