"""The bootstrap, literally: one metric of one resample after the other."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from emoca_core.measures.intervals import interval_of, p_value_of

Measure = Callable[[Int[ndarray, "N"]], float]
"""A metric of the samples with these indices (with repeats)."""


class Interval(NamedTuple):
    value: float
    low: float
    high: float


class Comparison(NamedTuple):
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
    return Interval(value, *interval_of(np.array([measure(indices) for indices in resamples(groups, draws, seed)])))


def compare(first: Measure, second: Measure, groups: Int[ndarray, "N"], draws: int = 2000, seed: int = 0) -> Comparison:
    """Paired bootstrap: both metrics on the same resamples."""
    everything = np.arange(len(groups))
    differences = np.array([first(i) - second(i) for i in resamples(groups, draws, seed)])
    whole = first(everything) - second(everything)
    return Comparison(Interval(whole, *interval_of(differences)), p_value_of(whole, differences))
