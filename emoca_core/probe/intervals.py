"""How sure a number is: bootstrap intervals and paired comparisons over groups of dependent samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

Measure = Callable[[Int[ndarray, "N"]], float]
"""A metric of the samples with these indices (with repeats)."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Difference of two methods on the same samples: interval, and the two-sided bootstrap p value."""

    difference: Interval
    p_value: float


def resamples(groups: Int[ndarray, "N"], draws: int, seed: int) -> list[Int[ndarray, "_"]]:
    """Sample indices of ``draws`` resamples of whole groups: frames of one clip are not independent."""
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(members), size=(draws, len(members)))
    return [np.concatenate([members[g] for g in row]) for row in chosen]


def bootstrap(measure: Measure, groups: Int[ndarray, "N"], draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval of a metric (Efron 1979); NaN bounds where the metric is undefined in most resamples."""
    value = measure(np.arange(len(groups)))
    values = np.array([measure(indices) for indices in resamples(groups, draws, seed)])
    return Interval(value, *_percentiles(values))


def compare(first: Measure, second: Measure, groups: Int[ndarray, "N"], draws: int = 2000, seed: int = 0) -> Comparison:
    """Paired bootstrap: both metrics on the same resamples.

    The p value is twice the smaller share of resamples on either side of zero, at least 1 / draws.
    """
    everything = np.arange(len(groups))
    differences = np.array([first(i) - second(i) for i in resamples(groups, draws, seed)])
    finite = differences[np.isfinite(differences)]
    tail = min((finite <= 0).mean(), (finite >= 0).mean()) if len(finite) else math.nan
    p_value = float(min(1.0, max(2 * tail, 1 / draws)))
    return Comparison(Interval(first(everything) - second(everything), *_percentiles(differences)), p_value)


def _percentiles(values: ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if 2 * len(finite) < len(values):
        return math.nan, math.nan
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
