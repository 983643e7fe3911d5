"""What a run chooses from a set of images: how many, how large, and as which numbers."""

from dataclasses import dataclass

from cnnlab.data.dataset import Dataset, Images, normalizer
from cnnlab.data.scaling import scaled
from cnnlab.data.splits import first, hold_out


@dataclass(frozen=True)
class Choices:
    """The first `train` and `test` images (None: all), their size and margin (see `scaled`), their normalisation.

    `validation` images are held out of the training images; "test" watches the test images in their place after
    every epoch, as papers did that trained on everything: then nothing may be chosen by what is seen there.
    """

    normalization: str
    validation: int | str
    train: int | None = None
    test: int | None = None
    size: int | None = None
    margin: int = 0

    def dataset(
        self, name: str, training: Images, test: Images, classes: tuple[str, ...], levels: int = 255
    ) -> Dataset:
        """The dataset that is left. Raises ValueError, in one line, where a choice does not fit."""
        if isinstance(self.validation, str) and self.validation != "test":
            raise ValueError(f"validation={self.validation}: choose a whole number from 0 up, or test")
        test = first(test, "test", self.test)
        training, val = hold_out(training, 0 if self.validation == "test" else self.validation, self.train)
        splits = (training, test if self.validation == "test" else val, test)
        train, val, test = (scaled(images, self.size, self.margin) for images in splits)
        return Dataset(name, train, val, test, classes, normalizer(self.normalization, train.pixels, levels))
