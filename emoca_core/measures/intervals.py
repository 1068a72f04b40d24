"""How sure a number is: bootstrap intervals and paired comparisons over groups of dependent samples."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

_CHUNK = 128
"""Resamples whose counts are in memory at once."""


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


def resampled_sums(
    values: Float[ndarray, "N K"], groups: Shaped[ndarray, "N"], draws: int = 2000, seed: int = 0
) -> Float[ndarray, "draws K"]:
    """Sums over resamples of whole groups: each draws as many groups as there are, with repeats.

    A figure that is a function of sums over samples costs one matrix product, however many samples there are.

    Args:
        values: What each sample adds.
        groups: Clip or person of every sample.
        draws: Number of resamples.
        seed: Fixes them.
    """
    member = np.unique(groups, return_inverse=True)[1]
    sums = _group_sums(values, member)
    chosen = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    return np.concatenate([_counts(chosen[i : i + _CHUNK]) @ sums for i in range(0, draws, _CHUNK)])


def _group_sums(values: Float[ndarray, "N K"], member: Int[ndarray, "N"]) -> Float[ndarray, "G K"]:
    order = np.argsort(member, kind="stable")
    starts = np.flatnonzero(np.diff(member[order], prepend=-1))
    sums: ndarray = np.add.reduceat(values[order], starts, axis=0)
    return sums


def _counts(chosen: Int[ndarray, "R G"]) -> Float[ndarray, "R G"]:
    groups = chosen.shape[1]
    return np.stack([np.bincount(row, minlength=groups) for row in chosen]).astype(np.float64)
