"""Values of options: ``--set name=value``, and numbers within bounds."""

import argparse
from collections.abc import Callable, Iterable

from emoca_core import limits
from emoca_core.errors import ParamsError
from emoca_core.parsing import parse_yaml, shown


def whole(least: int = 1, most: int = limits.COUNT) -> Callable[[str], int]:
    """A type of option for ``argparse``: a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text) if len(text) <= limits.NUMBER_DIGITS.most else most + 1
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{shown(text)}' is no whole number from {least} to {most}")
        return value

    return read


def share(text: str) -> float:
    """A type of option for ``argparse``: a number from 0 to 1."""
    try:
        value = float(text) if len(text) <= limits.NUMBER_DIGITS.most else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # NaN is not either
        raise argparse.ArgumentTypeError(f"'{shown(text)}' is no number from 0 to 1")
    return value


def positive(text: str) -> float:
    """A type of option for ``argparse``: a finite number above 0."""
    try:
        value = float(text) if len(text) <= limits.NUMBER_DIGITS.most else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{shown(text)}' is no number above 0")
    return value


def seconds(text: str) -> float:
    """A type of option for ``argparse``: a finite number from 0."""
    try:
        value = float(text) if len(text) <= limits.NUMBER_DIGITS.most else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{shown(text)}' is no number from 0")
    return value


def settings_from(assignments: Iterable[str]) -> dict[str, object]:
    """Nested mapping of ``a.b=value`` assignments; values are YAML (``3``, ``1.0e-4``, ``true``, ``[a, b]``, text).

    Raises:
        ParamsError: An assignment without a name, or a value that is not YAML.

    Example:
        >>> settings_from(["epochs=3", "data.length=100"])
        {'epochs': 3, 'data': {'length': 100}}
    """
    settings: dict[str, object] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not all(name.split(".")):
            raise ParamsError(f"'{assignment}' is not a setting: write name=value")
        *path, last = name.split(".")
        place = settings
        for key in path:
            if not isinstance(inner := place.setdefault(key, {}), dict):
                raise ParamsError(f"'{name}' is set inside '{key}', which already has a value")
            place = inner
        place[last] = parse_yaml(text, f"the value of '{shown(assignment)}'", ParamsError)
    return settings


def class_set(text: str) -> str | tuple[str, ...]:
    """``data``, or names with commas between them, as of ``--classes``."""
    return text if text == "data" else tuple(text.split(","))


def names(text: str) -> tuple[str, ...]:
    """A type of option for ``argparse``: ``a,b`` as names."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"'{shown(text)}' has an empty name: write a,b")
    return found
