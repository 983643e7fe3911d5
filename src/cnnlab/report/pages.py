"""The pages of a report: Markdown beside its figures, and one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab import plots
from cnnlab.paths import write_atomically
from cnnlab.report import curves, effects, figures, panels
from cnnlab.report.arms import Arm, Options, RunRecord, arms, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.findings import answer
from cnnlab.report.rows import Result, mark_note
from cnnlab.report.sentences import sentences, winner
from cnnlab.report.tables import NOTHING, contrast_rows, count, interaction_rows, legend, number, share_rows, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    name: str,
    records: Sequence[RunRecord],
    folder: Path,
    notes: Mapping[str, str],
    results: Sequence[Result] = (),
    asked: Asked = Asked(),
) -> Path:
    """The report of a sweep: `report.md` with its PNGs and a self-contained `index.html`, whose path is returned.

    `notes` holds the `question`, the `command` and the `environment`; `results` are those of a sweep given as rows,
    and `asked` is what its file wants to know.
    The order of the records is the order of the options: the first of each word is the baseline.
    Raises ValueError when there are no records.
    """
    if not records:
        raise ValueError(f"report {name}: no run was found")
    facts = {"name": name, "notes": notes, **_facts(records, asked, results), "pictures": []}
    for file, figure in drawn(name, records, asked).items():
        (folder / file).unlink(missing_ok=True)  # one of before would be listed, and kept in the store
        if figure:
            picture = plots.png(figure)
            write_atomically(folder / file, picture)
            facts["pictures"].append((file, base64.b64encode(picture).decode()))
    for template, file in (("report.md.j2", "report.md"), ("report.html.j2", "index.html")):
        write_atomically(folder / file, _render(template, facts).encode())
    return folder / "index.html"


def numbers(name: str, records: Sequence[RunRecord], asked: Asked) -> str:
    """The part of a report that is made from results alone, in Markdown: the answer and its tables."""
    return _render("numbers.md.j2", {"name": name, **_facts(records, asked)}).strip()


def drawn(name: str, records: Sequence[RunRecord], asked: Asked) -> dict[str, Figure | None]:
    """The figures of a report, by file; None where there is nothing to show. templates/captions.j2 explains each."""
    words = swept(records)
    found = arms(records, words)
    said, title = answer(found, words, asked), _title(name, found)
    return {
        "contrasts.png": effects.contrasts(said, title),
        "shares.png": effects.shares(said, title),
        "error_bars.png": figures.error_bars(found, title),
        "heat_map.png": figures.heat_map(found, words, title),
        "learning_curves.png": curves.learning_curves(found, words, title),
        "gradient_ratio.png": curves.gradient_ratio(found, words, title),
        "layer_gradients.png": curves.layer_gradients(found, words, title),
        "confusion.png": panels.confusion_grid(found, title),
    }


def _title(name: str, found: Sequence[Arm]) -> str:
    """The title of every figure: the study, and how many arms and seeds it has."""
    seeds = sorted({len(arm.finished) for arm in found})
    of = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    return f"{name}: {count(len(found), 'arm')}, {of}"


def _facts(records: Sequence[RunRecord], asked: Asked, results: Sequence[Result] = ()) -> dict[str, Any]:
    words = swept(records)
    found = arms(records, words)
    said = answer(found, words, asked)
    runs = [(arm, record) for arm in found for record in arm.records]
    return {
        "words": words,
        "summary": _summary(found, words),
        "listed": _without_empty([_listed(result) for result in results]),
        "mark": mark_note(results),
        "rows": table(found),
        "legend": legend(found),
        "winner": winner(found),
        "sentences": sentences(said, results),
        "named": said.named,
        "tables": [
            ("Contrasts", contrast_rows(said), "contrasts_note.j2"),
            ("The same within each option of another word", interaction_rows(said), ""),
            ("Shares of the whole change", share_rows(said.staircase), "shares_note.j2"),
        ],
        "watched": any(name.startswith("watch/") for _, record in runs for name in record.metrics),
        "unvalidated": all(math.isnan(record.error("val")) for _, record in runs),
        "lists": [
            ("Learning rates", _rates(found)),
            (
                "Failed runs",
                [f"{arm.label}, seed {r.words.get('seed', '')}: {r.failure}" for arm, r in runs if r.failure],
            ),
        ],
        "own_lr": "lr" not in words and len({arm.words.get("lr") for arm in found}) > 1,
        "several_seeds": len({record.words.get("seed") for _, record in runs}) > 1,
        "runs": [
            {
                "arm": arm.label,
                "seed": record.words.get("seed", ""),
                "test error (%)": number(record.error("test"), ".2f"),
                "status": record.failure or "finished" + ", by other code" * record.other_code,
                "run": record.run_id,
            }
            for arm, record in runs
        ],
    }


def _listed(result: Result) -> dict[str, str]:
    """A row of a sweep that is a list: what was asked for, what was found, and what a source says."""
    row, shown = result.row, result.shown()
    columns = ("verdict", "ours (%)", "source's error (%)", "goal", "seeds", "source")
    words = f"the vote of {row.votes}" if row.votes else row.words
    return {"row": shown["row"], **{name: shown[name] for name in columns}, "words": words}


def _without_empty(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows without the columns in which none of them has anything."""
    known = {name for row in rows for name, value in row.items() if value not in ("", NOTHING)}
    return [{name: value for name, value in row.items() if name in known} for row in rows]


def _rates(found: Sequence[Arm]) -> list[str]:
    """Where the arms' learning rates are from: a line for each source."""
    sources: dict[str, list[str]] = {}
    for arm in found:
        for source in dict.fromkeys(record.lr_source for record in arm.records if record.lr_source):
            sources.setdefault(source, []).append(arm.label)
    return [
        f"{'all arms' if len(labels) == len(found) else ', '.join(labels)}: {source}"
        for source, labels in sources.items()
    ]


def _summary(found: Sequence[Arm], words: Options) -> str:
    """How much of the sweep there is: arms, runs, failures, combinations that nobody ran."""
    runs = [record for arm in found for record in arm.records]
    done = sum(record.finished for record in runs)
    text = f"{count(len(found), 'arm')}, {count(len(runs), 'run')}, {done} with a result"
    all_of_them, here = figures.combinations(words), len({tuple(arm.swept.values()) for arm in found})
    if figures.is_grid(found, words) and here < all_of_them:
        text += f"; of {all_of_them} combinations of the swept words {all_of_them - here} not run"
    return text + "."


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
    return re.sub(r"([\\|`*\[\]])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
