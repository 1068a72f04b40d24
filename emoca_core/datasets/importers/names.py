"""What the world calls expression classes and splits, and what they are called here."""

from collections.abc import Mapping

from emoca_core.interfaces import EXPRESSIONS

CLASS_SYNONYMS: Mapping[str, str] = {
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
SPLIT_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "privatetest"), "test"),
}

AFFECTNET_CLASSES = (*EXPRESSIONS, "none", "uncertain", "no face")
"""AffectNet's codes 0 to 10."""
AFFECTNET_EXCLUDED = AFFECTNET_CLASSES[8:]
"""Codes without an expression; such rows are dropped and counted."""


def class_name(text: str) -> str:
    """The name used here; an unknown class keeps its own, in lower case."""
    bare = text.strip().lower()
    return CLASS_SYNONYMS.get(bare, bare)


def split_name(text: str) -> str:
    """The name used here; an unknown split keeps its own."""
    return SPLIT_SYNONYMS.get(text.strip().lower(), text.strip())
