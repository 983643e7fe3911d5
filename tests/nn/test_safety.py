"""Extreme numbers give finite answers, and bad arguments one clear line. Warnings are errors here."""

import numpy as np
import pytest
from nn.loops import normal
from numpy.testing import assert_allclose

from cnnlab import nn
from cnnlab.nn import (
    RBF,
    SGD,
    Adam,
    AvgPool,
    BinaryCrossEntropy,
    Conv2D,
    Cosine,
    CrossEntropy,
    Dense,
    DiagonalLM,
    Dropout,
    FanInUniform,
    Gaussian,
    GlobalAvgPool,
    Glorot,
    LeakyReLU,
    MaximumAPosteriori,
    MaxPool,
    MeanSquaredError,
    MixedPool,
    OneCycle,
    Repeat,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Stages,
    Steps,
    StochasticPool,
    Subsample,
    Tanh,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FAR = 1e4
EXTREMES = np.array([[FAR, -FAR, FAR, -FAR, 0], [-FAR, FAR, FAR, -FAR, 0], [0, 0, FAR, -FAR, FAR]])
LABELS = np.array([0, 0, 1, 2, 1])


def with_rubbish(scores, j):
    return np.vstack([scores, np.full(scores.shape[1], -j)])


@DTYPES
@pytest.mark.parametrize(
    ("loss", "scores"),
    [
        (SoftmaxCrossEntropy(), EXTREMES),
        (MaximumAPosteriori(0.1), with_rubbish(EXTREMES, 0.1)),
        (MaximumAPosteriori(50.0), with_rubbish(EXTREMES, 50.0)),
    ],
    ids=["softmax", "posterior j=0.1", "posterior j=50"],
)
def test_likelihoods_survive_any_score(loss, scores, dtype):
    value, gradient = loss(EXTREMES.astype(dtype), LABELS)
    expected = np.logaddexp.reduce(scores, axis=0) - scores[LABELS, np.arange(5)]
    assert value == pytest.approx(expected.mean())
    shares = np.exp(scores - np.logaddexp.reduce(scores, axis=0))[:3]
    assert_allclose(gradient, (shares - np.eye(3)[LABELS].T) / 5, atol=1e-6)


@DTYPES
def test_binary_cross_entropy_survives_any_logit(dtype):
    value, gradient = BinaryCrossEntropy(logits=True)(EXTREMES.astype(dtype), LABELS)
    sides = np.where(np.eye(3)[LABELS].T, -EXTREMES, EXTREMES)  # how far on the wrong side
    assert value == pytest.approx(np.logaddexp(0, sides).sum() / 5)
    assert_allclose(np.abs(gradient), (np.sign(sides) + 1) / 2 / 5, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("loss", [CrossEntropy(), BinaryCrossEntropy()], ids=str)
def test_certain_and_wrong_probabilities_stay_finite(loss, dtype):
    output = np.array([[0.0, 1.0], [1.0, 0.0]], dtype)
    for labels in ([0, 1], [1, 0]):
        value, gradient = loss(output, np.array(labels))
        assert np.isfinite(value) and value >= 0 and np.isfinite(gradient).all()


@DTYPES
@pytest.mark.parametrize(
    ("layer", "low", "high"), [(Sigmoid(), 0, 1), (Tanh(), -1, 1), (Tanh(1.7159, 2 / 3), -1.7159, 1.7159)]
)
def test_squashing_survives_any_input(layer, low, high, dtype):
    y, backward = layer.forward({}, np.array([[-FAR], [FAR]], dtype))
    assert_allclose(y[:, 0], np.array([low, high], dtype))
    dx, _ = backward(np.ones_like(y))
    assert np.abs(dx).max() < 1e-6


@DTYPES
def test_softmax_survives_any_score(dtype):
    y, backward = Softmax().forward({}, EXTREMES.astype(dtype))
    assert_allclose(y.sum(0), 1, rtol=1e-6)
    assert_allclose(y[:, 2], 1 / 3, rtol=1e-6)
    assert np.isfinite(backward(np.ones_like(y))[0]).all()


@DTYPES
@pytest.mark.parametrize("j", [0.1, 5.0, 30.0])
def test_the_posterior_criterion_is_never_negative(j, dtype):
    for scale in (1e-3, 1, 30, FAR):
        penalties = np.abs(normal(10, 50)) * scale
        value, _ = MaximumAPosteriori(j)(-penalties.astype(dtype), np.arange(50) % 10)
        assert value >= 0


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), MaximumAPosteriori(1), MeanSquaredError()], ids=type)
def test_labels_of_any_whole_type_are_the_same_labels(loss):
    outputs, labels = -np.abs(normal(10, 64)), np.arange(64) % 10  # 9 times 64 is no uint8
    value, gradient = loss(outputs, labels)
    for dtype in (np.uint8, np.int8, np.int32, np.uint64):
        again, same = loss(outputs, labels.astype(dtype))
        assert again == value
        assert_allclose(same, gradient, rtol=0, atol=0)


def forward(layer, x):
    return layer.forward(layer.init(x.shape[:-1], np.random.default_rng(0))[0], x)


MAPS, VECTOR = np.ones((6, 2, 5, 3)), np.ones((4, 3))
BAD = {
    "conv window": (lambda: forward(Conv2D(2, (3, 6)), MAPS), "a 3x6 window does not fit a 6x5 map"),
    "pool window": (lambda: forward(MaxPool(7), MAPS), "a 7x7 window does not fit a 6x5 map"),
    "conv on a vector": (lambda: forward(Conv2D(2, 3), VECTOR), "needs maps"),
    "pool on a vector": (lambda: forward(AvgPool(2), VECTOR), "needs maps"),
    "global pool on a vector": (lambda: forward(GlobalAvgPool(), VECTOR), "needs maps"),
    "padding": (
        lambda: forward(Conv2D(2, 3, padding="some"), MAPS),
        "padding=some: choose valid, same",
    ),
    "negative padding": (lambda: forward(Conv2D(2, 3, padding=-1), MAPS), "choose valid, same, full"),
    "bias": (lambda: Conv2D(2, 3, bias="unit"), "bias=unit: choose map, position or None"),
    "connections": (lambda: Conv2D(2, 3, connections=[[0]]), "choose a row of maps for each of 2 filters"),
    "an empty row": (lambda: Conv2D(2, 3, connections=[[0], []]), "choose a row of maps for each of 2 filters"),
    "a map too far": (lambda: forward(Conv2D(2, 3, connections=[[0], [2]]), MAPS), "the input has maps 0 to 1"),
    "a map before the first": (lambda: forward(Conv2D(1, 3, connections=[[-1]]), MAPS), "the input has maps 0 to 1"),
    "no filters": (lambda: Conv2D(0, 3), "filters=0: choose a whole number from 1 up"),
    "no units": (lambda: Dense(0), "units=0: choose a whole number from 1 up"),
    "no window": (lambda: forward(MaxPool(0), MAPS), "size=0: choose 1 or more"),
    "no stride": (lambda: forward(Conv2D(2, 3, stride=0), MAPS), "stride=0: choose 1 or more"),
    "one margin": (lambda: forward(Conv2D(2, 3, padding=(1, 2)), MAPS), "choose valid, same, full"),
    "softmax of maps": (lambda: Softmax().out_shape((6, 2, 5)), "softmax is over vectors"),
    "a label too far": (lambda: MeanSquaredError()(VECTOR, np.array([0, 1, 4])), "labels 0 to 4 for classes 0 to 3"),
    "a label before the first": (lambda: SoftmaxCrossEntropy()(VECTOR, np.array([0, -1, 1])), "labels -1 to 1 for"),
    "the rubbish class": (lambda: MaximumAPosteriori(1)(-VECTOR, np.array([0, 4, 1])), "labels 0 to 4 for classes 0"),
    "labels that are no whole numbers": (
        lambda: SoftmaxCrossEntropy()(VECTOR, np.ones(3)),
        "labels of shape (3,) and type",
    ),
    "vectors for labels": (lambda: MeanSquaredError()(VECTOR, VECTOR), "labels of shape (4, 3) and type float64"),
    "weight decay": (lambda: SGD(weight_decay=-1.0), "weight_decay=-1.0: choose a number from 0 up"),
    "no norm": (lambda: SGD(clip_norm=0.0), "clip_norm=0.0: choose a number above 0"),
    "beta": (lambda: Adam(beta1=1.0), "beta1=1.0: choose a number from 0 up to"),
    "epsilon": (lambda: Adam(epsilon=0.0), "epsilon=0.0: choose a number above 0"),
    "a rate that climbs": (lambda: Cosine(final=-5.0), "final=-5.0: choose a number from 0 up"),
    "a point behind the end": (
        lambda: Steps(at=(0.5, 2.0)),
        "at=(0.5, 2.0): choose [a number from 0 up to",
    ),
    "gain": (lambda: Glorot(gain=-1.0), "gain=-1.0: choose a number from 0 up or null"),
    "deviation": (lambda: Gaussian(std=-1.0), "std=-1.0: choose a number from 0 up"),
    "stages": (lambda: Stages((0.1, 0.5), (1.0, 0.5)), "starts=(0.1, 0.5): choose increasing fractions"),
    "warmup": (lambda: OneCycle(warmup=1.0), "warmup=1.0: choose a number between 0 and 1"),
    "momentum": (lambda: SGD(momentum=-1.0), "momentum=-1.0: choose a number from 0"),
    "nesterov": (lambda: SGD(nesterov=True), "choose a momentum above 0"),
    "codes": (lambda: forward(RBF(np.ones((3, 5))), VECTOR), "the codes have 5 components"),
    "rate 1": (lambda: Dropout(1.0), "rate=1.0: choose a number from 0 up to"),
    "rate -1": (lambda: Dropout(-1.0), "rate=-1.0: choose a number"),
    "mix": (lambda: MixedPool(mix=1.5), "mix=1.5: choose a number from 0"),
    "slope": (lambda: LeakyReLU(1.5), "slope=1.5: choose a number between"),
    "negative": (lambda: forward(StochasticPool(2), -MAPS), "activations that are never negative"),
    "in a network": (lambda: forward(Sequential({"F": Dense(2), "C": Conv2D(1, 3)}), MAPS), "C: needs maps"),
}


WRONG_TYPES = [
    (Conv2D, {"filters": 2.0, "kernel": 3}, "filters=2.0: choose a whole number from 1 up"),
    (Conv2D, {"filters": True, "kernel": 3}, "filters=True: choose a whole number"),
    (Conv2D, {"filters": 2, "kernel": 2.5}, "kernel=2.5: choose 1 or more, for both axes or as (rows, columns)"),
    (Conv2D, {"filters": 2, "kernel": (3, 3, 3)}, "kernel=(3, 3, 3): choose 1 or more"),
    (Conv2D, {"filters": 2, "kernel": None}, "kernel=None: choose 1 or more"),
    (Conv2D, {"filters": 2, "kernel": "33"}, "kernel=33: choose 1 or more"),
    (Conv2D, {"filters": 2, "kernel": 3, "stride": (1, "2")}, "stride=(1, '2'): choose 1 or more"),
    (Conv2D, {"filters": 2, "kernel": 3, "padding": 1.5}, "padding=1.5: choose valid, same, full"),
    (Conv2D, {"filters": 2, "kernel": 3, "padding": ((1, 1), (1, -1))}, "padding=((1, 1), (1, -1)): choose valid"),
    (Conv2D, {"filters": 2, "kernel": 3, "padding": ((1, 1), 1)}, "padding=((1, 1), 1): choose valid"),
    (Conv2D, {"filters": 2, "kernel": 3, "pad_value": np.nan}, "pad_value=nan: choose a number"),
    (Conv2D, {"filters": 2, "kernel": 3, "flip": 1}, "flip=1: choose true or false"),
    (Conv2D, {"filters": 2, "kernel": 3, "bias": True}, "bias=True: choose map, position or None"),
    (
        Conv2D,
        {"filters": 1, "kernel": 3, "connections": [0]},
        "connections=[0]: choose [[a whole number, ...], ...] or",
    ),
    (Conv2D, {"filters": 1, "kernel": 3, "connections": [["0"]]}, "connections=[['0']]: choose [[a whole number"),
    (Conv2D, {"filters": 2, "kernel": 3, "initializer": "he"}, "initializer=he: choose Initializer"),
    (Dense, {"units": "10"}, "units=10: choose a whole number"),
    (Dense, {"units": 10, "bias": "map"}, "bias=map: choose true or false"),
    (Dropout, {"rate": None}, "rate=None: choose a number from 0"),
    (MaxPool, {"size": 2.5}, "size=2.5: choose 1 or more"),
    (MaxPool, {"size": 2, "stride": 0}, "stride=0: choose 1 or more"),
    (AvgPool, {"size": ()}, "size=(): choose 1 or more"),
    (MixedPool, {"mix": np.inf}, "mix=inf: choose a number from 0 to 1"),
    (MixedPool, {"mix": -0.1}, "mix=-0.1: choose a number from 0 to 1"),
    (Subsample, {"mean": "yes"}, "mean=yes: choose true or false"),
    (Subsample, {"coefficient": "1"}, "coefficient=1: choose a number"),
    (Repeat, {"times": 1.5}, "times=1.5: choose a whole number"),
    (RBF, {"codes": [[1.0]]}, "codes=[[1.0]]: choose ndarray"),
    (RBF, {"codes": np.ones(3)}, "codes=an array of shape (3,): choose one of shape (units, D)"),
    (RBF, {"codes": np.ones((3, 2)), "factor": 0}, "factor=0: choose a number above 0"),
    (Tanh, {"amplitude": "1"}, "amplitude=1: choose a number above 0"),
    (Tanh, {"slope": 0.0}, "slope=0.0: choose a number above 0"),
    (LeakyReLU, {"slope": 0}, "slope=0: choose a number between 0 and 1"),
    (Sequential, {"layers": {"A": "relu"}}, "layers={'A': 'relu'}: choose [Layer, ...]"),
    (Sequential, {"layers": [Dense(1)]}, "layers=[Dense("),
    (MeanSquaredError, {"low": "0"}, "low=0: choose a number"),
    (BinaryCrossEntropy, {"logits": 1}, "logits=1: choose true or false"),
    (MaximumAPosteriori, {"j": "3"}, "j=3: choose a number above 0"),
    (MaximumAPosteriori, {"j": 0}, "j=0: choose a number above 0"),
    (SGD, {"clip_norm": "1"}, "clip_norm=1: choose a number above 0 or null"),
    (SGD, {"momentum": 0.9, "nesterov": 1}, "nesterov=1: choose true or false"),
    (Adam, {"beta2": 1.0}, "beta2=1.0: choose a number from 0"),
    (DiagonalLM, {"samples": 10.0}, "samples=10.0: choose a whole number"),
    (DiagonalLM, {"mu": 0.0}, "mu=0.0: choose a number above 0"),
    (Steps, {"at": 0.5}, "at=0.5: choose [a number from 0 up to"),
    (Steps, {"at": (), "factor": 0}, "factor=0: choose a number above 0"),
    (Stages, {"factors": ("1",), "starts": (0,)}, "factors=('1',): choose [a number from 0 up"),
    (Stages, {"factors": (1, -1), "starts": (0, 0.5)}, "factors=(1, -1): choose [a number from 0 up"),
    (Stages, {"factors": (1, 1), "starts": (0, 0)}, "starts=(0, 0): choose increasing"),
    (Cosine, {"final": None}, "final=None: choose a number from 0 up"),
    (OneCycle, {"warmup": 0}, "warmup=0: choose a number between 0 and 1"),
    (OneCycle, {"start": -1}, "start=-1: choose a number from 0 up"),
    (Gaussian, {"power": "1"}, "power=1: choose a number"),
    (Gaussian, {"bias_std": -1}, "bias_std=-1: choose a number from 0 up"),
    (Glorot, {"gain": "1"}, "gain=1: choose a number from 0 up or null"),
]


@pytest.mark.parametrize(("kind", "arguments", "line"), WRONG_TYPES)
def test_an_argument_of_a_wrong_type_or_value_is_named_in_one_line(kind, arguments, line):
    with pytest.raises(ValueError) as refusal:
        kind(**arguments)
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)


DEFAULTS = """
SGD(weight_decay=0.0, clip_norm=None, momentum=0.0, nesterov=False)
Adam(weight_decay=0.0, clip_norm=None, beta1=0.9, beta2=0.999, epsilon=1e-08)
DiagonalLM(weight_decay=0.0, clip_norm=None, mu=0.02, samples=500, every=5000, first=False, largest=True)
Steps(at=(0.5, 0.75), factor=0.1)
Stages(starts=(0.0, 0.1, 0.25, 0.4, 0.6), factors=(1.0, 0.4, 0.2, 0.1, 0.02))
Cosine(final=0.0)
OneCycle(warmup=0.3, start=0.04, final=0.0001)
Tanh(amplitude=1.0, slope=1.0)
LeakyReLU(slope=0.01)
MaxPool(size=2, stride=None)
AvgPool(size=2, stride=None)
MixedPool(size=2, stride=None, mix=0.5)
StochasticPool(size=2, stride=None)
Subsample(size=2, stride=None, mean=False, coefficient=0.5, bias=0.0)
Dropout(rate=0.5, inverted=True)
Repeat(times=2)
MeanSquaredError(low=0.0, high=1.0)
BinaryCrossEntropy(logits=False)
Gaussian(std=1.0, power=0.5, bias_std=0.0)
Glorot(gain=None)
"""


@pytest.mark.parametrize("line", DEFAULTS.split("\n")[1:-1])
def test_what_arguments_are_where_none_are_given(line):
    assert str(getattr(nn, line.partition("(")[0])()) == line


def test_layers_start_as_in_pytorch_unless_told_otherwise():
    assert Dense(3) == Dense(3, True, FanInUniform())
    assert Conv2D(3, 2) == Conv2D(3, 2, 1, "valid", 0.0, False, "map", None, FanInUniform())


def test_numpys_numbers_and_any_sequence_will_do():
    assert Conv2D(np.int64(2), [np.int32(3), 2], padding=[[0, 1], [2, 0]]).out_shape((5, 1, 5)) == (4, 2, 6)
    assert Conv2D(2, np.array([3, 2])).out_shape((5, 1, 5)) == (3, 2, 4)
    assert Dropout(np.float32(0.5)).rate == 0.5 and MeanSquaredError(0, 1)(np.ones((2, 1)), np.array([0]))[0] == 0.5
    assert Dropout(0.0).rate == MixedPool(mix=0).mix == SGD(momentum=0).momentum == Gaussian(std=0).std == 0
    assert MixedPool(mix=1).mix == Glorot(gain=0).gain + 1 == Cosine(final=0).final + 1 == 1


@pytest.mark.parametrize(("wrong", "words"), BAD.values(), ids=BAD)
def test_bad_arguments_get_one_clear_line(wrong, words):
    with pytest.raises(ValueError) as refusal:
        wrong()
    assert words in str(refusal.value) and "\n" not in str(refusal.value)
