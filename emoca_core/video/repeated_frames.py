"""Frames that a clip shows twice, and when the others were taken.

A clip that was brought to a higher frame rate shows some of its frames twice. Its movement stops and goes, which is no
noise; nor were the frames between taken when they are shown, but at even times.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

_AROUND = 8
"""Frames before and after one over which it is seen whether they come at even times."""
_FEWEST_COPIES = 2
_MOST_SHIFT = 1.0
"""Intervals by which a frame may be shown too early or too late; one that is shown longer stood still."""


def taken_times(
    times: Float[ndarray, "N"], repeats: Bool[ndarray, "N"], segments: Int[ndarray, "N"]
) -> Float[ndarray, "N"]:
    """When each frame was taken, seconds; they grow.

    Args:
        times: When they are shown, seconds.
        repeats: Which show the one before again; none that begins a stretch.
        segments: Number of the stretch of each frame (``find_segments``): none says anything of another's times.

    Example:
        >>> shown = np.arange(40) * 3 // 5  # 15 frames a second, shown at 25
        >>> repeats = np.diff(shown, prepend=-1) == 0
        >>> taken = taken_times(np.arange(40) / 25, repeats, np.zeros(40, int))[~repeats]
        >>> np.diff(taken)[10:13].round(2).tolist()
        [0.07, 0.07, 0.07]
    """
    taken = np.array(times, dtype=np.float64)
    for label in np.unique(segments[repeats]):
        own = segments == label
        taken[own] = _taken(taken[own], repeats[own])
    return taken


def _taken(times: Float[ndarray, "N"], repeats: Bool[ndarray, "N"]) -> Float[ndarray, "N"]:
    """When the frames of a stretch were taken: evenly, where some are shown twice and none is shown much too long."""
    first = np.flatnonzero(~repeats)
    shown = times[first]
    reach = min(_AROUND, len(first) - 1)
    copies = np.diff(first, append=len(times)) - 1
    window = np.ones(2 * reach + 1)
    nearby = np.convolve(np.pad(copies, reach), window, mode="valid")
    even = np.convolve(np.pad(shown, reach, mode="reflect", reflect_type="odd"), window / len(window), mode="valid")
    interval = float(np.median(np.diff(times)))
    late = np.abs(np.pad(shown - even, reach, mode="edge"))
    steady = np.lib.stride_tricks.sliding_window_view(late, 2 * reach + 1).max(1) <= _MOST_SHIFT * interval
    taken = np.where(steady & (nearby >= _FEWEST_COPIES), even, shown)
    if (np.diff(taken) <= 0).any():  # between an even part and another one
        return times
    out = np.interp(np.arange(len(times)), first, taken)
    last = int(first[-1])
    out[last:] = taken[-1] + times[last:] - times[last]
    return out
