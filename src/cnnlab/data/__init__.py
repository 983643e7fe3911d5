"""Labelled grey images and where they come from. Importing this needs NumPy only."""

from cnnlab.data.archives import fashion_mnist, mnist, mnist_deslanted
from cnnlab.data.dataset import Dataset, Images, Normalizer
from cnnlab.data.distortion import Distortion
from cnnlab.data.embedded import digits, mnist5k

__all__ = [
    "Dataset",
    "Distortion",
    "Images",
    "Normalizer",
    "digits",
    "fashion_mnist",
    "mnist",
    "mnist5k",
    "mnist_deslanted",
]
