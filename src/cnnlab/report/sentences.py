"""What a study found, in sentences made from its numbers: the beginning of every report."""

from __future__ import annotations

from collections.abc import Mapping

from cnnlab.report.contrasts import ROW, Answer, Finding, Interaction
from cnnlab.report.tables import bounds, count, points
from cnnlab.statistics import FEWEST_SEEDS, Effect, Share


def sentences(answer: Answer) -> list[str]:
    """One for each contrast, the largest effects first; one on the shares, if there are any; one where seeds lack."""
    together = {both.contrast: both for both in answer.interactions}
    ordered = sorted(answer.findings, key=lambda found: -abs(found.effect.mean))
    said = [_of(found, together.get(found.contrast), answer.comparisons) for found in ordered]
    if answer.shares:
        said.append(_of_shares(answer.shares))
    if ordered and not all(found.effect.enough_seeds for found in ordered):
        said.append(f"Fewer than {FEWEST_SEEDS} seeds allow no verdict: these are the differences of these very runs.")
    return said


def _of(found: Finding, both: Interaction | None, comparisons: int) -> str:
    """What one contrast did, or what it did under each option of another word."""
    change = found.contrast
    who = (
        f"{change.new} instead of {change.old}"
        if change.word == ROW
        else f"{change.word}={change.new} instead of {change.old}"
    )
    who += "".join(f", with {word}={option}," for word, option in change.where)
    if both is None:
        return f"{who} {_did(found.effect, found.verdict, comparisons)}."
    parts = [
        f"{_did(part.effect, part.verdict, comparisons)} with {both.word}={option}"
        for option, part in both.within.items()
    ]
    said = f"{who} {', and '.join(parts)}."
    if not both.change.enough_seeds:
        return said
    differ = both.verdict in ("fewer errors", "more errors")
    much = f"{points(both.change.mean)} points ({bounds(both.change)})"
    return said + (
        f" The two words interact: these differ by {much}."
        if differ
        else f" That these differ was not detected ({much})."
    )


def _did(effect: Effect, verdict: str, comparisons: int) -> str:
    """What an effect did, as the second half of a sentence."""
    much, between = points(abs(effect.mean)).lstrip("+"), f"({bounds(effect)})"
    if not effect.enough_seeds:
        return f"changed the error by {points(effect.mean)} points ({count(effect.n, 'seed')})"
    if verdict == "fewer errors":
        return f"took off {much} points {between}"
    if verdict == "more errors":
        return f"added {much} points {between}"
    if verdict == "no difference detected":
        seen = points(effect.smallest_visible(comparisons)).lstrip("+")
        return f"made no difference that was detected ({bounds(effect)}; {seen} points would have been)"
    return f"made {verdict} {between}"


def _of_shares(shares: Mapping[str, Share]) -> str:
    """What each word contributes to the whole change."""
    total = sum(share.effect.mean for share in shares.values())
    ordered = sorted(shares.items(), key=lambda item: item[1].effect.mean)
    parts = [
        f"{word} has {points(share.effect.mean)}" + f" ({bounds(share.effect)})" * share.effect.enough_seeds
        for word, share in ordered
    ]
    whole = f"From the first options of all words to the second ones the error changes by {points(total)} points"
    return f"{whole}, of which {', '.join(parts)}."
