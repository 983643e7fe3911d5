"""What a study found, in sentences made from its numbers: the beginning of every report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cnnlab.report.arms import Arm, ranked
from cnnlab.report.contrasts import ROW, Contrast
from cnnlab.report.findings import Answer, Finding, Interaction, Staircase
from cnnlab.report.rows import Result
from cnnlab.report.tables import bounds, count, points
from cnnlab.statistics import FEWEST_SEEDS

UNCLEAR = ("", "none", "null", "true", "false")  # options that say nothing without their word


def sentences(answer: Answer, results: Sequence[Result] = ()) -> list[str]:
    """What the rows of a list say of their sources and goals, each contrast, and the shares; what must be known of it.

    The largest effects come first.
    """
    said = _of_rows(results)
    together = {both.contrast: both for both in answer.interactions}
    ordered = sorted(answer.findings, key=lambda found: -abs(found.effect.mean))
    parts = {part.contrast for both in answer.interactions for part in both.within.values()}
    for found in ordered:
        if found.contrast in together:
            said.append(_of_both(answer, together[found.contrast]))
        elif found.contrast not in parts:  # which stand in the sentence of the others
            said.append(f"{_who(found.contrast)} {_did(answer, found)}{_lost(found)}.")
    said += [f"{_who(one)} cannot be judged: no seed is finished on both sides." for one in answer.unjudged]
    if answer.staircase:
        said.append(_of_staircase(answer.staircase))
    few = {found.effect.n for found in ordered if not found.effect.enough_seeds}
    if few:
        seeds = count(max(few), "seed") if len(few) == 1 else f"{min(few)} to {max(few)} seeds"
        said.append(
            f"Without intervals, these are the differences of {seeds}: fewer than {FEWEST_SEEDS} allow no verdict."
        )
    if ordered and not answer.named:
        said.append("All of this is exploratory: the study's file names no contrasts.")
    return said


def winner(arms: Sequence[Arm]) -> str:
    """Which arm has the lowest mean validation error, and its test error; empty where that is not known of two arms."""
    known = [arm for arm in ranked(arms) if math.isfinite(arm.val_error.mean)]
    if len(known) < 2:
        return ""
    best, seeds = known[0], count(len(known[0].finished), "seed")
    errors = f"{best.val_error.mean:.2f}% ({seeds}), and {best.error.mean:.2f}% on test images"
    return f"{best.label} has the lowest validation error of {len(known)} arms: {errors}."


def _who(change: Contrast) -> str:
    """The two options; with their word, where they are not clear without."""
    plain = change.word == ROW or all(o not in UNCLEAR and o[0].isalpha() for o in (change.old, change.new))
    who = f"{'' if plain else f'{change.word}='}{change.new} instead of {change.old or 'none'}"
    return who + "".join(f", with {word}={option}," for word, option in change.where)


def _did(answer: Answer, found: Finding) -> str:
    """What a contrast did, as the second half of a sentence."""
    effect, verdict = found.effect, answer.verdict(found)
    much = _unsigned(effect.mean)
    if not effect.enough_seeds:
        return f"changed the error by {points(effect.mean)} points"
    if verdict == "fewer errors":
        return f"took off {much} points ({_unsigned(effect.high)} to {_unsigned(effect.low)})"
    if verdict == "more errors":
        return f"added {much} points ({_unsigned(effect.low)} to {_unsigned(effect.high)})"
    if verdict == "no difference detected":
        visible = _unsigned(effect.smallest_visible(answer.comparisons))
        among = f" among {answer.comparisons} comparisons" if effect.excludes_zero else ""  # alone it would have been
        return f"made no difference that was detected{among} ({bounds(effect)}; {visible} points would have been)"
    return f"made {verdict} ({bounds(effect)})"


def _of_both(answer: Answer, both: Interaction) -> str:
    """What a contrast did under each option of another word, and whether that differs."""
    parts = [f"{_did(answer, part)} with {both.word}={option}{_lost(part)}" for option, part in both.within.items()]
    said = f"{_who(both.contrast)} {', '.join(parts[:-1])}, and {parts[-1]}."
    effect, verdict = both.effect, answer.verdict(both)
    if not effect.enough_seeds:
        return said
    first, *_, last = both.within
    these = "These two" if len(both.within) == 2 else f"Those with {both.word}={first} and {last}"
    if verdict in ("fewer errors", "more errors"):
        low, high = sorted((abs(effect.low), abs(effect.high)))
        much = f"{_unsigned(effect.mean)} points ({_unsigned(low)} to {_unsigned(high)})"
        return f"{said} {these} differ by {much}: {both.contrast.word} and {both.word} interact."
    if verdict == "no difference detected":
        return f"{said} {these} were not seen to differ ({bounds(effect)})."
    return f"{said} {these} differ by no more than 0.1 points ({bounds(effect)})."


def _lost(found: Finding) -> str:
    """How much of a contrast was compared, where runs are missing."""
    pairs = found.pairs + found.lost
    lost = [f"in {found.pairs} of {pairs} pairs of arms"] * bool(found.lost)
    lost += [f"by {found.effect.n} of {found.seeds} seeds"] * (found.effect.n < found.seeds)
    return f" ({' and '.join(lost)}: those with a result on both sides)" if lost else ""


def _of_staircase(stairs: Staircase) -> str:
    """What each word contributes to the whole change."""
    whole = stairs.end - stairs.start
    sign, way = (-1, "falls") if whole < 0 else (1, "rises")
    parts = list[str]()
    for word, share in sorted(stairs.shares.items(), key=lambda item: -sign * item[1].effect.mean):
        low, high = sorted((sign * share.effect.low, sign * share.effect.high))
        between = f" ({100 * low:.2f} to {100 * high:.2f})" if share.effect.enough_seeds else ""
        parts.append(f"{word}{' has' * (not parts)} {100 * sign * share.effect.mean:.2f}{between}")
    ends = f"From {stairs.first} ({100 * stairs.start:.2f}%) to {stairs.last} ({100 * stairs.end:.2f}%)"
    return f"{ends} the error {way} by {_unsigned(whole)} points, of which {', '.join(parts[:-1])} and {parts[-1]}."


def _of_rows(results: Sequence[Result]) -> list[str]:
    """How many rows met their goal or agree with their source, and which did not."""
    goals = [one for one in results if one.row.goal]
    sources = [one for one in results if not one.row.goal and not math.isnan(one.row.paper)]
    said = [
        _counted(goals, "a goal", {"met": "met it", "missed": "missed it"}),
        _counted(sources, "a source's error", {"agrees": "agree{s} with it", "differs": "differ{s} from it"}),
    ]
    return [sentence for sentence in said if sentence]


def _counted(results: Sequence[Result], what: str, verdicts: Mapping[str, str]) -> str:
    """How many rows have each of these verdicts, with the names of those that have the last one."""
    if not results:
        return ""
    names = {verdict: [one.row.name for one in results if one.verdict == verdict] for verdict in verdicts}
    parts = [f"{(n := len(names[verdict]))} {said.format(s='s' * (n == 1))}" for verdict, said in verdicts.items()]
    if bad := [*names.values()][-1]:
        parts[-1] += f" ({', '.join(bad)})"
    if unknown := len(results) - sum(map(len, names.values())):
        parts.append(f"{unknown} {'is' if unknown == 1 else 'are'} open")
    return f"Of {count(len(results), 'row')} with {what}, {', '.join(parts[:-1])} and {parts[-1]}."


def _unsigned(share: float) -> str:
    return f"{100 * abs(share):.2f}"
