"""Makes the pictures beside it: thirty printed digits, drawn ones and worn ones, and six hasty ones.

A name ends with the digit.

`python tests/digits/make.py`. Fonts are those that matplotlib and Pillow bring along. The strokes were drawn once, as
a person would write them, before any network had seen them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
FINE = 4  # pixels that are drawn for each that is kept, along a side

# The strokes of each digit: points that the pen passes, in hundredths of its height, right and down from a corner.
ZERO = "55,5 25,8 6,40 10,80 35,98 60,80 66,40 50,8 36,4"
ONE = "36,2 33,50 30,98"
ONE_WITH_FLAG = "14,26 38,2; 38,2 37,50 36,98"
TWO = "8,25 20,6 45,4 58,22 48,48 25,75 4,95; 4,95 35,92 66,95"
TWO_WITH_LOOP = "10,20 25,4 48,6 56,26 42,58 20,88 6,92 6,80 20,78 40,92 66,93"
THREE = "10,14 30,2 52,12 50,34 25,46; 25,46 52,54 60,76 42,96 18,97 4,84"
FOUR = "18,4 10,30 6,55; 6,55 35,56 68,53; 50,8 47,50 44,100"
FOUR_CLOSED = "46,2 20,36 2,64; 2,64 35,66 68,63; 46,2 45,50 44,100"
FIVE = "16,6 13,25 10,44; 10,44 30,36 52,46 58,70 42,93 18,97 2,86; 16,6 35,7 60,4"
SIX = "50,3 25,22 8,50 6,78 22,97 46,93 57,74 45,56 25,56 8,72"
SEVEN = "4,8 30,7 62,5; 62,5 45,40 32,70 25,100"
SEVEN_WITH_BAR = f"{SEVEN}; 20,54 38,52 58,50"
EIGHT = "50,14 32,3 12,14 16,34 36,48 56,66 52,90 30,98 8,88 10,66 32,48 50,32 51,13"
NINE = "56,20 40,4 16,8 6,28 18,48 40,44 56,20; 56,20 54,50 50,75 44,100"


def curve(points: np.ndarray, steps: int = 60) -> np.ndarray:
    """A smooth line (N, 2) through points (P, 2): Catmull and Rom's splines."""
    ends = [2 * points[0] - points[1], *points, 2 * points[-1] - points[-2]]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        pieces.append(b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2))
    return np.concatenate([*pieces, points[-1:]])


def written(strokes: str, height: int, pen: float, seed: int, slant: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """A digit that is written by hand, as coverage from 0 to 1: `height` pixels high, with a frame around it.

    The hand is not quite sure of its points, and the pen, `pen` heights wide, is pressed more and less on its way.
    """
    rng, size, frame = np.random.default_rng(seed), FINE * height, 0.35
    side = round(size * (1 + 2 * frame))
    paper = Image.new("L", (side, side))
    ink = ImageDraw.Draw(paper)
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    for stroke in strokes.split("; "):
        meant = np.array([point.split(",") for point in stroke.split()], float) / 100
        points = meant + rng.normal(0, 0.012, meant.shape) - [0.33, 0.5]
        points[:, 0] -= slant * points[:, 1]
        line = curve(points @ np.array([[cos, -sin], [sin, cos]])) * size + side / 2
        press = 1 + 0.22 * np.sin(rng.uniform(0, 6) + np.linspace(0, rng.uniform(3, 7), len(line)))
        for (x, y), radius in zip(line, pen * size / 2 * press, strict=True):
            ink.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    kept = paper.resize((side // FINE, side // FINE), Image.Resampling.BOX)
    return np.asarray(kept) / 255


def printed(digit: str, font: str, height: int, turn: float, place: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """A digit of a font, turned by so many degrees, as coverage from 0 to 1, in a square twice as high."""
    file = f"{get_data_path()}/fonts/ttf/{font}.ttf"
    size = 1.35 * FINE * height
    chosen = ImageFont.truetype(file, size) if font else ImageFont.load_default(size)
    side = 2 * height * FINE
    paper = Image.new("L", (side, side))
    ImageDraw.Draw(paper).text((place[0] * side, place[1] * side), digit, 255, chosen, "mm")
    turned = paper.rotate(turn, Image.Resampling.BICUBIC).resize((2 * height, 2 * height), Image.Resampling.BOX)
    return np.asarray(turned) / 255


def coloured(ink: np.ndarray, pen: Sequence[float], paper: Sequence[float]) -> np.ndarray:
    """Ink of one colour on paper of another: (H, W, 3), from 0 to 255."""
    return ink[..., None] * np.array(pen) + (1 - ink[..., None]) * np.array(paper)


def light(shape: tuple[int, ...], dark: float, degrees: float) -> np.ndarray:
    """Light that falls from 1 to `dark` across a picture."""
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape[:2])[:, None, None] - 0.5
    along = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
    return (1 - (1 - dark) * (along - along.min()) / np.ptp(along))[..., None]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], grain: int) -> np.ndarray:
    """Noise in patches of about `grain` pixels, with a standard deviation of 1."""
    coarse = rng.normal(size=(shape[0] // grain + 2, shape[1] // grain + 2)).astype(np.float32)
    large = np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    return (large / large.std())[..., None]


def placed(ink: np.ndarray, height: int, width: int, top: int, left: int) -> np.ndarray:
    """The same ink on a larger sheet."""
    sheet = np.zeros((height, width))
    sheet[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return sheet


def save(name: str, values: np.ndarray, **options: Any) -> None:
    """A picture beside this program."""
    pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    Image.fromarray(np.ascontiguousarray(pixels)).save(HERE / name, optimize=True, **options)


def fonts() -> None:
    """Ten printed digits: dark on white, two of them light on black, of 14 to 150 pixels, turned a little."""
    rows = [
        ("DejaVuSans", 60, 4), ("DejaVuSerif", 40, -3), ("DejaVuSans-Bold", 90, 6), ("DejaVuSerif-Italic", 70, -5),
        ("STIXGeneral", 50, 3), ("DejaVuSansMono-Oblique", 14, 0), ("cmr10", 150, -6), ("", 48, 8),
        ("DejaVuSerif-BoldItalic", 64, -4), ("STIXGeneralItalic", 30, 2),
    ]  # fmt: skip
    for digit, (font, height, turn) in enumerate(rows):
        ink = printed(str(digit), font, height, turn, (0.45, 0.55))
        save(f"font_{digit}.png", 255 * ink if digit in (3, 8) else 255 * (1 - ink))


def strokes() -> None:
    """Ten digits as written with a fine pen, a ball-point, a felt pen, a marker: dark on white, one light on black."""
    rows: list[tuple[str, int, float, float, float]] = [
        (ZERO, 90, 0.10, 0.10, 0), (ONE, 80, 0.07, 0.20, 0), (TWO, 120, 0.06, 0.05, 3), (THREE, 100, 0.13, 0.0, -4),
        (FOUR, 140, 0.035, 0.10, 0), (FIVE, 70, 0.12, 0.15, 2), (SIX, 110, 0.05, 0.12, 0), (SEVEN, 60, 0.15, 0.0, -5),
        (EIGHT, 130, 0.08, 0.18, 0), (NINE, 100, 0.10, 0.05, 5),
    ]  # fmt: skip
    for digit, (shape, height, pen, slant, turn) in enumerate(rows):
        ink = written(shape, height, pen, digit, slant, turn)
        save(f"strokes_{digit}.png", 255 * ink if digit == 5 else 255 * (1 - 0.9 * ink))


def worn() -> None:
    """Ten digits as they come from cameras and drawing programs."""
    rng = np.random.default_rng(2)

    # 0: a photo by lamp light from one side, with the noise of a camera
    ink = placed(written(ZERO, 110, 0.08, 20, 0.15), 240, 320, 30, 110)
    seen = coloured(ink, (50, 50, 60), (240, 236, 225)) * light(ink.shape, 0.35, 20)
    save("worn_0.jpg", seen + rng.normal(0, 7, seen.shape), quality=75)

    # 1: a ball-point on a page, the photo lying on its side: a viewer turns it upright by its EXIF
    ink = placed(written(ONE_WITH_FLAG, 150, 0.05, 21, 0.1), 420, 300, 80, 40)
    seen = coloured(ink, (40, 55, 140), (225, 225, 220)) * light(ink.shape, 0.7, 70)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it by 90 degrees, clockwise
    save("worn_1.jpg", np.rot90(seen + rng.normal(0, 4, seen.shape)), quality=70, exif=exif)

    # 2: from a drawing program, without paper
    ink = written(TWO_WITH_LOOP, 90, 0.1, 22, 0.1)
    clear = np.dstack([np.zeros((*ink.shape, 3)), 255 * ink])
    save("worn_2.png", clear)

    # 3: red on green, of one grey
    ink = written(THREE, 80, 0.11, 23, 0.1)
    save("worn_3.png", coloured(ink, (214, 70, 60), (90, 140, 90)))

    # 4: pencil on rough paper
    ink = placed(written(FOUR_CLOSED, 120, 0.045, 24, 0.05), 240, 270, 20, 50)
    rough = smooth_noise(rng, ink.shape, 3) * 5 + smooth_noise(rng, ink.shape, 24) * 5
    grain = 1 - 0.35 * rng.random(ink.shape)
    save("worn_4.jpg", (coloured(ink * grain, (95, 95, 95), (222, 218, 205)) + rough)[..., 0], quality=80)

    # 5: chalk on a board
    ink = placed(written(FIVE, 120, 0.08, 25, 0.1), 240, 240, 20, 30)
    grain = 1 - 0.5 * (rng.random(ink.shape) < 0.3)
    board = coloured(ink * grain, (225, 225, 215), (45, 65, 55)) * light(ink.shape, 0.6, 200)
    save("worn_5.jpg", board + smooth_noise(rng, ink.shape, 12) * 4, quality=70)

    # 6: a scan with dust
    ink = placed(written(SIX, 100, 0.07, 26, 0.1), 200, 200, 15, 15)
    dust = rng.random(ink.shape)
    seen = np.where(dust < 0.01, 60, np.where(dust > 0.99, 255, 235 - 190 * ink))
    save("worn_6.png", seen)

    # 7: a marker on grey paper that fills the picture
    ink = written(SEVEN_WITH_BAR, 60, 0.12, 27, 0.1)[14:-14, 14:-14]
    save("worn_7.png", 170 - 130 * ink + rng.normal(0, 12, ink.shape))

    # 8: printed, small, blurred by a camera that was not still, in a dark room
    ink = printed("8", "DejaVuSans", 40, 7)
    moved = np.mean([np.roll(ink, step, 1) for step in range(5)], axis=0)
    seen = 20 + 70 * (1 - moved) * light(ink.shape, 0.6, 120)[..., 0]
    save("worn_8.jpg", seen + rng.normal(0, 3, ink.shape), quality=85)

    # 9: yellow on white, in low quality
    ink = written(NINE, 100, 0.12, 29, 0.1)
    save("worn_9.jpg", coloured(ink, (240, 200, 40), (250, 250, 248)), quality=30)


def shadow(shape: tuple[int, ...], dark: float, degrees: float, soft: float = 6) -> np.ndarray:
    """Light that falls from 1 to `dark` at a straight edge through the middle, within some pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]] - np.array(shape[:2])[:, None, None] / 2
    along = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
    return (dark + (1 - dark) / (1 + np.exp(along / soft)))[..., None]


def cut(ink: np.ndarray, more: int = 0) -> np.ndarray:
    """Ink without the paper around it, and without so many pixels at each side."""
    drawn = np.argwhere(ink > 0.5)
    (top, left), (bottom, right) = drawn.min(0) + more, drawn.max(0) + 1 - more
    return ink[top:bottom, left:right]


def hasty() -> None:
    """Six digits in the shadow of a hand, at the edge of the picture, or lost on a large sheet."""
    rng = np.random.default_rng(7)

    # 3: the edge of a shadow goes through it
    ink = placed(written(THREE, 130, 0.06, 40, 0.1), 300, 340, 30, 70)
    seen = coloured(ink, (45, 45, 55), (235, 232, 225)) * shadow(ink.shape, 0.45, 35)
    save("hasty_3.jpg", seen + rng.normal(0, 3, seen.shape), quality=75)

    # 5: a ball-point, and a soft shadow
    ink = placed(written(FIVE, 150, 0.07, 41, 0.05), 340, 320, 40, 30)
    seen = coloured(ink, (50, 60, 130), (230, 228, 220)) * shadow(ink.shape, 0.55, -40, 14)
    save("hasty_5.jpg", seen + rng.normal(0, 3, seen.shape), quality=75)

    # 6: printed, half of it in a hard shadow
    ink = placed(printed("6", "DejaVuSerif", 80, 5), 260, 300, 60, 90)
    seen = coloured(ink, (30, 30, 30), (215, 205, 190)) * shadow(ink.shape, 0.4, 100, 3)
    save("hasty_6.jpg", seen + rng.normal(0, 3, seen.shape), quality=75)

    # 7: small, in a corner of a large sheet, with a shadow over the other half
    ink = placed(written(SEVEN_WITH_BAR, 160, 0.06, 47, 0.1), 900, 1200, 30, 60)
    seen = coloured(ink, (40, 50, 120), (236, 232, 224)) * shadow(ink.shape, 0.45, 30, 20)
    save("hasty_7.jpg", seen + rng.normal(0, 3, seen.shape), quality=60)

    # 8: a marker, cut off at all sides
    save("hasty_8.png", 255 - 220 * cut(written(EIGHT, 100, 0.14, 54, 0.1), 2))

    # 9: cut to the ink, by lamp light
    ink = cut(written(NINE, 110, 0.10, 45, 0.05))
    seen = coloured(ink, (50, 50, 60), (240, 236, 225)) * light(ink.shape, 0.4, 30)
    save("hasty_9.png", seen + rng.normal(0, 3, seen.shape))


if __name__ == "__main__":
    fonts()
    strokes()
    worn()
    hasty()
