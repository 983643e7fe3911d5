"""Networks that read like their papers' tables.

Called without arguments each is the network as it was published; the keywords are the choices that an ablation varies.
`background` is the value of an empty pixel, with which the image is padded; networks without padding ignore it.
"""

from cnnlab.models.codes import digit_codes
from cnnlab.models.deep import deep
from cnnlab.models.lecun import (
    LECUN1989_TABLE,
    LENET1_TABLE,
    LENET4_C3,
    LENET4_C5,
    LENET_TANH,
    TABLE_1,
    lecun1989,
    lenet1,
    lenet4,
    lenet5,
)
from cnnlab.models.parts import DenseOutput, RBFOutput, costs, describe, memory
from cnnlab.models.tutorials import keras_convnet, mlp, nielsen_cnn, nielsen_mlp, zhou

__all__ = [
    "LECUN1989_TABLE",
    "LENET1_TABLE",
    "LENET4_C3",
    "LENET4_C5",
    "LENET_TANH",
    "TABLE_1",
    "DenseOutput",
    "RBFOutput",
    "costs",
    "deep",
    "describe",
    "digit_codes",
    "keras_convnet",
    "lecun1989",
    "lenet1",
    "lenet4",
    "lenet5",
    "memory",
    "mlp",
    "nielsen_cnn",
    "nielsen_mlp",
    "zhou",
]
