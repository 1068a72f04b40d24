"""``--set name=value`` on the command line."""

from collections.abc import Iterable
from typing import Any

from emoca_core.errors import ParamsError
from emoca_core.parsing import parse_yaml


def settings_from(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested mapping of ``a.b=value`` assignments; values are YAML (``3``, ``1.0e-4``, ``true``, ``[a, b]``, text).

    Raises:
        ParamsError: An assignment without a name, or a value that is not YAML.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not all(name.split(".")):
            raise ParamsError(f"'{assignment}' is not a setting: write name=value")
        *path, last = name.split(".")
        place = settings
        for key in path:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ParamsError(f"'{name}' is set inside '{key}', which already has a value")
        place[last] = parse_yaml(text, f"the value of '{assignment}'", ParamsError)
    return settings


def class_set(text: str) -> str | tuple[str, ...]:
    """``data``, or names with commas between them, as of ``--classes``."""
    return text if text == "data" else tuple(text.split(","))
