"""The tables of a sweep: rows of text that a terminal, Markdown and HTML show alike."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

from cnnlab.report.arms import FOLLOWERS, Arm, ranked
from cnnlab.report.contrasts import ROW, Contrast
from cnnlab.report.findings import Answer, Staircase
from cnnlab.statistics import FEWEST_SEEDS, Effect, Interval, Share

SIZES = {"parameters": "size/parameters", "multiply-adds": "size/macs"}
NOTHING = "–"
DIFFER = {"fewer errors": "yes", "more errors": "yes"}  # of changes, which are neither
OTHER_CODE = (
    'The code has changed since the runs "by other code": rerun=changed on the command line makes just those again.'
)


def table(arms: Iterable[Arm]) -> list[dict[str, str]]:
    """One row an arm, best validation error first and failures last: swept words, lr, errors, time, status.

    In a sweep that is a list, an arm's row is named before its words. The training error is that of the last epoch, of
    images as they were met. What an arm costs is there where arms differ in it.
    """
    arms = ranked(arms)
    listed = any(arm.row for arm in arms)
    costs = {name: {arm.mean(metric) for arm in arms if arm.finished} for name, metric in SIZES.items()}
    sizes = {name: SIZES[name] for name, found in costs.items() if len(found) > 1 and not any(map(math.isnan, found))}
    followers = [word for word in FOLLOWERS if word == "lr" or len({arm.words.get(word) for arm in arms}) > 1]
    return [
        {
            **({"row": arm.row} if listed else {}),
            **arm.swept,
            **{word: arm.words.get(word, NOTHING) for word in followers},
            "test error (%)": percent(arm.error),
            "validation error (%)": percent(arm.val_error),
            "training error (%)": number(arm.mean_error("train"), ".2f"),
            **{name: number(arm.mean(metric), ",.0f") for name, metric in sizes.items()},
            "s / run": number(arm.mean("time/total_s"), ".1f"),
            "seeds": str(len(arm.finished)),
            "status": arm.status,
        }
        for arm in arms
    ]


def terminal_table(arms: Sequence[Arm]) -> str:
    """The table for the end of a sweep, with a line that says what its intervals are."""
    from tabulate import tabulate

    rows = [{name: cell for name, cell in row.items() if name not in SIZES} for row in table(arms)]  # to fit a screen
    return f"{tabulate(rows, headers='keys', disable_numparse=True)}\n{legend(arms)}".rstrip("\n")


def legend(arms: Sequence[Arm]) -> str:
    """What the intervals in the table are, and how to make runs of other code again; empty when it has neither."""
    kinds = {(arm.error.n > 1, math.isfinite(arm.error.low)) for arm in arms if arm.error.n}
    said = {
        (True, True): "±: 95% interval for new seeds and new images",
        (False, True): "[ ]: 95% binomial (Wilson) interval of one seed's test set, blind to other seeds",
        (True, False): f"no interval: fewer than {FEWEST_SEEDS} seeds, or answers that were not kept",
    }
    intervals = "; ".join(text for kind, text in said.items() if kind in kinds)
    others = any(record.other_code for arm in arms for record in arm.finished)
    sentence = intervals[:1].upper() + intervals[1:] + "." * bool(intervals)
    return " ".join(filter(None, (sentence, OTHER_CODE * others)))


def contrast_rows(answer: Answer) -> list[dict[str, str]]:
    """One row a contrast, differences of the test error in percentage points; intervals where seeds allow them."""
    return [
        {
            "contrast": shown(found.contrast),
            "verdict": answer.verdict(found),
            "change of test error (points)": points(found.effect.mean),
            "95% for new seeds and images": bounds(found.effect),
            "on these images": bounds(found.effect.here) if found.effect.enough_seeds else NOTHING,
            "of 10,000 images": _signed(10_000 * found.effect.mean, 0),
            "p": _p(found.effect.p, found.effect),
            "p by Holm": _p(answer.adjusted[found.key], found.effect),
            "seeds": str(found.effect.n) + (f" of {found.seeds}" if found.effect.n < found.seeds else ""),
            "pairs of arms": str(found.pairs) + (f" ({found.lost} lost)" if found.lost else ""),
            "only new / only old wrong": f"{found.worse} / {found.better}",
            "seeds to see 0.1 points": _seeds(found.effect, answer.comparisons),
        }
        for found in answer.findings
    ]


def interaction_rows(answer: Answer) -> list[dict[str, str]]:
    """One row a contrast: what it changed within each option of another word, and how far these changes differ."""
    options = dict.fromkeys((both.word, option) for both in answer.interactions for option in both.within)
    return [
        {
            "contrast": shown(both.contrast),
            "do these differ": DIFFER.get(answer.verdict(both), answer.verdict(both)),
            "last less first": _effect(both.effect),
            **{
                f"with {word}={option}": f"{_effect(part.effect)}: {answer.verdict(part)}" if part else NOTHING
                for word, option in options
                for part in [both.within.get(option)]
            },
        }
        for both in answer.interactions
    ]


def share_rows(staircase: Staircase | None) -> list[dict[str, str]]:
    """One row a word: its share, and what it changes at the places in the order where that is least and most."""
    return [
        {
            "word": word,
            "share (points)": points(share.effect.mean),
            "95% for new seeds and images": bounds(share.effect),
            "seeds": str(share.effect.n),
            "lowest change": _after(share, share.smallest),
            "highest change": _after(share, share.largest),
        }
        for word, share in (staircase.shares if staircase else {}).items()
    ]


def _after(share: Share, steps: frozenset[str]) -> str:
    return f"{_effect(share.after[steps])} after {', '.join(sorted(steps)) or 'nothing'}"


def _effect(effect: Effect) -> str:
    between = bounds(effect)
    return points(effect.mean) + (f" ({between})" if between != NOTHING else "")


def shown(contrast: Contrast) -> str:
    """A contrast as people read it, with an arrow."""
    return str(contrast).removeprefix(f"{ROW}=").replace(" ", ", ").replace("->", " \N{RIGHTWARDS ARROW} ")


def _p(value: float, effect: Effect) -> str:
    if math.isnan(effect.low) or 1 < effect.n < FEWEST_SEEDS:
        return NOTHING
    return "< 0.001" if value < 0.001 else number(value, ".3f")


def _seeds(effect: Effect, comparisons: int) -> str:
    needed = effect.seeds_needed(comparisons)
    return "no number suffices" if math.isinf(needed) else number(needed, ".0f")


def points(share: float) -> str:
    """A difference of errors, a fraction, in percentage points."""
    return _signed(100 * share, 2)


def _signed(value: float, digits: int) -> str:
    """A number with its sign, which 0 has not."""
    return f"{value:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def bounds(effect: Interval) -> str:
    """The interval of a difference, a fraction, in points; a dash where seeds lack for one."""
    if 1 < effect.n < FEWEST_SEEDS or math.isnan(effect.low):
        return NOTHING
    return f"{points(effect.low)} to {points(effect.high)}"


def percent(error: Interval) -> str:
    """An error (%) with its interval: "2.31 ± 0.12" over seeds, "2.31 [2.03, 2.63]" for one."""
    if error.n > 1 and math.isfinite(error.low):
        return f"{error.mean:.2f} ± {error.half_width:.2f}"
    return " ".join(filter(None, (number(error.mean, ".2f"), _bounds(error, ".2f"))))


def number(value: float, form: str, unknown: str = NOTHING) -> str:
    """The number in that form, a dash for nan."""
    return unknown if math.isnan(value) else format(value, form)


def count(number: int, noun: str) -> str:
    """So many of them: "1 arm", "2 arms"."""
    return f"{number} {noun}" + "s" * (number != 1)


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV, with every column that one of them has; what a row lacks is left empty."""
    file = io.StringIO()
    table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()


def replaced(page: str, name: str, text: str) -> str:
    """A Markdown page with the text between its comments `<!-- name -->` and `<!-- /name -->` replaced."""
    before, opening, rest = page.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not (opening and closing):
        raise ValueError(f"the page has no place between <!-- {name} --> and <!-- /{name} -->")
    return f"{before}{opening}\n{text}\n\n{closing}{after}"


def _bounds(interval: Interval, form: str) -> str:
    return f"[{interval.low:{form}}, {interval.high:{form}}]" if math.isfinite(interval.low) else ""
