"""Least squares with bounds: SciPy has it too, and takes a tenth of a second to import."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_PRECISION = 1e-11
"""Relative error of a gradient that counts as zero."""


def bounded_minimum(
    normal: Float[ndarray, "N N"], right: Float[ndarray, "N"], lower: Float[ndarray, "N"], upper: Float[ndarray, "N"]
) -> Float[ndarray, "N"]:
    """The x between bounds for which x^T N x / 2 - r^T x is least: for N = A^T A, r = A^T b that of |A x - b|.

    Args:
        normal: N, symmetric and positive definite.
        right: r.
        lower: Least value of each x.
        upper: Largest value, not below ``lower``.

    Source: the active set method of Stark and Parker, Computational Statistics 1995, on the normal equations.

    Example:
        >>> bounded_minimum(np.eye(2), np.array([0.25, 3.0]), np.zeros(2), np.ones(2)).tolist()
        [0.25, 1.0]
    """
    x = np.clip(np.linalg.solve(normal, right), lower, upper)
    held = (x <= lower) | (x >= upper)
    for _ in range(len(x) ** 2):  # far more than it takes: each round lowers the value
        _settle(x, held, normal, right, lower, upper)
        slope = normal @ x - right
        outwards = np.where(x <= lower, -slope, slope) * (held & (lower < upper))
        worst = int(np.argmax(outwards))
        if outwards[worst] <= _PRECISION * (np.abs(normal) @ np.abs(x) + np.abs(right))[worst]:
            break
        held[worst] = False
    return x


def _settle(
    x: Float[ndarray, "N"],
    held: ndarray,
    normal: Float[ndarray, "N N"],
    right: Float[ndarray, "N"],
    lower: Float[ndarray, "N"],
    upper: Float[ndarray, "N"],
) -> None:
    """Lead x, in place, to the minimum over what is not held; what meets its bound on the way is held from then on."""
    while not held.all():
        free = np.flatnonzero(~held)
        beside = right[free] - normal[np.ix_(free, held)] @ x[held]
        step = np.linalg.solve(normal[np.ix_(free, free)], beside) - x[free]
        bound = np.where(step > 0, upper[free], lower[free])
        share = np.divide(bound - x[free], step, out=np.full(len(free), np.inf), where=step != 0)
        first = share.min()
        if first >= 1:
            x[free] += step
            return
        x[free] += first * step
        met = share == first
        x[free[met]], held[free[met]] = bound[met], True
