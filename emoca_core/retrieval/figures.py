"""How well an index puts alike expressions together: precision and differences at k, against chance.

The query's own person is left out. Chance is exact: the expectation for neighbours drawn at random from the same faces.
Intervals are of resamples of whole people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import BaseModel, BeforeValidator, ConfigDict

from emoca_core.datasets.labels import choose_classes
from emoca_core.errors import AssetFormatError
from emoca_core.measures.intervals import interval_of, resampled_sums
from emoca_core.measures.tables import aligned
from emoca_core.retrieval.index import Index
from emoca_core.retrieval.search import nearest

AT = (1, 5, 10)
"""Numbers of neighbours that are looked at."""
LEVELS = ("valence", "arousal")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


Number = Annotated[float, BeforeValidator(_rounded)]


class Figure(_Strict):
    """One figure at one number of neighbours."""

    value: Number
    low: Number
    """2.5 percentile of the resamples of people."""
    high: Number
    """97.5 percentile."""
    chance: Number
    """Of neighbours drawn at random."""


class ClassFigures(_Strict):
    """Precision of the queries of one class."""

    faces: int
    precision: dict[int, Number]
    chance: Number


class RetrievalFigures(_Strict):
    """What was measured of one index."""

    format: Literal["emoca-retrieval-1"] = "emoca-retrieval-1"
    by: str
    inputs: tuple[str, ...]
    dimensions: int
    faces: int
    """In the index."""
    metric: str
    left_out: str
    """Of the query's own: person, clip or photo."""
    groups: int
    """People, clips or photos."""
    draws: int
    queries: int
    """Faces with a class."""
    precision: dict[int, Figure] = {}
    """Share of the neighbours that have the query's class, by number of neighbours."""
    balanced: dict[int, Figure] = {}
    """The same as the mean over the classes."""
    classes: dict[str, ClassFigures] = {}
    differences: dict[str, dict[int, Figure]] = {}
    """Mean |difference| of valence, arousal between query and neighbours."""


def measure(
    index: Index, metric: str = "l2", at: Sequence[int] = AT, leave_out: str | None = None, draws: int = 2000
) -> RetrievalFigures:
    """Ask for the neighbours of every labelled face.

    Args:
        index: Faces with labels.
        metric: How distances are measured.
        at: Numbers of neighbours.
        leave_out: Which of the query's own are no neighbours; people or clips where the index names them, else photos.
        draws: Resamples.

    Raises:
        AssetFormatError: No labels, or too few faces.
        ParamsError: The index has no such groups.

    Example: ``print(figures_table([measure(open_index("faces.index"))]))``
    """
    left_out = leave_out or ("identity" if _names_people(index) else "photo")
    question = _Question(index, metric, tuple(at), index.groups(left_out), draws)
    names = choose_classes("data", index.faces) if any(index.faces.texts("expression")) else ()
    classes = index.faces.classes(names) if names else np.full(len(index), -1)
    levels = {level: index.faces.numbers(level).astype(np.float64) for level in LEVELS}
    known = np.flatnonzero(classes >= 0)
    with_levels = np.flatnonzero(np.isfinite(np.stack([*levels.values()])).all(0))
    if not len(known) and not len(with_levels):
        raise AssetFormatError(f"{index.folder}: no face has an expression, or valence and arousal: nothing to measure")
    precision, balanced, by_class = _class_figures(question, known, classes, names) if len(known) else ({}, {}, {})
    return RetrievalFigures(
        by=index.card.by,
        inputs=index.card.inputs,
        dimensions=index.card.dimensions,
        faces=len(index),
        metric=metric,
        left_out=left_out,
        groups=len(np.unique(question.groups)),
        draws=draws,
        queries=len(known),
        precision=precision,
        balanced=balanced,
        classes=by_class,
        differences=_differences(question, with_levels, levels) if len(with_levels) else {},
    )


def figures_table(measured: Sequence[RetrievalFigures]) -> str:
    """For the terminal: a figure, its interval and chance in each line."""
    lines = [["", "value", "95 % interval", "chance"]]
    for figures in measured:
        lines.append([f"{figures.by} ({figures.metric})", "", "", ""])
        rows = {"precision": figures.precision, "precision, mean of classes": figures.balanced}
        rows |= {f"|{level} difference|": by_count for level, by_count in figures.differences.items()}
        for name, by_count in rows.items():
            for count, figure in by_count.items():
                interval = f"{figure.low:.3f} to {figure.high:.3f}"
                lines.append([f"  {name} @{count}", f"{figure.value:.3f}", interval, f"{figure.chance:.3f}"])
    return aligned(lines)


def chance_of_class(classes: Int[ndarray, "N"], groups: Int[ndarray, "N"], count: int) -> Float[ndarray, "N"]:
    """For each face the probability that a random face outside of its group has its class.

    Args:
        classes: Of all faces.
        groups: Whom a face leaves out.
        count: Number of classes.
    """
    member = np.unique(groups, return_inverse=True)[1]
    both = np.unique(member * count + classes, return_inverse=True, return_counts=True)
    outside = len(classes) - np.bincount(member)[member]
    same = np.bincount(classes, minlength=count)[classes] - both[2][both[1]]
    return same / outside


def mean_differences(values: Float[ndarray, "N"], groups: Int[ndarray, "N"]) -> Float[ndarray, "N"]:
    """For each face the mean |difference| to the faces outside of its group, exactly, in O(N log N)."""
    member = np.unique(groups, return_inverse=True)[1]
    total = _sums_of_differences(values, np.zeros_like(member)) - _sums_of_differences(values, member)
    return total / (len(values) - np.bincount(member)[member])


def _sums_of_differences(values: Float[ndarray, "N"], member: Int[ndarray, "N"]) -> Float[ndarray, "N"]:
    """Sum of |difference| to every value of the same group: of sorted values, from their running sums."""
    order = np.lexsort((values, member))
    ordered, of = values[order], member[order]
    sizes = np.bincount(of)
    start = (np.cumsum(sizes) - sizes)[of]
    running = np.concatenate([[0.0], np.cumsum(ordered)])
    place = np.arange(len(values))
    below, above = running[place] - running[start], running[start + sizes[of]] - running[place + 1]
    sums = np.empty(len(values))
    sums[order] = ordered * (place - start) - below + above - ordered * (start + sizes[of] - 1 - place)
    return sums


@dataclass(frozen=True)
class _Question:
    """What is asked of an index; ``groups`` are whom each face leaves out."""

    index: Index
    metric: str
    at: tuple[int, ...]
    groups: Int[ndarray, "N"]
    draws: int

    def neighbours(self, rows: Int[ndarray, "K"]) -> Int[ndarray, "K C"]:
        """Places in ``rows`` of the nearest faces of other groups, for every face of ``rows``."""
        features, groups, most = self.index.features[rows], self.groups[rows], max(self.at)
        found = nearest(features, features, most, self.metric, groups, groups)
        if (found.rows < 0).any():
            raise AssetFormatError(
                f"{self.index.folder}: {len(rows)} labelled faces of {len(np.unique(groups))} people, clips or photos "
                f"are too few for {most} neighbours"
            )
        return found.rows

    def figures(self, whole: Float[ndarray, "M"], drawn: Float[ndarray, "R M"]) -> dict[int, Figure]:
        """By number of neighbours; the last column is chance."""
        intervals = [interval_of(column) for column in drawn.T]
        return {
            count: Figure(value=whole[i], low=intervals[i][0], high=intervals[i][1], chance=whole[-1])
            for i, count in enumerate(self.at)
        }


def _class_figures(
    question: _Question, rows: Int[ndarray, "K"], classes: Int[ndarray, "N"], names: Sequence[str]
) -> tuple[dict[int, Figure], dict[int, Figure], dict[str, ClassFigures]]:
    """Precision, its mean over the classes, and by class."""
    classes, groups = classes[rows], question.groups[rows]
    alike = (classes[question.neighbours(rows)] == classes[:, None]).astype(np.float64)
    chance = chance_of_class(classes, groups, len(names))
    columns = np.stack([*(alike[:, :count].mean(1) for count in question.at), chance], axis=1)
    of_class = np.eye(len(names))[classes]
    added = np.concatenate([of_class, (of_class[:, :, None] * columns[:, None]).reshape(len(rows), -1)], axis=1)
    by_class, whole = _means(added.sum(0, keepdims=True), len(names))
    drawn_by_class, drawn = _means(resampled_sums(added, groups, question.draws), len(names))
    found = {
        name: ClassFigures(
            faces=int((classes == c).sum()),
            precision={count: by_class[0, c, i] for i, count in enumerate(question.at)},
            chance=by_class[0, c, -1],
        )
        for c, name in enumerate(names)
    }
    balanced = question.figures(np.nanmean(by_class[0], 0), np.nanmean(drawn_by_class, 1))
    return question.figures(whole[0], drawn), balanced, found


def _means(sums: Float[ndarray, "R S"], classes: int) -> tuple[Float[ndarray, "R C M"], Float[ndarray, "R M"]]:
    """Means over the faces of each class (NaN without any), and over all faces."""
    counts, totals = sums[:, :classes], sums[:, classes:].reshape(len(sums), classes, -1)
    with np.errstate(invalid="ignore"):
        return totals / counts[..., None], totals.sum(1) / counts.sum(1)[:, None]


def _differences(
    question: _Question, rows: Int[ndarray, "K"], levels: Mapping[str, Float[ndarray, "N"]]
) -> dict[str, dict[int, Figure]]:
    neighbours, groups = question.neighbours(rows), question.groups[rows]
    found = {}
    for level, values in levels.items():
        values = values[rows]
        apart = np.abs(values[neighbours] - values[:, None])
        columns = [apart[:, :count].mean(1) for count in question.at]
        added = np.stack([*columns, mean_differences(values, groups), np.ones(len(rows))], axis=1)
        drawn, whole = resampled_sums(added, groups, question.draws), added.sum(0)
        found[level] = question.figures(whole[:-1] / whole[-1], drawn[:, :-1] / drawn[:, -1:])
    return found


def _names_people(index: Index) -> bool:
    return any(index.faces.texts("identity")) or any(index.faces.texts("clip"))
