"""Frames that a clip shows twice, and when the others were taken.

A clip that was brought to a higher frame rate shows some of its frames twice. Its movement stops and goes, which is no
noise; nor were the frames between taken when they are shown, but at even times.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

_SAME = 1e-5
"""Differences below which two rows are of the same picture."""
_AROUND = 8
"""Frames before and after one over which it is seen whether they come at even times."""
_FEWEST_REPEATS = 2
_MOST_SHIFT = 1.0
"""Intervals by which a frame may be shown too early or too late; one that is shown longer stood still."""


@dataclass(frozen=True)
class DistinctFrames:
    """What is told by frames of which some repeat the one before.

    Attributes:
        trust: In each; none in one that says the same as the one before.
        times: When each was taken, seconds; they grow.
        shown: Which row each is to show.
    """

    trust: Float[ndarray, "N"]
    times: Float[ndarray, "N"]
    shown: Int[ndarray, "N"]


def without_repeats(
    rows: Float[ndarray, "N D"],
    times: Float[ndarray, "N"],
    confidence: Float[ndarray, "N"] | None = None,
    segments: Int[ndarray, "N"] | None = None,
) -> DistinctFrames:
    """Find frames that are shown twice.

    Args:
        rows: What is known of each frame; equal to 1e-5 where it is the same picture.
        times: When they are shown, seconds.
        confidence: In each, [0, 1].
        segments: Number of the stretch of each row (``find_segments``); none repeats one of another.

    Example:
        >>> rows, times = np.array([[0.0], [1], [1], [2], [3], [3], [4]]), np.arange(7) / 25
        >>> without_repeats(rows, times).shown.tolist()
        [0, 1, 1, 3, 4, 4, 6]
    """
    trust = np.ones(len(rows)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    labels = np.zeros(len(rows), np.int64) if segments is None else segments
    again = np.zeros(len(rows), bool)
    again[1:] = (np.abs(np.diff(rows, axis=0)) < _SAME).all(1) & (trust[1:] > 0) & (trust[:-1] > 0)
    again[1:] &= np.diff(labels) == 0
    shown = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    taken = np.array(times, dtype=np.float64)
    for label in np.unique(labels[again]):
        own = labels == label
        taken[own] = _taken(taken[own], again[own])
    return DistinctFrames(np.where(again, 0.0, trust), taken, shown)


def _taken(times: Float[ndarray, "N"], again: Bool[ndarray, "N"]) -> Float[ndarray, "N"]:
    """When the frames of a stretch were taken: evenly, where some are repeated and none is shown much too long."""
    first = np.flatnonzero(~again)
    shown = times[first]
    reach = min(_AROUND, len(first) - 1)
    repeats = np.diff(first, append=len(times)) - 1
    window = np.ones(2 * reach + 1)
    nearby = np.convolve(np.pad(repeats, reach), window, mode="valid")
    even = np.convolve(np.pad(shown, reach, mode="reflect", reflect_type="odd"), window / len(window), mode="valid")
    interval = float(np.median(np.diff(times)))
    late = np.abs(np.pad(shown - even, reach, mode="edge"))
    steady = np.lib.stride_tricks.sliding_window_view(late, 2 * reach + 1).max(1) <= _MOST_SHIFT * interval
    taken = np.where(steady & (nearby >= _FEWEST_REPEATS), even, shown)
    if (np.diff(taken) <= 0).any():  # between an even part and another one
        return times
    out = np.interp(np.arange(len(times)), first, taken)
    last = int(first[-1])
    out[last:] = taken[-1] + times[last:] - times[last]
    return out
