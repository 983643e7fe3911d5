"""What the options of a layer or a rule may be: a ValueError in one line that begins with the option and its value."""

from math import inf


def positive(**options: float) -> None:
    """Refuse what is not above 0."""
    for name, value in options.items():
        if not 0 < value < inf:
            raise ValueError(f"{name}={value}: choose a number above 0")


def at_least(least: int, **options: float) -> None:
    """Refuse what is lower."""
    for name, value in options.items():
        if not least <= value < inf:
            raise ValueError(f"{name}={value}: choose {least} or more")


def below_one(**options: float) -> None:
    """Refuse what is not from 0 up to, but not including, 1."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value}: choose a number from 0 up to, but not including, 1")
