"""The tables of experiments/README.md: what each study cost, and how much two seeds of one network differ.

python experiments/tables.py writes them anew between the comments `costs` and `spread`, from what the studies have kept
of their runs: the one from the seconds of all, the other from the answers of `classic_to_modern`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

import study
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.arms import Arm, arms, swept
from cnnlab.report.tables import replaced

STUDY = "classic_to_modern"
HEADS = (
    "network",
    "test error (%)",
    "deviation between seeds (points)",
    "if images were tossed independently",
    "images on which two seeds differ",
    "first / last 5,000 images (%)",
)
WORKERS = 2
COSTS = ("study", "runs", "minutes", "runs to tune", "minutes", "together")
PAIR = ("relu / cross_entropy / avg / same", "relu / cross_entropy / max / same")  # two networks to be paired

Wrong = NDArray[np.bool_]  # (seeds, images)


def main(page: Path = study.FOLDER / "README.md") -> None:
    """Write both tables, each with what stands under it."""
    text = page.read_text(encoding="utf-8")
    for name, told in {"costs": costs, "spread": spread}.items():
        text = replaced(text, name, told())
    write_atomically(page, text.encode())
    print(f"written: {page}")


def costs(studies: Path = study.FOLDER) -> str:
    """The minutes that each study took of two workers by its runs' own clocks, and all of them together."""
    rows, total = [], 0.0
    for folder in sorted(file.parent for file in studies.glob(f"*/{study.RATES}")):
        made = [float(line["seconds"] or 0) for line in study.lines_of(folder / study.RESULTS)]
        of = {(line["tuned_for"], line["setting"]): line for line in study.lines_of(folder / study.RATES)}.values()
        tried, trying = (sum(int(line[f"budget_{what}"]) for line in of) for what in ("runs", "seconds"))
        minutes = [f"{seconds / WORKERS / 60:.0f}" for seconds in (sum(made), trying, sum(made) + trying)]
        rows.append((folder.name, len(made), minutes[0], tried, *minutes[1:]))
        total += sum(made) + trying
    table = tabulate(rows, COSTS, "github", disable_numparse=True)
    return f"{table}\n\nAll of them: {total / WORKERS / 3600:.1f} hours."


def spread() -> str:
    """The table of all arms, and what pairing by seed is worth."""
    records = study.kept(study.FOLDER / STUDY)
    found = {arm.label: wrong(arm) for arm in arms(records, swept(records))}
    table = tabulate([row(label, of) for label, of in found.items()], HEADS, "github", disable_numparse=True)
    one, other = (found[label] for label in PAIR)
    same = np.mean([differ(one[seed], other[seed]) for seed in range(len(one))])
    mixed = np.mean([differ(one[a], other[b]) for a, b in itertools.permutations(range(len(one)), 2)])
    return (
        f"{table}\n\nAverage and max pooling (ReLU, cross-entropy, same padding) differ in {same:.0f} images where "
        f"both have the same seed, and in {mixed:.0f} where they have not."
    )


def wrong(arm: Arm) -> Wrong:
    """Which test images each seed of an arm answers wrongly."""
    return np.array([record.answers != record.labels for record in arm.finished])


def row(label: str, of: Wrong) -> list[str]:
    """A line of the table.

    Two runs that err on each image independently of each other differ in D images, and a run's error then has the
    deviation sqrt(D / 2) / images.
    """
    pairs = np.mean([differ(one, other) for one, other in itertools.combinations(of, 2)])
    errors, images, half = 100 * of.mean(1), of.shape[1], of.shape[1] // 2
    return [
        label,
        f"{errors.mean():.2f}",
        f"{errors.std(ddof=1):.3f}",
        f"{100 * np.sqrt(pairs / 2) / images:.3f}",
        f"{pairs:.0f}",
        f"{100 * of[:, :half].mean():.2f} / {100 * of[:, half:].mean():.2f}",
    ]


def differ(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> int:
    """The number of images that one of two runs gets wrong and the other right."""
    return int(np.count_nonzero(one != other))


if __name__ == "__main__":
    refuse_other_checkout()
    main()
