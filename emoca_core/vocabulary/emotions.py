"""Expression classes: their names here, and what the world calls them."""

import re
from collections.abc import Mapping

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""AffectNet's order of the expression classes."""
BASIC_EXPRESSIONS = EXPRESSIONS[:7]
"""The classes of a task that names no others: without contempt."""

SYNONYMS: Mapping[str, str] = {
    **{name: name for name in EXPRESSIONS},
    **dict.fromkeys(("neutrality", "normal"), "neutral"),
    **dict.fromkeys(("happiness", "joy", "joyful", "smile"), "happy"),
    **dict.fromkeys(("sadness",), "sad"),
    **dict.fromkeys(("surprised",), "surprise"),
    **dict.fromkeys(("afraid", "fearful", "scared"), "fear"),
    **dict.fromkeys(("disgusted",), "disgust"),
    **dict.fromkeys(("angry",), "anger"),
    **dict.fromkeys(("contemptuous",), "contempt"),
}
"""Word in lower case -> class: the one table for manifests, importers and class sets."""
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")


def expression_name(text: str) -> str:
    """The name used here for a class; an unknown one keeps its own, in lower case, whole numbers without ``.0``.

    Example:
        >>> [expression_name(text) for text in ("Angry", " sadness", "3.0", "confused")]
        ['anger', 'sad', '3', 'confused']
    """
    bare = text.strip().lower()
    if (number := _WHOLE_NUMBER.fullmatch(bare)) is not None:
        return number[1]
    return SYNONYMS.get(bare, bare)
