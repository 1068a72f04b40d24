"""Dropping faces whose valence and arousal contradict their class, in the manner of EmoNet's authors.

EmoNet's published scores are on an AffectNet that was cleaned by hand-made rules, one for each class, and by lists of
images that are not public. Of the rules, these are documented and built in: both levels must be annotated, a neutral
face has an intensity (distance from the origin of valence and arousal) below 0.2, a happy one has a positive valence.
The rules of the other classes are not documented, so those classes pass. Hence ``like_emonet``: the same sort of
cleaning, not the same images.

Source: Toisoul et al., Nature Machine Intelligence 2021; EmoNet (emonet/data/affecnet.py).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from emoca_core.datasets.importers import Tally
from emoca_core.datasets.manifest import ManifestRow

NEUTRAL_INTENSITY = 0.2
"""From here on a face is not neutral."""

Consistent = Callable[[float, float], bool]
"""Whether valence and arousal are possible for a class."""

RULES: Mapping[str, Consistent] = {
    "neutral": lambda valence, arousal: math.hypot(valence, arousal) < NEUTRAL_INTENSITY,
    "happy": lambda valence, arousal: valence > 0,
}
"""Class -> its rule."""


def like_emonet(rows: Iterable[ManifestRow], tally: Tally) -> Iterator[ManifestRow]:
    """The rows that pass; the others are counted by reason."""
    for row in rows:
        reason = _objection(row)
        if reason is None:
            yield row
        else:
            tally.dropped[f"like EmoNet: {reason}"] += 1


def _objection(row: ManifestRow) -> str | None:
    if row.valence is None or row.arousal is None:
        return "valence or arousal not annotated"
    rule = RULES.get(row.expression or "")
    if rule is not None and not rule(row.valence, row.arousal):
        return f"{row.expression} contradicts valence and arousal"
    return None
