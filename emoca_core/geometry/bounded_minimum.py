"""Least squares with bounds, for many right-hand sides at once; SciPy, which has it for one, is slow to import."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

_WHOLE_EXCHANGES = 15
"""Rounds in which all variables that are on the wrong side change it; then one of them at a time, which always ends."""
_MOST_ROUNDS = 10_000
"""Far more than it takes."""
_PRECISION = 1e-11
"""Relative error of a gradient that counts as zero."""


def bounded_minimum(
    normal: Float[ndarray, "*B N N"],
    right: Float[ndarray, "*B N"],
    lower: Float[ndarray, "*B N"],
    upper: Float[ndarray, "*B N"],
) -> Float[ndarray, "*B N"]:
    """The x between bounds for which x^T N x / 2 - r^T x is least: for N = A^T A, r = A^T b that of |A x - b|.

    Every variable is free, at its lower or at its upper bound; what is on the wrong side changes it, until none is.

    Args:
        normal: N, symmetric and positive definite.
        right: r.
        lower: Least value of each x.
        upper: Largest value, not below ``lower``.

    Source: Júdice and Pires, A block principal pivoting algorithm for large-scale strictly monotone linear
    complementarity problems, Computers & Operations Research 21, 1994; the single exchanges are Murty's.

    Example:
        >>> bounded_minimum(np.eye(2), np.array([0.25, 3.0]), np.zeros(2), np.ones(2)).tolist()
        [0.25, 1.0]
    """
    size = right.shape[-1]
    bounds = lower.reshape(-1, size), upper.reshape(-1, size)
    return _minima(normal.reshape(-1, size, size), right.reshape(-1, size), *bounds).reshape(right.shape)


def _minima(
    normal: Float[ndarray, "B N N"],
    right: Float[ndarray, "B N"],
    lower: Float[ndarray, "B N"],
    upper: Float[ndarray, "B N"],
) -> Float[ndarray, "B N"]:
    equal = lower >= upper
    side = np.where(equal, -1, 0)  # -1 at the lower bound, 0 free, 1 at the upper one
    result, rows = lower.copy(), np.arange(len(right))
    for count in range(_MOST_ROUNDS):
        matrix, low, high, now = normal[rows], lower[rows], upper[rows], side[rows]
        x = _with_held(matrix, right[rows], np.where(now < 0, low, high), now != 0)
        slope = _times(matrix, x) - right[rows]
        noise = _PRECISION * (_times(np.abs(matrix), np.abs(x)) + np.abs(right[rows]))
        beyond = np.where(x < low, -1, np.where(x > high, 1, 0))
        wanted = np.where(now == 0, beyond, np.where(now * slope > noise, 0, now))
        wrong = (wanted != now) & ~equal[rows]
        if count >= _WHOLE_EXCHANGES:
            wrong &= np.cumsum(wrong[:, ::-1], axis=1)[:, ::-1] == 1  # the last of them
        side[rows] = np.where(wrong, wanted, now)
        result[rows] = x
        rows = rows[wrong.any(axis=1)]
        if len(rows) == 0:
            break
    return np.asarray(np.clip(result, lower, upper))


def _with_held(
    normal: Float[ndarray, "B N N"],
    right: Float[ndarray, "B N"],
    values: Float[ndarray, "B N"],
    held: Bool[ndarray, "B N"],
) -> Float[ndarray, "B N"]:
    """The minimum over what is not held at its value."""
    values = np.where(held, values, 0.0)
    beside = np.where(held, 0.0, right - _times(normal, values))
    either = held[:, :, None] | held[:, None, :]
    reduced = np.where(either, np.eye(normal.shape[-1]), normal)
    return np.where(held, values, np.linalg.solve(reduced, beside[..., None])[..., 0])


def _times(matrix: Float[ndarray, "B N N"], vector: Float[ndarray, "B N"]) -> Float[ndarray, "B N"]:
    return np.asarray((matrix @ vector[..., None])[..., 0])
