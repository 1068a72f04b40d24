"""Bounded least squares against SciPy's, and against what makes a minimum one."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from emoca_core.geometry.bounded_minimum import bounded_minimum


@pytest.mark.parametrize("seed", range(40))
def test_scipy_finds_the_same(seed: int) -> None:
    """Well and badly posed, bounds that are met, equal and infinite."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 53))
    matrix = random.normal(size=(count + 10, count)) * 10.0 ** random.uniform(-seed / 20, 0, count)
    right = matrix @ random.normal(size=count) + 0.1 * random.normal(size=count + 10)
    lower = random.uniform(-1, 0, count)
    upper = lower + random.choice([0.0, 0.5, 2.0, np.inf], count)
    found = bounded_minimum(matrix.T @ matrix, matrix.T @ right, lower, upper)
    assert ((lower <= found) & (found <= upper)).all()
    expected, free = lower.copy(), lower < upper  # SciPy takes no equal bounds
    if free.any():
        beside = right - matrix[:, ~free] @ lower[~free]
        expected[free] = lsq_linear(matrix[:, free], beside, (lower[free], upper[free]), method="bvls", tol=1e-14).x
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bounds_that_are_met_change_the_others() -> None:
    """Not the unbounded minimum, clipped: of correlated numbers the free ones take over."""
    normal, right = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([4.0, 5.0])
    np.testing.assert_allclose(np.linalg.solve(normal, right), [1, 2])
    np.testing.assert_allclose(bounded_minimum(normal, right, np.zeros(2), np.array([9.0, 1.0])), [1.5, 1.0])


def test_many_at_once_are_each_on_its_own() -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=(30, 80)) * np.logspace(0, -2, 30)[:, None]
    normal = columns @ columns.T + np.diag(random.uniform(1e-9, 1e-3, 30)) * np.ones((40, 1, 1))
    right = random.uniform(-1, 2, (40, 30)) @ normal[0] + 0.1 * random.normal(size=(40, 80)) @ columns.T
    lower, upper = np.zeros((40, 30)), np.ones((40, 30))
    lower[::2, 7] = 0.8
    lower[:, 4] = upper[:, 4] = 0.3
    found = bounded_minimum(normal, right, lower, upper)
    for row in range(40):
        alone = bounded_minimum(normal[row], right[row], lower[row], upper[row])
        np.testing.assert_allclose(found[row], alone, atol=1e-9)
