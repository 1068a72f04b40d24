"""Errors whose text says what was asked, what exists, and what to do next."""

import difflib
import re
from collections.abc import Iterable

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, breaks lines, turns the direction of writing, or is no character at all."""


class EmocaError(Exception):
    """Base class; catch this to catch everything raised on purpose. The command line prints it and exits with 2."""


class UnknownNameError(EmocaError, KeyError):
    """A name (component, recipe, preset, block, feature) that does not exist."""

    __str__ = Exception.__str__  # KeyError would print the repr, with escaped newlines


class DuplicateComponentError(EmocaError):
    """Two plugins offer the same name for the same kind."""


class ComponentImportError(EmocaError, ImportError):
    """A known component whose module, or optional dependency, cannot be imported."""


class ComponentBuildError(EmocaError):
    """A component that fails while it is built, for a reason of its own."""


class PluginError(EmocaError):
    """A plugin that does not keep to what plugins may do."""


class ParamsError(EmocaError, ValueError):
    """Parameters that the component's ``Params`` model rejects."""


class CatalogueError(EmocaError, ValueError):
    """A registry.yaml that cannot be read, or does not follow the schema."""


class RecipeError(EmocaError, ValueError):
    """Parts that do not fit together."""


class MissingAssetError(EmocaError, FileNotFoundError):
    """A licensed or large file that the user has to provide.

    The message names the file, the folders that were searched, where to obtain it and its licence.
    """

    __str__ = Exception.__str__


class AssetFormatError(EmocaError, ValueError):
    """A file that is not what its name promises: wrong format, missing key, wrong shape, unsafe content."""


class LimitError(EmocaError, ValueError):
    """Something larger, longer or deeper than ``emoca_core.limits`` lets pass."""


class ImageError(EmocaError, ValueError):
    """A picture that cannot be read, or is unusable."""


class OutputError(EmocaError, OSError):
    """The output folder cannot be written, or the disk is full."""


class UnsafePathError(EmocaError, ValueError):
    """A name from outside that would lead out of the folder it belongs to."""


def did_you_mean(asked: str, names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the closest existing name, or an empty string."""
    close = difflib.get_close_matches(asked, list(names), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown_name(what: str, asked: str, names: Iterable[str], notes: Iterable[str] = ()) -> UnknownNameError:
    """The one way to say that a name does not exist: what was asked, the nearest name, everything that exists.

    Args:
        what: The sort of thing, e.g. ``"recipe"``.
        asked: The name that was asked for.
        names: All existing names.
        notes: Further lines, e.g. plugins that failed to load.
    """
    names = sorted(names)
    lines = [f"no {what} named '{asked}'.{did_you_mean(asked, names)}"]
    lines.append(f"  available: {', '.join(names) or 'none'}")
    return UnknownNameError("\n".join([*lines, *(f"  {note}" for note in notes)]))


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type, where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str, keep: str = "") -> str:
    r"""A text from outside as a terminal may show it: what would act on the terminal becomes an escape.

    Args:
        text: A name, a message.
        keep: Control characters that stay, e.g. line breaks.

    Example:
        >>> print(printable("a \x1b[31mred\x1b[0m name"))
        a \x1b[31mred\x1b[0m name
    """
    return _UNPRINTABLE.sub(lambda match: _escaped(match[0], keep), text)


def _escaped(character: str, keep: str) -> str:
    return character if character in keep else character.encode("unicode_escape").decode("ascii")
