"""Labelled images and where they come from. Importing this needs NumPy only."""

from cnnlab.data.archives import fashion_mnist, idx, mnist, mnist_deslanted
from cnnlab.data.dataset import Dataset, Images, Normalizer
from cnnlab.data.distortion import Distortion
from cnnlab.data.embedded import digits, mnist5k
from cnnlab.data.source import RawData, source

__all__ = [
    "Dataset",
    "Distortion",
    "Images",
    "Normalizer",
    "RawData",
    "digits",
    "fashion_mnist",
    "idx",
    "mnist",
    "mnist5k",
    "mnist_deslanted",
    "source",
]
