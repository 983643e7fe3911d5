"""The pages of a report: Markdown beside its figures, and one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnlab import plots
from cnnlab.paths import write_atomically
from cnnlab.report.arms import Arm, RunRecord, arms, ranked, steps, swept
from cnnlab.report.tables import count, legend, number, step_rows, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Words = Mapping[str, Sequence[str]]


class Picture(NamedTuple):
    """One figure of the report: its file name, its bytes as PNG, and a sentence on how to read it."""

    file: str
    data: bytes
    caption: str

    @property
    def inline(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.data).decode()


def write_report(name: str, records: Sequence[RunRecord], folder: Path, notes: Mapping[str, str]) -> Path:
    """The report of a sweep: `report.md` with its PNGs and a self-contained `index.html`, whose path is returned.

    `notes` holds the `question`, the `command` and the `environment`.
    The order of the records is the order of the options: the first of each word is the baseline.
    Raises ValueError when there are no records.
    """
    if not records:
        raise ValueError(f"report {name}: no run was found")
    words = swept(records)
    found = arms(records, words)
    pictures = [picture for draw in FIGURES if (picture := draw(found, words))]
    for picture in pictures:
        write_atomically(folder / picture.file, picture.data)
    facts = {"name": name, "notes": notes, "pictures": pictures, **_facts(found, words)}
    for template, file in (("report.md.j2", "report.md"), ("report.html.j2", "index.html")):
        write_atomically(folder / file, _render(template, facts).encode())
    return folder / "index.html"


def _facts(found: Sequence[Arm], words: Words) -> dict[str, Any]:
    records = [record for arm in found for record in arm.records]
    return {
        "summary": _summary(found, words),
        "words": words,
        "rows": table(found),
        "legend": legend(found),
        "steps": step_rows(steps(found, words)),
        "watched": any(record.watched for record in records),
        "unvalidated": all(math.isnan(r.error("val")) for r in records),
        "own_lr": "lr" not in words and len({arm.words.get("lr") for arm in found}) > 1,
        "failures": [
            (arm.label, r.words.get("seed", ""), r.failure) for arm in found for r in arm.records if r.failure
        ],
        "runs": [_run_row(arm, record) for arm in found for record in arm.records],
        "several_seeds": len({record.words.get("seed") for record in records}) > 1,
    }


def _run_row(arm: Arm, record: RunRecord) -> dict[str, str]:
    return {
        "arm": arm.label,
        "seed": record.words.get("seed", ""),
        "test error (%)": number(record.error("test"), ".2f"),
        "status": record.outcome,
        "run": record.run_id,
    }


def _summary(found: Sequence[Arm], words: Words) -> str:
    """How much of the sweep there is: arms, runs, failures, combinations that nobody ran."""
    runs = [record for arm in found for record in arm.records]
    done = sum(record.finished for record in runs)
    text = f"{count(len(found), 'arm')}, {count(len(runs), 'run')}, {done} with a result"
    combinations, here = _combinations(words), len({tuple(arm.swept.values()) for arm in found})
    if _is_grid(found, words) and here < combinations:
        text += f"; of {combinations} combinations of the swept words {combinations - here} not run"
    return text + "."


def _combinations(words: Words) -> int:
    return math.prod(map(len, words.values()))


def _is_grid(found: Sequence[Arm], words: Words) -> bool:
    """Whether at least half of the combinations were run; a study of unlike rows has a handful of thousands."""
    return bool(words) and 2 * len(found) >= _combinations(words)


def _error_bars(found: Sequence[Arm], words: Words) -> Picture:
    caption = (
        "Test error of every arm, best validation error on top; arms whose intervals overlap widely are not told apart,"
        " and an interval that reaches the frame goes on beyond it."
    )
    return _picture("error_bars.png", plots.error_bars(ranked(found)), caption)


def _heat_map(found: Sequence[Arm], words: Words) -> Picture | None:
    """None for what is no grid: the map would be mostly empty."""
    if not _is_grid(found, words):
        return None
    caption = (
        "Test error (%) of every combination: compare neighbouring rows or columns to see what one word changes;"
        " dark is worse, grey has no result."
    )
    return _picture("heat_map.png", plots.heat_map(found, words), caption)


def _learning_curves(found: Sequence[Arm], words: Words) -> Picture | None:
    if not any(arm.histories for arm in found):
        return None
    caption = (
        "Error against the epoch, one line an arm, named at its end with its last value; the colour is the option"
        " of the word that separates the arms most."
    )
    return _picture("learning_curves.png", plots.learning_curves_side_by_side(found, words), caption)


def _gradient_norms(found: Sequence[Arm], words: Words) -> Picture | None:
    epochs = [epoch for arm in found for history in arm.histories for epoch in history]
    if not any(key.startswith("grad_norm/") for epoch in epochs for key in epoch):
        return None
    caption = (
        "Norm of each layer's gradient in the first run of each arm, on one log scale: where the dark lines (first"
        " layers) lie far below the light ones (last layers), gradients vanish on their way down."
    )
    return _picture("gradient_norms.png", plots.gradient_norms_side_by_side(found), caption)


def _confusion(found: Sequence[Arm], words: Words) -> Picture | None:
    if all(arm.confusion is None for arm in found):
        return None
    caption = (
        "Mistakes on the test set by true class (row) and answer (column), the diagonal left out, on one log scale:"
        " a dark column is an answer given too often."
    )
    return _picture("confusion.png", plots.confusion_grid(found), caption)


FIGURES: tuple[Callable[[Sequence[Arm], Words], Picture | None], ...] = (
    _error_bars,
    _heat_map,
    _learning_curves,
    _gradient_norms,
    _confusion,
)


def _picture(file: str, figure: Figure, caption: str) -> Picture:
    return Picture(file, plots.png(figure), caption)


def _render(template: str, facts: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cnnlab.report"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = _markdown
    return environment.get_template(template).render(facts)


def _markdown(text: object) -> str:
    """Text that Markdown shows as it stands, on one line, also inside a table cell."""
    escaped = html.escape(" ".join(str(text).split()), quote=False).replace("\\", "\\\\")
    for special in "|`*[]":
        escaped = escaped.replace(special, "\\" + special)
    return escaped
