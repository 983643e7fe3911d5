"""Pictures of digits, from a scanner, a camera or a drawing program, prepared as MNIST's images were.

MNIST's makers scaled each digit to fit 20x20 pixels, keeping its proportions, with grey levels from antialiasing, and
put its centre of mass at the centre of 28x28. Before that can be done, the ink has to be told from the paper.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE, LONGER = 28, 20  # pixels of an image, and of the longer side of the digit in it
MIDDLE = 14  # the row and column of MNIST's centres of mass, rounded
LARGEST = 50_000_000  # pixels of a picture that is read
FINE = 10  # pixels for one of these, while a line's thickness is looked at
WORKING = 1024  # pixels of its longer side that are looked at: a digit needs no more
SMALL = 224  # pixels of the longer side of what is shown of it
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
LEAST = 16  # of 255: ink that differs less from its paper is none
THINNEST = 1.8  # pixels of 20: a thinner line than nearly all of MNIST's is thickened to this
NEAR = 5  # pixels within which light hardly changes, but noise does
UNEVEN = 10  # of 255: so much more than noise, and a paper's light is not smooth
TOUCHED = 0.02  # of the border: more than this, and it is not of paper alone
COARSE = 128  # pixels of the longer side of a picture in which paper is looked for around each pixel
DISC = 0.4  # of its longer side: so large is the disc, wider than any line
SPECK = 0.04  # of the largest part's area: a smaller part is no part of the digit


@dataclass(frozen=True)
class Picture:
    """A picture of a digit: `colours` (H, W, 3), how it looks, small, and `pixels` (28, 28), as a network takes it."""

    colours: Bytes
    pixels: Bytes


def read(path: Path) -> Picture:
    """The picture in a file, prepared. ValueError, in one line, where there is none or it shows no ink."""
    from PIL.Image import Resampling

    try:
        picture = _opened(path)
    except OSError as error:
        raise ValueError(f"{shown(path)}: cannot be read: {error.strerror or error}") from None
    try:
        pixels = prepared(np.asarray(picture))
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from None
    picture.thumbnail((SMALL, SMALL), Resampling.BOX)
    return Picture(_on_white(np.asarray(picture)), pixels)


def shown(path: Path) -> str:
    """A path as text, with a question mark for each character that cannot be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))


def prepared(colours: Bytes) -> Bytes:
    """What is drawn in colours (H, W, 3), or with opacity (H, W, 4), as MNIST would have it: (28, 28), light on black.

    An image that is one of MNIST's, or like them, stays as it is. ValueError where no ink is seen.
    """
    seen = _on_white(colours)
    if is_prepared(seen):
        return seen[..., 0]
    grey = seen[..., seen.std((0, 1)).argmax()]  # the colour that tells most: some inks are as light as their paper
    if np.ptp(grey) < LEAST and colours.shape[2] == 4:
        grey = colours[..., 3]  # white ink on no paper
    return _centred(_scaled(_digit(grey.astype(np.float32))))


def is_prepared(colours: Bytes) -> bool:
    """Whether an image is like MNIST's: what all 70,000 have in common, and few others have."""
    grey = colours[..., 0]
    if grey.shape != (SIDE, SIDE) or (colours != grey[..., None]).any() or np.count_nonzero(grey) > grey.size / 2:
        return False
    drawn = np.argwhere(grey)
    longer = np.ptp(drawn, 0).max() + 1 if drawn.size else 0
    return longer in (LONGER - 1, LONGER) and bool((abs(_mass(grey) - MIDDLE) < 0.6).all())


def _opened(path: Path) -> Image:
    """The picture in a file: upright, with opacity, its longer side at most `WORKING` pixels."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = shown(path)
    if path.is_dir():
        raise ValueError(f"{name} is a folder: choose pictures in it, such as {name}/*.png")
    if not path.is_file():
        raise ValueError(f"{name}: there is no such file")
    large = f"{name} has more than {LARGEST // 10**6} million pixels: choose a smaller picture"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file or large; the size is looked at below
        try:
            with Image.open(path, formats=FORMATS) as image:
                fits = image.width * image.height <= LARGEST
                picture = _with_opacity(ImageOps.exif_transpose(image)) if fits else None
        except Image.DecompressionBombError:
            raise ValueError(large) from None
        except UnidentifiedImageError:
            raise ValueError(f"{name} is no picture: choose a file of {', '.join(FORMATS)}") from None
        except Exception as error:  # decoders raise whatever comes up in a damaged file
            if isinstance(error, OSError) and error.strerror:
                raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{name}: the picture cannot be read: {said}") from None
    if picture is None:
        raise ValueError(large)
    picture.thumbnail((WORKING, WORKING), Image.Resampling.BOX)
    return picture


def _with_opacity(image: Image) -> Image:
    """An image of any mode as red, green, blue and opacity. Where its greys are more than bytes, all are stretched."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        levels = np.nan_to_num(np.asarray(image, np.float64))
        shares = (levels - levels.min()) / max(np.ptp(levels), 1e-9)
        image = Image.fromarray(np.rint(255 * shares).astype(np.uint8))
    return image.convert("RGBA")


def _on_white(colours: Bytes) -> Bytes:
    """Colours (H, W, 4) with opacity as they are seen on white paper (H, W, 3)."""
    if colours.shape[2] == 3:
        return colours
    opacity = colours[..., 3:].astype(np.float32) / 255
    return np.rint(colours[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)


def _digit(grey: Floats) -> Floats:
    """The ink of the digit, from 0 to 1, cropped to it. ValueError where there is none."""
    from scipy import ndimage

    longer = max(grey.shape)
    if longer > 5 * SIDE:  # in a smaller picture a line may be no wider than a speck
        grey = ndimage.gaussian_filter(ndimage.median_filter(grey, 3), longer / 300)
    ink, noise = _ink(grey)
    strong = ink[ink > max(LEAST, 4 * noise)]
    if strong.size < max(4, ink.size / 5000):
        raise ValueError("no ink is seen: choose a picture of one digit, dark on light or light on dark")
    full = float(np.percentile(strong, 75))
    drawn = _parts(ink > max(0.25 * full, min(5 * noise, 0.45 * full)))
    faint = max(0.1 * full, 2 * noise)
    ink = ((ink - faint) / (full - faint)).clip(0, 1) * ndimage.binary_dilation(drawn, iterations=1 + longer // 200)
    rows, columns = (slice(found.min(), found.max() + 1) for found in drawn.nonzero())
    return ink[rows, columns]


def _ink(grey: Floats) -> tuple[Floats, float]:
    """How far each pixel differs from the paper, towards the side of the ink, from 0 to 255; and the paper's noise.

    The paper is what the border shows, and light on it may rise and fall as smoothly as a polynomial of degree 2. Where
    the border shows more than that, as with the edge of a shadow or a digit that fills the picture, it is looked for
    around each pixel. Of dark ink, what counts is the share of the paper's light that it takes away.
    """
    paper, noise = _paper(grey)
    is_light = (paper - grey - 3 * noise).clip(0).sum() < (grey - paper - 3 * noise).clip(0).sum()
    near = abs(grey[NEAR:] - grey[:-NEAR]) if len(grey) > NEAR else np.zeros(1)
    grain = 1.05 * float(np.median(near))  # a standard deviation: a difference has the noise of two pixels
    is_smooth = noise < UNEVEN + 2 * grain and _border(abs(grey - paper) > max(LEAST, 4 * noise)).mean() < TOUCHED
    if not is_smooth:
        paper = _paper_around(grey, is_light)
    share = np.ones_like(paper) if is_light else 255 / paper.clip(LEAST)
    ink = (grey - paper if is_light else paper - grey) * share
    if is_smooth:
        return ink.clip(0, 255), noise * float(np.mean(share))
    lower = ink[ink <= np.percentile(ink, 40)]  # up to half of the picture may be ink
    level = np.median(lower)
    return (ink - level).clip(0, 255), max(1.0, 1.4826 * float(np.median(abs(lower - level))))


def _paper_around(grey: Floats, is_light: bool) -> Floats:
    """The paper's brightness without the ink on it, by a morphological closing, or of light ink an opening.

    Lines that are thinner than the disc are filled with what is around them, and the edge of a shadow stays.
    """
    import cv2

    scale = min(1, COARSE / max(grey.shape))
    height, width = (max(1, round(scale * length)) for length in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    side = 1 + 2 * round(DISC * max(small.shape) / 2)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    paper = cv2.morphologyEx(small, cv2.MORPH_OPEN if is_light else cv2.MORPH_CLOSE, disc)
    return np.asarray(cv2.resize(paper, grey.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _border(values: NDArray[Any]) -> NDArray[Any]:
    """What is at the border of an array (H, W)."""
    return np.concatenate([values[[0, -1]].ravel(), values[:, [0, -1]].ravel()])


def _paper(grey: Floats) -> tuple[Floats, float]:
    """The paper's brightness, without what is on it, and its noise (a standard deviation).

    It is fitted to the border, then to all that is as bright as what was fitted before, give or take the noise.
    """
    step = 1 + max(grey.shape) // 128
    terms, few = _terms(*grey.shape), grey[::step, ::step]
    some = terms[::step, ::step]
    chosen = (abs(some[..., 1:3]) > 1 - np.maximum(1 / 6, 1.5 / np.array(grey.shape[::-1]))).any(-1)
    paper, noise = np.full(few.shape, np.median(few[chosen])), 1.0
    for degree in (1, *[2] * 7):  # a plane first: a parabola would bend down to a table at one side
        count = 3 * degree
        factors = _fitted(some[chosen][:, :count], few[chosen], paper[chosen])
        paper = some[..., :count] @ factors
        away = abs(few - paper)
        noise = max(1.0, 1.4826 * float(np.median(away[chosen])))
        chosen = away < 3 * max(noise, 2)
    return (terms @ factors).astype(np.float32), noise


def _terms(height: int, width: int) -> NDArray[np.float64]:
    """The terms of a polynomial of degree 2 in x and y, which go from -1 to 1 over the picture: (height, width, 6)."""
    y, x = ((2 * np.arange(length) + 1) / length - 1 for length in (height, width))
    y, x = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)


def _fitted(terms: NDArray[Any], values: NDArray[Any], near: NDArray[Any]) -> NDArray[Any]:
    """The factors of terms (N, T) whose sum deviates least from the values, in absolute terms: ink hardly moves it.

    `near` is a first guess at that sum.
    """
    for _ in range(8):
        weights = 1 / np.sqrt(np.maximum(abs(values - near), 0.5))
        factors = np.linalg.lstsq(terms * weights[:, None], values * weights)[0]
        near = terms @ factors
    return factors


def _parts(drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is drawn, without specks; and without what comes in from outside, such as a table, if more is left."""
    from scipy import ndimage

    parts, _ = ndimage.label(drawn, np.ones((3, 3)))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    inside = areas.copy()
    inside[np.unique(_border(parts))] = 0
    if inside.max() > areas.max() / 4:
        areas = inside
    return (areas >= max(1, SPECK * areas.max()))[parts]


def _scaled(ink: Floats) -> Floats:
    """The ink with its longer side `LONGER` pixels long, its strongest at 1, its line as thick as MNIST's at least."""
    large = _resized(ink, LONGER * FINE).clip(0, 1)
    small = _resized(_thickened(large), LONGER)
    return small / small.max()


def _thickened(ink: Floats) -> Floats:
    """The same digit, `FINE` pixels for one, with a line of `THINNEST` pixels at least.

    How thick a line is, is twice its area by the length of its edge.
    """
    from scipy import ndimage

    drawn = np.pad(ink > 0.5, 1)
    steps = np.count_nonzero(drawn[1:] != drawn[:-1]) + np.count_nonzero(drawn[:, 1:] != drawn[:, :-1])
    edge = steps * np.pi / 4  # a slanting edge goes in steps, which are longer
    more = round((FINE * THINNEST - 2 * np.count_nonzero(drawn) / max(edge, 1)) / 2)
    if more < 1:
        return ink
    y, x = np.mgrid[-more : more + 1, -more : more + 1]
    return ndimage.grey_dilation(np.pad(ink, more), footprint=x**2 + y**2 <= more**2)


def _resized(ink: Floats, longer: int) -> Floats:
    """The ink with its longer side so many pixels long, in its proportions; antialiased where it becomes smaller."""
    from PIL import Image

    height, width = (max(1, round(longer * length / max(ink.shape))) for length in ink.shape)
    smaller = longer < max(ink.shape)
    how = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(ink.astype(np.float32)).resize((width, height), how))


def _centred(ink: Floats) -> Bytes:
    """The ink in the middle of an image, as bytes: the middle is that of its mass, to the nearest pixel."""
    room = SIDE - np.array(ink.shape)
    top, left = np.rint(MIDDLE - _mass(ink)).astype(int).clip(0, room)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[top : top + ink.shape[0], left : left + ink.shape[1]] = np.rint(255 * ink)
    return pixels


def _mass(ink: NDArray[Any]) -> NDArray[np.float64]:
    """Row and column of the centre of mass."""
    shares = ink / np.sum(ink, dtype=np.float64)
    return np.array([shares.sum(1) @ np.arange(ink.shape[0]), shares.sum(0) @ np.arange(ink.shape[1])])
