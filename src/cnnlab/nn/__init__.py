"""The engine: layers, losses and optimisers in NumPy alone, every derivative written by hand.

Maps are ``[H, C, W, N]``, vectors ``[D, N]``, batch last. Nothing here knows of configs or tracking.
"""

from .activations import Activation, Identity, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .conv import Conv2D
from .dense import RBF, Dense, Dropout
from .gradcheck import gradcheck, gradcheck_loss
from .initializers import FanInUniform, Gaussian, Glorot, He, Initializer, LeCun1998
from .layer import Bound, Cost, Layer, Params
from .losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MaximumAPosteriori,
    MaximumLikelihood,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from .optimizers import SGD, Adam, DiagonalLM, Optimizer
from .parameters import pack, segments, unpack
from .pool import Pool
from .pool_kinds import AvgPool, GlobalAvgPool, MaxPool, MixedPool, StochasticPool
from .repeat import Repeat
from .schedules import Constant, Cosine, OneCycle, Schedule, Stages, Steps
from .sequential import Sequential
from .subsample import Subsample
from .workspace import Workspace, mean_curvature, predict, split

__all__ = [
    "RBF",
    "SGD",
    "Activation",
    "Adam",
    "AvgPool",
    "BinaryCrossEntropy",
    "Bound",
    "Constant",
    "Conv2D",
    "Cosine",
    "Cost",
    "CrossEntropy",
    "Dense",
    "DiagonalLM",
    "Dropout",
    "FanInUniform",
    "Gaussian",
    "GlobalAvgPool",
    "Glorot",
    "He",
    "Identity",
    "Initializer",
    "Layer",
    "LeCun1998",
    "LeakyReLU",
    "Loss",
    "MaxPool",
    "MaximumAPosteriori",
    "MaximumLikelihood",
    "MeanSquaredError",
    "MixedPool",
    "OneCycle",
    "Optimizer",
    "Params",
    "Pool",
    "ReLU",
    "Repeat",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Stages",
    "Steps",
    "StochasticPool",
    "Subsample",
    "Tanh",
    "Workspace",
    "gradcheck",
    "gradcheck_loss",
    "mean_curvature",
    "pack",
    "predict",
    "segments",
    "split",
    "unpack",
]
