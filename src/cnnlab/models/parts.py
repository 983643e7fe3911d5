"""What networks share: their outputs, and how an activation suits weights and pooling."""

from dataclasses import dataclass

from ..codes import digit_codes
from ..nn import RBF, Activation, AvgPool, Dense, GlobalAvgPool, Identity, Initializer, Layer, Pool, Subsample


@dataclass(frozen=True)
class DenseOutput:
    """Output of one unit to a class, squashed or (None) left as scores."""

    squash: Layer | None = None

    def layers(self, classes: int, init: Initializer) -> dict[str, Layer]:
        """The layers under their names."""
        return named(OUT=Dense(classes, initializer=suited(init, self.squash)), OUT_f=self.squash)


@dataclass(frozen=True)
class RBFOutput:
    """Output of LeNet-5: the distance to a fixed picture of each digit (LeCun et al. 1998, Eq. 7).

    ``factor`` and ``bars`` are those of RBF and digit_codes.
    """

    factor: float = 1.0
    bars: bool = True

    def layers(self, classes: int, init: Initializer) -> dict[str, Layer]:
        """The layers under their names."""
        if classes != 10:
            raise ValueError(f"there are codes for 10 digits, but the data has {classes} classes")
        return {"OUT": RBF(digit_codes(self.bars), self.factor)}


Output = DenseOutput | RBFOutput


def named(**layers: Layer | None) -> dict[str, Layer]:
    """The layers that there are; names end up as in the papers."""
    return {name: layer for name, layer in layers.items() if layer is not None and layer != Identity()}


def suited(init: Initializer, squash: Layer | None) -> Initializer:
    """The distribution for weights in front of a squashing function, or of none."""
    return init.suited(squash.steepest if isinstance(squash, Activation) else 1.0)


def stages(pooling: Layer, activation: Activation) -> tuple[Layer, Layer]:
    """A network's first and last pooling; refuses a rule whose input this activation cannot give.

    Averaging of whole maps can only come last: plain 2x2 averaging stands in for it before.
    """
    if isinstance(pooling, Pool) and pooling.needs_nonnegative and not activation.nonnegative:
        rule, function = type(pooling).__name__, type(activation).__name__
        raise ValueError(
            f"pooling: {rule} needs activations that are never negative, which {function} "
            "does not give: choose activation=relu or activation=sigmoid, or another pooling"
        )
    return (AvgPool(2) if isinstance(pooling, GlobalAvgPool) else pooling), pooling


def squashing(pooling: Layer, activation: Activation) -> Activation | None:
    """What follows a pooling: trainable subsampling is squashed (LeCun et al. 1998), pooling without parameters not."""
    return activation if isinstance(pooling, Subsample) else None
