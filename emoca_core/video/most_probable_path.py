"""The most probable path of signals that keep their velocity but for random pushes, and what is noise in them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

_ROUNDS = 4
_WINDOW = np.array([1, 2, 3, 2, 1]) / 9
_SURPRISE = 1.7
"""Squared departure from what was measured, averaged over that window, in units of the noise, from which a movement is
followed."""
_MOST_FREE = 1e4


def most_probable_path(
    values: Float[ndarray, "N D"],
    times: Float[ndarray, "N"],
    push: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
) -> Float[ndarray, "N D"]:
    """What a Rauch-Tung-Striebel smoother finds: the minimum of the squared errors and the squared pushes.

    Args:
        values: Measured.
        times: Seconds.
        push: Variance of the change of velocity, per second, in units of the variance of the measurements.
        trust: Inverse variance of each measurement; 0 where there is none.
    """
    from scipy.linalg import solveh_banded

    if len(values) < 3 or np.count_nonzero(trust) < 2:
        return fill(values, times, trust)
    bands = bands_of_pushes(times, push)
    bands[0] += trust
    solved: ndarray = solveh_banded(bands, trust[:, None] * values, lower=True)
    return solved


def bands_of_pushes(times: Float[ndarray, "N"], push: Float[ndarray, "N"]) -> Float[ndarray, "3 N"]:
    """The squared pushes of ``most_probable_path`` as a banded form, lower: diagonal, one and two below."""
    steps = np.diff(times)
    # change of velocity at the inner frames: a x_(k-1) + b x_k + c x_(k+1)
    a, c = 1 / steps[:-1], 1 / steps[1:]
    b, weight = -(a + c), 2 / (push[1:-1] * (steps[:-1] + steps[1:]))
    bands = np.zeros((3, len(times)))
    for band, pairs in enumerate(([(a, a, 0), (b, b, 1), (c, c, 2)], [(a, b, 0), (b, c, 1)], [(a, c, 0)])):
        for one, other, first in pairs:
            bands[band, first : first + len(a)] += weight * one * other
    return bands


def follow_movement(
    solve: Callable[[Float[ndarray, "N"]], Float[ndarray, "N D"]],
    departure: Callable[[Float[ndarray, "N D"]], Float[ndarray, "N"]],
    push: Float[ndarray, "N"],
) -> Float[ndarray, "N D"]:
    """Smooth with stronger pushes where what comes out departs from what was measured by more than its noise.

    Args:
        solve: Smooths with these pushes.
        departure: Squared, of each row, in units of the noise.
        push: To begin with.
    """
    free = np.ones(len(push))
    out = solve(push)
    for _ in range(_ROUNDS):
        around = np.pad(departure(out), len(_WINDOW) // 2, mode="edge")
        surprise = np.convolve(around, _WINDOW, mode="valid") / _SURPRISE
        if not (surprise > 1).any():
            break
        free = np.minimum(free * np.maximum(surprise, 1.0), _MOST_FREE)
        out = solve(free * push)
    return out


def noise_of(
    values: Float[ndarray, "N D"], times: Float[ndarray, "N"], trust: Float[ndarray, "N"]
) -> Float[ndarray, "D"]:
    """Standard deviation of the white part of each signal.

    From how far each row is from the cubic through its four neighbours, which movement hardly changes.
    """
    seen, when = values[trust > 0], times[trust > 0]
    if len(seen) < 9:
        return np.zeros(values.shape[1])
    _, away, variance = between_neighbours(seen, when)
    spread: ndarray = np.median(np.abs(away) / np.sqrt(variance)[:, None], axis=0)
    return spread / 0.6745  # of a normal distribution


def between_neighbours(
    values: Float[ndarray, "N D"], times: Float[ndarray, "N"]
) -> tuple[Int[ndarray, "K"], Float[ndarray, "K D"], Float[ndarray, "K"]]:
    """How far each row is from the cubic through its four neighbours: which rows, and that in variances of a row."""
    rows = np.arange(2, len(values) - 2)
    near = [rows - 2, rows - 1, rows + 1, rows + 2]
    away, variance = values[rows].copy(), np.ones(len(rows))
    for one in near:
        factors = [(times[rows] - times[other]) / (times[one] - times[other]) for other in near if other is not one]
        weight = np.prod(factors, axis=0)
        away -= weight[:, None] * values[one]
        variance += weight**2
    return rows, away, variance


def fill(
    values: Float[ndarray, "N D"], times: Float[ndarray, "N"], trust: Float[ndarray, "N"]
) -> Float[ndarray, "N D"]:
    """Rows without trust on the straight line between their neighbours."""
    seen, out = trust > 0, values.copy()
    for column in range(values.shape[1]):
        out[~seen, column] = np.interp(times[~seen], times[seen], values[seen, column])
    return out
