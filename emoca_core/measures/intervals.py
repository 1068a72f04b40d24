"""How sure a number is: bootstrap intervals and paired comparisons over groups of dependent samples."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def interval_of(resampled: Float[ndarray, "R"]) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the resamples of a figure; NaN where it is undefined in most of them."""
    finite = resampled[np.isfinite(resampled)]
    if 2 * len(finite) < len(resampled):
        return math.nan, math.nan
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def p_value_of(difference: float, resampled: Float[ndarray, "R"]) -> float:
    """Of a difference: twice the smaller share of its resamples on either side of zero.

    At least 1 / draws, at most 1, and NaN where the difference is undefined.
    """
    if not math.isfinite(interval_of(resampled)[0]) or not math.isfinite(difference):
        return math.nan
    finite = resampled[np.isfinite(resampled)]
    tail = min((finite <= 0).mean(), (finite >= 0).mean())
    return float(min(1.0, max(2 * tail, 1 / len(resampled))))


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
