"""Networks that read like their papers' tables.

Called without arguments each is the network as it was published; the keywords are the choices that an
ablation varies. ``background`` is the value of an empty pixel: what padding puts around an image.
"""

from .connections import LECUN1989_TABLE, LENET4_C3, LENET4_C5, TABLE_1
from .lecun import LENET_TANH, lecun1989, lenet1, lenet4, lenet5
from .parts import DenseOutput, RBFOutput
from .table import costs, describe
from .tutorials import keras_convnet, mlp, nielsen_cnn, nielsen_mlp, zhou

__all__ = [
    "LECUN1989_TABLE",
    "LENET4_C3",
    "LENET4_C5",
    "LENET_TANH",
    "TABLE_1",
    "DenseOutput",
    "RBFOutput",
    "costs",
    "describe",
    "keras_convnet",
    "lecun1989",
    "lenet1",
    "lenet4",
    "lenet5",
    "mlp",
    "nielsen_cnn",
    "nielsen_mlp",
    "zhou",
]
