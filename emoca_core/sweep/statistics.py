"""Means over seeds and how sure they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: The mean.
        deviation: Sample standard deviation; NaN for one seed.
        low: Lower end of the 95 % interval of the mean; NaN for one seed.
        high: Its upper end.
        count: Number of seeds.
    """

    value: float
    deviation: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval is on one side of zero."""
        return self.low > 0 or self.high < 0


def mean_of(values: Sequence[float]) -> Mean:
    """Mean with its 95 % t interval: the seeds are few, and normality is assumed (Student 1908).

    Args:
        values: One of each seed; what is not finite is left out.
    """
    from scipy import stats

    known = np.array([value for value in values if math.isfinite(value)])
    if not len(known):
        return Mean(math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    if len(known) == 1:
        return Mean(mean, math.nan, math.nan, math.nan, 1)
    deviation = float(known.std(ddof=1))
    half = float(stats.t.ppf(0.975, len(known) - 1)) * deviation / math.sqrt(len(known))
    return Mean(mean, deviation, mean - half, mean + half, len(known))


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Mean:
    """Mean of value minus reference over the seeds that both have.

    Runs of one seed share initialisation and order of the data, so their difference varies less than they do.
    """
    shared = [seed for seed in reference if seed in values]
    return mean_of([values[seed] - reference[seed] for seed in shared])
