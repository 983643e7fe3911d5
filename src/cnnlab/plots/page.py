"""A page of pictures and words at given places: what has no axes needs none of matplotlib's slow ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SHARES = {"l": 0, "m": 0.5, "r": 1, "a": 0, "d": 1}  # left, middle, right; ascender (the top), descender (the bottom)


class Picture(NamedTuple):
    """Colours (H, W, 3), bytes, which fill the box (left, upper, width, height)."""

    colours: Array
    box: tuple[int, int, int, int]


class Words(NamedTuple):
    """A text and where it stands: (x, y) is the point of it that `anchor` names, such as "mm" for its middle.

    Of a turned text, it is the point of the upright box around it.
    """

    text: str
    x: float
    y: float
    anchor: str
    points: float
    colour: str
    turn: int


@dataclass
class Page:
    """Pictures and words on white paper, measured in pixels from the upper left corner; later ones lie on top."""

    width: float
    height: float
    pictures: list[Picture] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)

    def show(self, colours: Array, left: float, upper: float, width: float, height: float) -> None:
        """A picture of colours (H, W, 3), each as a box of its own."""
        self.pictures.append(Picture(colours, (round(left), round(upper), round(width), round(height))))

    def fill(self, colour: str, left: float, upper: float, width: float, height: float) -> None:
        """A box of one colour: a line, if it is thin."""
        self.show(style.paint(colour)[None, None], left, upper, width, height)

    def framed(self, colours: Array, left: float, upper: float, width: float, height: float) -> None:
        """A picture with a thin black line around it."""
        self.fill("black", round(left) - 1, round(upper) - 1, round(width) + 2, round(height) + 2)
        self.show(colours, left, upper, width, height)

    def write(
        self,
        text: str,
        x: float,
        y: float,
        anchor: str = "mm",
        points: float = 10,
        colour: str = "black",
        turn: int = 0,
    ) -> None:
        """A text of one or more lines, turned against the clock by so many degrees."""
        self.words.append(Words(text, x, y, anchor, points, colour, turn))

    def scale(self, colours: str, low: float, high: float, label: str, box: tuple[float, float, float, float]) -> None:
        """A bar in the box that says which colour of a colour map stands for which number; its label lies beside it."""
        from matplotlib.ticker import MaxNLocator

        left, upper, width, height = box
        self.framed(style.coloured(np.linspace(1, 0, 256)[:, None], colours), *box)
        found = MaxNLocator(max(2, int(height / 50)), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = [tick for tick in found if low <= tick <= high]
        texts = [style.plain(tick, 6) for tick in ticks]
        for tick, text in zip(ticks, texts, strict=True):
            y = upper + height * (high - tick) / (high - low)
            self.fill("black", left + width + 1, y, 5, 1)
            self.write(text, left + width + 9, y, "lm")
        beside = left + width + 17 + max(size(text)[0] for text in texts)
        self.write(label, beside, upper + height / 2, "lm", turn=90)

    def sign(self, text: str) -> None:
        """A small grey line at the lower edge, which makes room for itself."""
        width, height = size(text, 8)
        self.width, self.height = max(self.width, width + 12), self.height + height + 6
        self.write(text, self.width - 6, self.height - 4, "rd", points=8, colour="0.35")

    def image(self) -> Image:
        """The page as it looks."""
        from PIL import Image

        paper = Image.new("RGB", (round(self.width), round(self.height)), "white")
        for colours, (left, upper, width, height) in self.pictures:
            shown = Image.fromarray(np.ascontiguousarray(colours))
            paper.paste(shown.resize((width, height), Image.Resampling.NEAREST), (left, upper))
        for text, x, y, anchor, points, colour, turn in self.words:
            ink = _written(text, points, turn)
            place = round(x - SHARES[anchor[0]] * ink.width), round(y - SHARES[anchor[1]] * ink.height)
            paper.paste(tuple(style.paint(colour)), place, ink)
        return paper

    def savefig(
        self, file: Path | IO[bytes], format: str | None = None, pil_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Save it, as a matplotlib figure is saved."""
        self.image().save(file, format, **(pil_kwargs or {}))


def size(text: str, points: float = 10, turn: int = 0) -> tuple[int, int]:
    """Width and height of a text."""
    return _written(text, points, turn).size


def wrapped(text: str, width: float, points: float = 10) -> str:
    """The text in lines that are no wider than this, if no word of it is."""
    lines = []
    for words in map(str.split, text.split("\n")):
        line = ""
        for word in words:
            if line and size(f"{line} {word}", points)[0] > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return "\n".join(lines)


@lru_cache(maxsize=1000)  # pages show the same numbers and names again and again
def _written(text: str, points: float, turn: int) -> Image:
    """A text as a mask: 255 where there is ink. Its lines are centred."""
    from PIL import Image, ImageDraw

    font, lines = _font(points), text.split("\n")
    height = sum(font.getmetrics())
    mask = Image.new("L", (round(max(map(font.getlength, lines))) + 2, height * len(lines)))
    pen = ImageDraw.Draw(mask)
    for number, line in enumerate(lines):
        pen.text((mask.width / 2, number * height), line, 255, font, "ma")
    return mask.rotate(turn, Image.Resampling.BICUBIC, expand=True)


@cache
def _font(points: float) -> FreeTypeFont:
    """matplotlib's own font, at the size that it has in figures."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    file = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(file, points * style.DPI / 72, layout_engine=ImageFont.Layout.BASIC)
