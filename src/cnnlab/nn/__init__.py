"""The engine: layers, losses and optimisers in NumPy alone, every derivative written by hand.

Maps are `[H, C, W, N]`, vectors `[D, N]`, batch last. Nothing here imports anything but NumPy.
"""

from cnnlab.nn.activations import GELU, Activation, Identity, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from cnnlab.nn.conv import Conv2D, StridedConv
from cnnlab.nn.dense import Dense, Dropout
from cnnlab.nn.gradcheck import gradcheck, gradcheck_loss
from cnnlab.nn.initializers import FanInUniform, Gaussian, Glorot, He, Initializer, LeCun1998
from cnnlab.nn.layer import Bound, Cost, Layer
from cnnlab.nn.lenet import RBF, Repeat, Subsample
from cnnlab.nn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MaximumAPosteriori,
    MaximumLikelihood,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from cnnlab.nn.optimizers import SGD, Adam, DiagonalLM, Optimizer, OptimizerState
from cnnlab.nn.parameters import Array, Params, pack, segments, unpack
from cnnlab.nn.pool import Pool
from cnnlab.nn.pool_kinds import AvgPool, GlobalAvgPool, MaxPool, MixedPool, StochasticPool
from cnnlab.nn.schedules import Constant, Cosine, OneCycle, Schedule, Stages, Steps
from cnnlab.nn.sequential import Sequential, saturation
from cnnlab.nn.subnormals import subnormals_flushed
from cnnlab.nn.workspace import Workspace, mean_curvature, predict, split

__all__ = [
    "GELU",
    "RBF",
    "SGD",
    "Activation",
    "Adam",
    "Array",
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
    "OptimizerState",
    "Params",
    "Pool",
    "ReLU",
    "Repeat",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Stages",
    "Steps",
    "StochasticPool",
    "StridedConv",
    "Subsample",
    "Tanh",
    "Workspace",
    "gradcheck",
    "gradcheck_loss",
    "mean_curvature",
    "pack",
    "predict",
    "saturation",
    "segments",
    "split",
    "subnormals_flushed",
    "unpack",
]
