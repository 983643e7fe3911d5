"""A network as a scikit-learn estimator: `fit` trains it as a run would, without keeping a record."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from cnnlab.data import Dataset, Images, RawData
from cnnlab.data.scaling import enlarged
from cnnlab.data.source import Choices
from cnnlab.nn import Sequential
from cnnlab.nn.options import Between, check
from cnnlab.predictor import Predictor
from cnnlab.training import Diverged, start, train

if TYPE_CHECKING:
    from cnnlab.learners import Network

DIGIT = 20  # pixels: how large images become that are too small as they are, at least; as the digits of MNIST
LARGEST = 28  # the most that they are enlarged by
OWN = ("patience", "validation_fraction")  # parameters that are no words of a run


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A convolutional network that learns to tell classes of images apart, with scikit-learn's methods.

    The parameters are the words of a run (`cnnlab train --help` lists their choices): the same network is trained by
    the same loop. `lr` None is the rate that was tuned for these words, or for those most like them.
    With `patience` a share of the images, `validation_fraction`, is held out, and training ends after so many epochs
    without a lower error on these, and goes back to the best one.

    X is (N, H, W), in colour (N, H, W, 3), or rows (N, H*W) of square images; of any number of values with
    model="mlp". Bytes (uint8) are pixels from 0 to 255. Of other numbers the range that `fit` sees is divided into
    256 levels, and images to predict need the same units. Images that are too small for the network are enlarged to 20
    pixels or more: each pixel becomes a square. y (N,) may be of any type.

    After `fit`, `classes_` are the labels, `history_` has a dict of metrics for each epoch, and `predictor_` is the
    network.
    """

    def __init__(
        self,
        activation: str = "relu",
        loss: str = "cross_entropy",
        pooling: str = "max",
        padding: str = "same",
        epochs: int = 5,
        seed: int = 0,
        model: str = "lenet5",
        init: str = "glorot",
        optimizer: str = "momentum",
        batch_size: int = 32,
        lr: float | None = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
    ) -> None:
        self.activation = activation
        self.loss = loss
        self.pooling = pooling
        self.padding = padding
        self.epochs = epochs
        self.seed = seed
        self.model = model
        self.init = init
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.lr = lr
        self.patience = patience
        self.validation_fraction = validation_fraction

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on images X and their labels y (N,). ValueError, in one line, where they do not fit or it diverges."""
        learner = self._learner()
        flat, shape = _rows(X)
        rows, given = validate_data(self, flat, y)
        check_classification_targets(given)
        self.classes_, labels = np.unique(given, return_inverse=True)
        self.image_shape_ = shape or _square(self.n_features_in_)
        self.range_ = (0.0, 255.0) if rows.dtype == np.uint8 else (float(rows.min()), float(rows.max()))
        images = Images(self._bytes(rows), labels.astype(np.int64))
        data = self._dataset(images, enlarge=1)
        self.enlarge_ = _enlargement(learner.network(data), data.shape)
        if self.enlarge_ > 1:
            data = self._dataset(images, self.enlarge_)
        try:
            learner.describe(data)
        except ValueError as error:
            oblong = f"; rows of {self.n_features_in_} values, which are no square image, are for model=mlp"
            said = f"images of shape {self.image_shape_}: {error}"
            raise ValueError(said + oblong * (self.image_shape_ == (1, self.n_features_in_))) from None
        network = learner.network(data)
        state = start(learner, network, data.shape, self.seed)
        try:
            with threadpool_limits(1):  # as a run
                self.history_ = list(train(learner, state, data))
        except Diverged as error:
            raise ValueError(f"lr={learner.lr:g}: {error}; choose a smaller one") from error
        self.predictor_ = Predictor([(network, state.params)], data.shape, data.normalizer, data.classes)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each image, (N,)."""
        images = self._images(X)
        return self.classes_[self.predictor_.predict(images)]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each of `classes_` for each image, (N, classes): see `Predictor.predict_proba`."""
        images = self._images(X)
        return self.predictor_.predict_proba(images)

    def __sklearn_tags__(self) -> Any:
        """That X may be images as well as rows."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _learner(self) -> Network:
        """What a run of these words would train."""
        from cnnlab.composing import learner_of
        from cnnlab.learners import Network

        said = {name: value for name, value in self.get_params().items() if value is not None and name not in OWN}
        words = [f"{name}={value}" for name, value in said.items()]
        if self.patience is not None:
            check("validation_fraction", self.validation_fraction, Between)
            words.append(f"stop.patience={self.patience}")
        learner = learner_of(words)
        if not isinstance(learner, Network):
            raise ValueError(f"model={self.model} is no network: choose one, such as lenet5 or mlp")
        return learner

    def _dataset(self, images: Images, enlarge: int) -> Dataset:
        """The images as a run's data, of which a share is held out where training may stop early."""
        held_out = max(1, round(self.validation_fraction * len(images))) if self.patience else 0
        alike = images.pixels.min() == images.pixels.max()
        choices = Choices("unit" if alike else "standardised", held_out, test="hidden", enlarge=enlarge)
        return choices.dataset(RawData("images", images, images, tuple(map(str, self.classes_))))

    def _images(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Images as the network takes them."""
        check_is_fitted(self)
        flat, shape = _rows(X)
        if shape and shape != self.image_shape_:
            raise ValueError(f"images of shape {shape}: choose {self.image_shape_}, as those of fit")
        pixels = self._bytes(validate_data(self, flat, reset=False))
        return enlarged(Images(pixels, np.zeros(len(pixels), np.int64)), self.enlarge_).pixels

    def _bytes(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Rows of numbers as images of bytes."""
        low, high = self.range_
        if rows.dtype != np.uint8 or (low, high) != (0, 255):
            rows = np.rint((rows - low) * (255 / ((high - low) or 1))).clip(0, 255).astype(np.uint8)
        return rows.reshape(-1, *self.image_shape_)


def _rows(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """Images as rows, and the shape of one; what comes in rows, as a table or sparse, stays as it is."""
    X = X if hasattr(X, "ndim") else np.asarray(X)
    return (X.reshape(len(X), -1), tuple(X.shape[1:])) if X.ndim > 2 else (X, None)


def _square(width: int) -> tuple[int, int]:
    """The shape of the image that a row of so many values is: a square or, if it is none, a single row."""
    side = math.isqrt(width)
    return (side, side) if side * side == width else (1, width)


def _enlargement(network: Sequential, shape: tuple[int, int, int]) -> int:
    """The whole factor by which images of this shape are to be enlarged for a network; 1 too where none will do."""
    rows, channels, columns = shape
    least = -(-DIGIT // min(rows, columns))
    for factor in (1, *range(least, LARGEST + 1)) if rows > 1 else (1,):
        with suppress(ValueError):
            network.shapes((factor * rows, channels, factor * columns))
            return factor
    return 1
