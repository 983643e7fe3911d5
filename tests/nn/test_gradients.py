"""Every hand-written derivative against central differences, and proof that the check sees mistakes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from nn.loops import normal

from cnnlab.nn import (
    BinaryCrossEntropy,
    Conv2D,
    CrossEntropy,
    Dense,
    Layer,
    MaximumAPosteriori,
    MaximumLikelihood,
    MaxPool,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    gradcheck,
    gradcheck_loss,
)
from cnnlab.nn.windows import crop, margins, pad, pair

TOLERANCE, CAUGHT = 1e-6, 1e-2


def test_gradients_of_every_layer_and_network(case, machine):
    for seed in range(3):
        x = None if case.x.min() < 0 else case.x
        assert gradcheck(case.layer, case.shape, seed=seed, training=case.training, x=x) < TOLERANCE


LOSSES = [
    MeanSquaredError(),
    MeanSquaredError(-1.0, 1.0),
    BinaryCrossEntropy(),
    BinaryCrossEntropy(logits=True),
    CrossEntropy(),
    SoftmaxCrossEntropy(),
    MaximumLikelihood(),
    MaximumAPosteriori(0.1),
    MaximumAPosteriori(j=3.0),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_of_every_loss(loss):
    probabilities = isinstance(loss, CrossEntropy) or loss == BinaryCrossEntropy()
    output, labels = normal(4, 5), np.array([0, 3, 1, 1, 2])
    output = 1 / (1 + np.exp(-output)) if probabilities else output
    assert all(gradcheck_loss(loss, output, labels, seed) < TOLERANCE for seed in range(3))


@dataclass(frozen=True)
class Mutant(Layer):
    """A layer whose backward is tampered with: `harm(dx, grads)` is what it returns."""

    layer: Layer
    harm: Callable

    def out_shape(self, shape):
        return self.layer.out_shape(shape)

    def init(self, shape, rng):
        return self.layer.init(shape, rng)

    def forward(self, params, x, rng=None):
        y, backward = self.layer.forward(params, x, rng)
        return y, lambda dy: self.harm(*backward(dy))


def swapped_input(dx, grads):
    return dx.swapaxes(0, 2), grads


def transposed_weights(dx, grads):
    return dx, grads | {"W": grads["W"].T.copy()}


def unturned_weights(dx, grads):
    return dx, grads | {"W": grads["W"][:, ::-1, :, ::-1]}


def halved_bias(dx, grads):
    return dx, grads | {"b": grads["b"] / 2}


class ForgetsStride(Conv2D):
    def forward(self, params, x, rng=None):
        y, backward = super().forward(params, x)
        near = np.s_[: y.shape[0] + self.kernel[0] - 1, :, : y.shape[2] + self.kernel[1] - 1]

        def close_together(dy):
            dx = np.zeros_like(x)
            dx[near], _ = Conv2D.forward(replace(self, stride=1), params, x[near])[1](dy)
            return dx, backward(dy)[1]

        return y, close_together


class ForgetsCrop(Conv2D):
    def forward(self, params, x, rng=None):
        padded = pad(x, margins(self.padding, pair(self.kernel)), self.pad_value)
        y, backward = Conv2D.forward(replace(self, padding="valid"), params, padded)

        def uncropped(dy):
            dx, grads = backward(dy)
            return crop(dx, ((0, len(dx) - len(x)), (0, dx.shape[2] - x.shape[2]))), grads

        return y, uncropped


SQUARE, OBLONG = (6, 2, 6), (6, 2, 7)
MUTANTS = {
    "conv swaps rows and columns": (Mutant(Conv2D(3, 3, padding="same"), swapped_input), SQUARE),
    "pooling swaps rows and columns": (Mutant(MaxPool(2), swapped_input), SQUARE),
    "dense transposes its weights' gradient": (Mutant(Dense(5), transposed_weights), (5,)),
    "conv swaps its kernels' rows and columns": (
        Mutant(Conv2D(3, 3), lambda dx, grads: (dx, grads | {"W": grads["W"].swapaxes(1, 3)})),
        OBLONG,
    ),
    "true convolution forgets to turn": (Mutant(Conv2D(3, (3, 2), flip=True), unturned_weights), OBLONG),
    "conv halves its bias's gradient": (Mutant(Conv2D(3, (3, 2)), halved_bias), OBLONG),
    "conv forgets the stride": (ForgetsStride(3, (3, 2), stride=2), OBLONG),
    "conv forgets to cut the margins off": (ForgetsCrop(3, (3, 2), padding=((2, 1), (1, 0))), OBLONG),
}


@pytest.mark.parametrize(("mutant", "shape"), MUTANTS.values(), ids=MUTANTS)
def test_the_check_catches_a_wrong_backward(mutant, shape):
    assert gradcheck(mutant, shape) > CAUGHT


def test_the_mutants_are_sound_before_they_are_harmed():
    sound = [replace(m, harm=lambda dx, grads: (dx, grads)) for m, _ in MUTANTS.values() if type(m) is Mutant]
    assert len(sound) == 6
    for mutant, (_, shape) in zip(sound, MUTANTS.values(), strict=False):
        assert gradcheck(mutant, shape) < TOLERANCE
    assert gradcheck(ForgetsStride(3, (3, 2)), OBLONG) < TOLERANCE
    assert gradcheck(ForgetsCrop(3, (3, 2)), OBLONG) < TOLERANCE


def test_a_gradient_that_is_not_a_number_is_not_passed():
    class Lost(Dense):
        def forward(self, params, x, rng=None):
            y, backward = super().forward(params, x, rng)
            return y, lambda dy: (backward(dy)[0], {name: g * np.nan for name, g in backward(dy)[1].items()})

    assert not gradcheck(Lost(4), (5,)) < 1e-2
