"""`cnnlab predict`: which digits pictures of one's own show, by the best network that was trained, or another."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.commands import parser
from cnnlab.paths import is_full, root, typed, write_atomically
from cnnlab.pictures import FORMATS, SIDE, read, shown

if TYPE_CHECKING:
    from cnnlab.pictures import Picture
    from cnnlab.predictor import Predictor

DIGITS = tuple("0123456789")
MNIST = {"cnnlab.data.mnist", "cnnlab.data.mnist5k"}
UNCHANGED = {"size": None, "margin": 0, "enlarge": 1, "deslant": False}  # options of MNIST that leave its images alone
RANKS = "; its loss is not cross-entropy: its probabilities rank digits, but do not say how sure it is"
EXAMPLES = f"""\
  cnnlab predict digit.png                   by the best finished run
  cnnlab predict *.jpg --out answers.png     many pictures
  cnnlab predict digit.png --run 3f9c        by the run whose id begins so
  cnnlab predict digit.png --run model       by a network's npz file, or a run's folder model

A picture shows one digit, dark on light or light on dark: {", ".join(FORMATS)}. It is prepared as MNIST's
images were. The best run is that with the lowest mean validation error over its seeds.
"""


def main(words: Sequence[str]) -> None:
    """Say for each picture which digit it shows, and draw how sure that is; one that cannot be read is told of."""
    parse = parser("predict", EXAMPLES)
    parse.add_argument("images", nargs="+", metavar="IMAGE", help="a picture of one digit")
    parse.add_argument("--run", help="the name of a run, or the beginning of its id, or a path (default: the best)")
    parse.add_argument("--out", type=Path, help="the picture of the answers, a PNG (default reports/predictions.png)")
    said = parse.parse_intermixed_args(words)
    out = said.out or root() / "reports/predictions.png"
    if out.suffix.lower() != ".png" or out.is_dir():
        parse.error(f"--out {shown(out)}: choose the name of a file that ends in .png")
    predictor, name = _chosen(said.run) if said.run is not None else _best()
    pictures = _read(said.images)
    if pictures:
        print(name, flush=True)
        probabilities = predictor.predict_proba(np.stack([picture.pixels for picture in pictures.values()]))
        print(table(list(pictures), probabilities), flush=True)
        _draw(out, pictures, probabilities, name)
    if len(pictures) < len(dict.fromkeys(said.images)):
        sys.exit(1)


def table(names: Sequence[str], probabilities: np.ndarray) -> str:
    """A line for each picture: its name, the digit that is the most probable one, and the next."""
    width = max(map(len, (*names, "picture")))
    lines = [f"{'picture':<{width}}  digit  probability  else  probability"]
    for name, shares in zip(names, probabilities, strict=True):
        first, second = np.argsort(-shares, kind="stable")[:2]
        answer = f"{DIGITS[first]:>5}  {shares[first]:>11.2%}  {DIGITS[second]:>4}  {shares[second]:>11.2%}"
        lines.append(f"{name:<{width}}  {answer}")
    return "\n".join(lines)


def _read(images: Sequence[str]) -> dict[str, Picture]:
    """The pictures that can be read, by name; a line on each of the others."""
    found = {}
    for image in dict.fromkeys(images):
        try:
            found[shown(Path(image))] = read(Path(image))
        except ValueError as error:
            print(error, file=sys.stderr, flush=True)
    return found


def _draw(out: Path, pictures: Mapping[str, Picture], probabilities: np.ndarray, title: str) -> None:
    """Write the picture of the answers."""
    from cnnlab import plots

    originals, pixels = zip(*((picture.colours, picture.pixels) for picture in pictures.values()), strict=True)
    names = [Path(name).name for name in pictures]
    content = plots.png(plots.predictions(originals, np.stack(pixels), probabilities, names, DIGITS, title))
    try:
        write_atomically(out, content)
    except OSError as error:
        if is_full(error):
            raise
        raise ValueError(f"--out {shown(out)}: cannot be written: {error.strerror}") from None
    print(f"{shown(out)} shows what the network sees")


def _chosen(run: str) -> tuple[Predictor, str]:
    """The network that was asked for, and what to call it; ValueError, in one line, if it is not for digits."""
    from cnnlab.api import load

    try:
        predictor = load(run)
    except (ValueError, OSError) as error:
        raise ValueError(f"--run {run}: {error}") from None
    if predictor.shape != (SIDE, 1, SIDE) or predictor.classes != DIGITS:
        raise ValueError(f"--run {run}: {predictor!r}: choose a network for digits in {SIDE}x{SIDE} grey images")
    return predictor, f"by {run}"


def _best() -> tuple[Predictor, str]:
    """The network of the best finished run on MNIST's digits, and what to call it; ValueError if there is none."""
    from cnnlab.tracking import records

    for study, run in records.best_first():
        with records.despite_lost_files():
            config = records.config(study, run)
            if "model" in config["learner"] and _is_mnist(config["data"]):
                error = run.data.metrics[records.VALIDATION_ERROR]
                name = f"by {run.info.run_name} of study {study.name}, run {run.info.run_id[:8]}"
                ranks = "" if run.data.params["loss"] == "cross_entropy" else RANKS
                return records.predictor(study, run), f"{name}: validation error {error:.2f}%{ranks}"
    raise ValueError(f"no finished run knows digits yet: {typed('sweep', 'cnnlab sweep')} makes some")


def _is_mnist(data: Mapping[str, Any]) -> bool:
    """Whether a config's images are MNIST's, as they are."""
    return data["_target_"] in MNIST and all(data.get(name, value) == value for name, value in UNCHANGED.items())
