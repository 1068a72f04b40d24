"""How sure a number is: bootstrap intervals and paired comparisons over groups of dependent samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


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


def interval_of(value: float, resampled: Float[ndarray, "R"]) -> Interval:
    """A value with the 2.5 and 97.5 percentiles of its resamples."""
    finite = resampled[np.isfinite(resampled)]
    if 2 * len(finite) < len(resampled):
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def comparison_of(difference: float, resampled: Float[ndarray, "R"]) -> Comparison:
    """A difference with its interval and p value: twice the smaller share of resamples on either side of zero.

    The p value is at least 1 / draws, at most 1, and NaN where the difference is undefined.
    """
    interval = interval_of(difference, resampled)
    if not math.isfinite(interval.low) or not math.isfinite(difference):
        return Comparison(interval, math.nan)
    finite = resampled[np.isfinite(resampled)]
    tail = min((finite <= 0).mean(), (finite >= 0).mean())
    return Comparison(interval, float(min(1.0, max(2 * tail, 1 / len(resampled)))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for having asked several questions (Holm 1979); NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = [math.nan] * len(p_values)
    known = sorted((p, i) for i, p in enumerate(p_values) if math.isfinite(p))
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted
