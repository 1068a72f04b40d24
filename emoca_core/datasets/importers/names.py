"""What the published data sets call their splits, and AffectNet its codes. Classes: ``vocabulary.emotions``."""

from collections.abc import Mapping

from emoca_core.vocabulary.emotions import EXPRESSIONS

SPLIT_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "privatetest"), "test"),
}

AFFECTNET_CLASSES = (*EXPRESSIONS, "none", "uncertain", "no face")
"""AffectNet's codes 0 to 10."""
AFFECTNET_EXCLUDED = AFFECTNET_CLASSES[8:]
"""Codes without an expression; such rows are dropped and counted."""


def split_name(text: str) -> str:
    """The name used here; an unknown split keeps its own."""
    return SPLIT_SYNONYMS.get(text.strip().lower(), text.strip())
