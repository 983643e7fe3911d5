"""Networks inside networks: the image's gradient is left out once, at the very front, and nowhere else."""

import numpy as np

from cnnlab.nn import Conv2D, ReLU, Sequential, gradcheck


def nested(inner_first: bool, input_gradient: bool) -> Sequential:
    inner = Sequential({"C2": Conv2D(2, 3), "A2": ReLU()})
    layers = {"B": inner, "C1": Conv2D(2, 3)} if inner_first else {"C1": Conv2D(2, 3), "B": inner}
    return Sequential(layers, input_gradient=input_gradient)


def test_a_network_inside_a_network_has_right_gradients():
    for inner_first in (False, True):
        assert gradcheck(nested(inner_first, True), (8, 1, 7)) < 1e-6


def test_the_image_gradient_is_there_only_when_asked_for():
    for network, asked in (
        (nested(True, False), False),
        (nested(True, True), True),
        (Sequential({"A": ReLU()}), False),
    ):
        x = np.random.default_rng(0).standard_normal((8, 1, 7, 2))
        y, backward = network.forward(network.init((8, 1, 7), np.random.default_rng(0))[0], x)
        dx, _ = backward(np.ones_like(y))
        assert (dx is not None) == asked
