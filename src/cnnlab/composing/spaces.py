"""From words to what a search may try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from cnnlab.composing.configs import composition
from cnnlab.spelling import as_text

SPACES = (  # what a word may be in a search
    "options a,b or numbers range(8,129,8), interval(0.1,1), int(interval(8,128)), tag(log,interval(0.001,1))"
)


@dataclass(frozen=True)
class Options:
    """What a word may be in a search: one of these options, as they are typed."""

    options: tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """What a word may be in a search: a number from `low` to `high`, a whole one where both are.

    They go by a `step`, if there is one, or by factors rather than differences on a `log` scale.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False


def searched(words: Sequence[str]) -> dict[str, Options | Numbers]:
    """What the words with several options or numbers may be, in Hydra's grammar of sweeps; ValueError in one line."""
    with composition():
        hydra = GlobalHydra.instance().hydra
        assert hydra
        parser, found = OverridesParser.create(config_loader=hydra.config_loader), dict[str, Options | Numbers]()
        for word in as_text(words):
            try:
                parsed = parser.parse_override(word)
                if parsed.is_sweep_override():
                    found[parsed.get_key_element()] = _space(parsed)
            except (HydraException, ValueError) as error:
                reason = f"{error}; " if isinstance(error, ValueError) else ""
                raise ValueError(f"{word}: {reason}choose {SPACES}") from None
    return found


def _space(word: Override) -> Options | Numbers:
    value = word.value()
    log = isinstance(value, IntervalSweep | RangeSweep) and "log" in value.tags
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        space = Numbers(value.start, value.end, log=log)
    elif isinstance(value, RangeSweep):
        numbers = sorted(value.range())
        if not numbers or (log and value.step != 1):
            raise ValueError("its steps are not of a log scale" if numbers else "there is nothing in this range")
        space = Numbers(numbers[0], numbers[-1], None if log else abs(value.step), log)
    elif isinstance(value, ChoiceSweep) and value.shuffle:
        raise ValueError("a search has no order")
    else:
        return Options(tuple(dict.fromkeys(word.sweep_string_iterator())))
    if space.low > space.high or (log and space.low <= 0):
        raise ValueError("a log scale begins above 0" if log else "the smaller number comes first")
    return space
