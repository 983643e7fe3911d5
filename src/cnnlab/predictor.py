"""A trained network put to use: images in, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlab.data import Normalizer
from cnnlab.data.dataset import grounds
from cnnlab.networks import known_of_images, load_network
from cnnlab.nn import Array, Params, Sequential, Sigmoid, Softmax, predict


@dataclass(frozen=True, repr=False)
class Predictor:
    """A trained network, or several whose outputs add up: images in, classes out.

    `classes` are the names of the classes, in the order of their numbers. `shape` is that of an image, (H, C, W).

    Images may be (N, H, W), one of (H, W), or rows (N, H*W); in colour (N, H, W, 3), one of (H, W, 3), or rows. The
    channels may also come first, (N, C, H, W), and a grey image's last, (N, H, W, 1).
    Pixels are whole numbers from 0 (background) to 255, or floats: from 0 to 1 where none of them all is above 1, else
    from 0 to 255, rounded to one of the 256 levels. A network for scikit-learn's 8x8 digits takes 0 to 16 instead of
    255. After training on images with a `dark_ground` one with a bright ground is refused: it would be misread.
    """

    networks: Sequence[tuple[Sequential, Params]]
    shape: tuple[int, int, int]
    normalizer: Normalizer
    classes: tuple[str, ...]
    dark_ground: bool = False

    @classmethod
    def of(cls, files: Sequence[Path]) -> Predictor:
        """The networks in these npz files, which take the same images. ValueError where one holds no network."""
        loaded = [load_network(file) for file in files]
        network, _, shape, rule = loaded[0]
        rows, channels, columns = shape
        names, dark = known_of_images(files[0])
        names = names or tuple(map(str, range(network.shapes(shape)[-1][0])))
        return cls([each[:2] for each in loaded], (rows, channels, columns), rule, names, dark)

    def predict(self, images: ArrayLike) -> NDArray[np.int64]:
        """The number of the class of each image, (N,): `classes` has its name."""
        return self.outputs(self.pixels(images)).argmax(0)

    def predict_proba(self, images: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class for each image, (N, classes): rows that add up to 1.

        Outputs of a softmax or sigmoid layer are divided by their sum. Of all other outputs the softmax is taken: that
        is what cross-entropy trains; after training by another loss they rank the classes, but say less of how sure
        the answer is. Several networks answer by the mean of their outputs.
        """
        outputs = self.outputs(self.pixels(images)).T.astype(np.float64) / len(self.networks)
        if not isinstance(list(self.networks[0][0].layers.values())[-1], (Sigmoid, Softmax)):
            outputs = np.exp(outputs - outputs.max(1, keepdims=True))
        outputs += np.finfo(np.float64).tiny  # sigmoids may all be 0
        return outputs / outputs.sum(1, keepdims=True)

    def outputs(self, pixels: NDArray[np.uint8]) -> Array:
        """The sum of the networks' outputs `[classes, N]` for bytes (N, H, W) or (N, H, W, 3).

        ValueError where they are not finite: a file may describe a network whose options are beyond float32.
        """
        (rows, channels, columns), table = self.shape, self.normalizer.table
        maps = pixels.reshape(-1, rows, columns, channels).transpose(1, 3, 2, 0)
        with np.errstate(all="ignore"):  # what comes of it is looked at below
            each = [
                predict(network, params, self.shape, len(pixels), lambda part: table[maps[..., part]])
                for network, params in self.networks
            ]
            outputs = np.sum(each, axis=0)
        if not np.isfinite(outputs).all():
            raise ValueError("the network's outputs are not finite: its weights or its options are too large")
        return outputs

    def pixels(self, images: ArrayLike) -> NDArray[np.uint8]:
        """Images as bytes, (N, H, W) or (N, H, W, 3); ValueError, in one line, where the networks do not take them."""
        found, levels = np.asarray(images), self.normalizer.levels
        rows, channels, columns = self.shape
        one = (rows, columns, channels)[: 2 + (channels > 1)]
        last, first = (rows, columns, channels), (channels, rows, columns)
        if found.shape != one and found.shape[1:] not in (one, (prod(one),), last, first):
            shown = ", ".join(map(str, one))
            taken = f"(N, {shown}), ({shown}) or (N, {prod(one)})"
            raise ValueError(f"images of shape {found.shape}: choose {taken}, as this network takes")
        if found.dtype.kind not in "buif":
            raise ValueError(f"images of type {found.dtype}: choose whole numbers from 0 to {levels}, or floats")
        if found.size and not 0 <= found.min() <= found.max() <= levels:
            inside = f"choose whole numbers from 0 to {levels}, or floats from 0 to 1 or to {levels}"
            raise ValueError(f"images with pixels from {found.min()} to {found.max()}: {inside}")
        if found.dtype.kind in "bf":
            found = np.rint(found * (levels if found.size and found.max() <= 1 else 1))
        if found.shape[1:] == first != last:
            found = np.moveaxis(found, 1, -1)
        pixels = found.astype(np.uint8).reshape(-1, *one)
        bright = int((grounds(pixels) > 3 / 4 * levels).sum()) if self.dark_ground else 0
        if bright:
            turned = f"turn them round ({levels} - pixels), if their strokes are dark"
            raise ValueError(f"{bright} of {len(pixels)} images have a bright ground, none of training had: {turned}")
        return pixels

    def __repr__(self) -> str:
        rows, channels, columns = self.shape
        images = f"{rows}x{columns} {'colour' if channels > 1 else 'grey'} images"
        several = f"{len(self.networks)} networks, " if len(self.networks) > 1 else ""
        return f"<Predictor: {several}{images}, {len(self.classes)} classes>"
