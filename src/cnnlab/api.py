"""The way in from Python: runs, and the networks that they trained."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from cnnlab.predictor import Predictor
from cnnlab.tracking import records as kept


def load(run_or_path: str | PathLike[str]) -> Predictor:
    """The trained network of a finished run, or in a file.

    A run is named by its id, which may be cut short, or its name. A path is that of a network's npz file, or of the
    folder `model/` of a run, downloaded or not; the networks in a folder add up. ValueError, in one line, where there
    is no network, or the runs are several.
    """
    place = Path(run_or_path)
    files = [place] if place.is_file() else _networks(place)
    if files:
        return Predictor.of(files)
    if isinstance(run_or_path, PathLike) or place.is_absolute() or place.suffix == ".npz" or run_or_path[:1] == ".":
        raise ValueError(f"{place}: there is no network here: choose an npz file of one, or the folder model of a run")
    found = kept.finished(fspath(run_or_path))
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for _, run in found[:5]) + ", ..." * (len(found) > 5)
        raise ValueError(f"{run_or_path} has {len(found)} finished runs: choose one by its id: {ids}")
    return kept.predictor(*found[0])


def _networks(folder: Path) -> list[Path]:
    """The networks' files of a folder; of a run's own, which has other npz files, those in its model."""
    if (folder / "model/artifacts").is_dir() or (folder / "artifacts").is_dir():
        folder /= "model/artifacts" if (folder / "model").is_dir() else "artifacts"
    return sorted(folder.glob("*.npz"))
