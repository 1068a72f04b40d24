"""Metrics against scipy and scikit-learn, and undefined cases."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from emoca_core.measures import metrics

RNG = np.random.default_rng(0)
TRUTH = RNG.uniform(-1, 1, 500)
GUESS = 0.6 * TRUTH + 0.3 * RNG.standard_normal(500) + 0.1


def test_correlations_and_errors_equal_their_definitions():
    assert metrics.pcc(GUESS, TRUTH) == pytest.approx(stats.pearsonr(GUESS, TRUTH).statistic, abs=1e-12)
    rho, sg, st = stats.pearsonr(GUESS, TRUTH).statistic, GUESS.std(), TRUTH.std()
    lin = 2 * rho * sg * st / (sg**2 + st**2 + (GUESS.mean() - TRUTH.mean()) ** 2)
    assert metrics.ccc(GUESS, TRUTH) == pytest.approx(lin, abs=1e-12)
    assert metrics.rmse(GUESS, TRUTH) == pytest.approx(sklearn_metrics.root_mean_squared_error(TRUTH, GUESS), abs=1e-12)
    assert metrics.sagr(np.array([1.0, -1.0, 0.0, 0.0]), np.array([0.5, 1.0, 0.0, 1.0])) == 0.5


def test_accuracies_equal_scikit_learns():
    truth, guess = RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)
    values, confusion = metrics.expression_metrics(guess, truth, tuple("abcde"))
    assert (confusion == sklearn_metrics.confusion_matrix(truth, guess)).all()
    assert values["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, guess))
    assert values["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, guess))


def test_classes_that_never_occur_do_not_count():
    confusion = metrics.confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 1]), classes=8)
    assert metrics.balanced_accuracy(confusion) == 1.0


@pytest.mark.parametrize("measure", [metrics.pcc, metrics.ccc])
def test_undefined_is_nan_and_not_zero(measure):
    constant = np.full(10, 0.1)
    assert math.isnan(measure(constant, constant))
    assert math.isnan(measure(TRUTH[:1], TRUTH[:1]))
    assert math.isnan(metrics.pcc(constant, TRUTH[:10]))
    assert metrics.ccc(constant, TRUTH[:10]) == 0.0  # defined: the covariance is zero, the spread is not


def test_empty_sets_are_nan():
    nothing = np.zeros(0)
    assert all(math.isnan(f(nothing, nothing)) for f in (metrics.pcc, metrics.ccc, metrics.rmse, metrics.sagr))
    assert math.isnan(metrics.accuracy(np.zeros((3, 3), int)))
    assert math.isnan(metrics.balanced_accuracy(np.zeros((3, 3), int)))


def test_unknown_targets_are_left_out():
    truth = np.where(np.arange(500) % 5 == 0, np.nan, TRUTH)
    values = metrics.valence_arousal_metrics({"valence": GUESS}, {"valence": truth})
    known = np.isfinite(truth)
    assert values["valence_pcc"] == pytest.approx(metrics.pcc(GUESS[known], TRUTH[known]))
    values, confusion = metrics.expression_metrics(np.array([0, 1, 1]), np.array([0, -1, 1]), ("a", "b"))
    assert values["accuracy"] == 1.0
    assert confusion.sum() == 2
