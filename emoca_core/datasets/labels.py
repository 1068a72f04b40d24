"""What a task with certain expression classes can learn from a manifest, and what it leaves out, counted and named."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emoca_core.datasets.manifest import Manifest
from emoca_core.errors import AssetFormatError, ParamsError, did_you_mean
from emoca_core.vocabulary.emotions import EXPRESSIONS, expression_name

Classes = Literal["data"] | Sequence[str]
"""The class set of a task: the classes that occur in its data, or names."""
_NAMED = 20
"""Classes that a message names."""


def choose_classes(classes: Classes, manifest: Manifest) -> tuple[str, ...]:
    """Names of the classes of a task: those of the data in AffectNet's order, others after them; or those named.

    Raises:
        ParamsError: A class is named twice, or none is.
    """
    if classes == "data":
        present = {name for name in manifest.texts("expression") if name}
        return (*(n for n in EXPRESSIONS if n in present), *sorted(present - set(EXPRESSIONS)))
    names = tuple(map(expression_name, classes))
    if not all(names) or not names or len(set(names)) < len(names):
        raise ParamsError(f"a set of classes names every class once, not: {', '.join(classes) or 'nothing'}")
    return names


@dataclass(frozen=True)
class LabelCounts:
    """Rows of a manifest by what is known of them.

    Attributes:
        labels: Classes of the task.
        used: Rows of each of them.
        left_out: Rows of classes that the task does not have.
        valence_arousal: Rows with both.
        one_level: Rows with only one of valence and arousal, which no objective and no table uses.
        usable: Rows with a class of the task, or with valence and arousal.
    """

    labels: tuple[str, ...]
    used: Mapping[str, int]
    left_out: Mapping[str, int]
    valence_arousal: int
    one_level: int
    usable: int

    def notes(self) -> list[str]:
        """A line for each sort of label that is not used, or not of the usual classes."""
        lines = class_notes(self.labels, self.left_out)
        if self.one_level:
            lines.append(f"{_rows(self.one_level)} only one of valence and arousal, which is not used")
        return lines


def count_labels(manifest: Manifest, labels: Sequence[str]) -> LabelCounts:
    """Count what a task with these classes can use."""
    found = Counter(name for name in manifest.texts("expression") if name)
    levels = np.stack([np.isfinite(manifest.numbers(name)) for name in ("valence", "arousal")])
    usable = (manifest.classes(labels) >= 0) | levels.all(0)
    return LabelCounts(
        labels=tuple(labels),
        used={name: found[name] for name in labels},
        left_out={name: count for name, count in found.most_common() if name not in labels},
        valence_arousal=int(levels.all(0).sum()),
        one_level=int((levels[0] != levels[1]).sum()),
        usable=int(usable.sum()),
    )


def usable_labels(manifest: Manifest, labels: Sequence[str], what: str) -> LabelCounts:
    """As ``count_labels``.

    Args:
        manifest: The rows.
        labels: Classes of the task.
        what: Names the rows in a message.

    Raises:
        AssetFormatError: No row can be used.
    """
    counts = count_labels(manifest, labels)
    if not counts.usable:
        reasons = "".join(f"; {note}" for note in counts.notes())
        raise AssetFormatError(f"{what}: no row has an expression of the task, or valence and arousal{reasons}")
    return counts


def class_notes(labels: Sequence[str], left_out: Mapping[str, int]) -> list[str]:
    """What to know of a class set: which rows it leaves out, which of its names are no usual ones."""
    lines = []
    if left_out:
        named = [f"'{n}' {count}{did_you_mean(n, labels).rstrip()}" for n, count in [*left_out.items()][:_NAMED]]
        more = f" and {len(left_out) - _NAMED} more classes" if len(left_out) > _NAMED else ""
        have, task = _rows(sum(left_out.values())), ", ".join(labels) or "none"
        lines.append(f"{have} a class that is not among {task}: {', '.join(named)}{more}")
    if own := [name for name in labels if name not in EXPRESSIONS]:
        lines.append(f"classes that only these data have: {', '.join(own[:_NAMED])}")
    if any(name.lstrip("+-").isdigit() for name in (*left_out, *labels)):
        lines.append(
            "a number does not say which expression it is: `emoca data import table --root FOLDER --csv FILE "
            f"--classes {','.join(EXPRESSIONS)} --out NAMED.csv` names the numbers 0, 1, ... in the order given"
        )
    return lines


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"
