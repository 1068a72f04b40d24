"""Agreement, crossed resampling and sign flips against published numbers and naive twins."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from emoca_core.measures.raters import crossed_weights, krippendorff_alpha, resampled_share, sign_flip_test

PUBLISHED = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units, gaps."""


def counts_of(table):
    rows = [line.split() for line in table.strip().splitlines()]
    classes = sorted({value for row in rows for value in row} - {"."})
    return np.array([[sum(row[u] == c for row in rows) for c in classes] for u in range(len(rows[0]))])


def pairwise_alpha(counts):
    """The definition, pair by pair: one minus observed over expected disagreement."""
    units = [np.repeat(np.arange(len(row)), row) for row in counts if row.sum() > 1]
    values = np.concatenate(units)
    observed = sum(
        (a != b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit.tolist(), 2)
    ) / len(values)
    expected = np.mean([a != b for a, b in itertools.permutations(values.tolist(), 2)])
    return 1 - observed / expected


def test_alpha_of_the_published_example():
    assert krippendorff_alpha(counts_of(PUBLISHED)) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_that_of_all_pairs():
    random = np.random.default_rng(4)
    for _ in range(4):
        counts = random.multinomial(random.integers(0, 7, 12), [0.5, 0.3, 0.2])
        assert krippendorff_alpha(counts) == pytest.approx(pairwise_alpha(counts), abs=1e-12)


def test_alpha_of_resamples_is_that_of_repeated_units():
    counts = counts_of(PUBLISHED)
    counts = counts[counts.sum(1) > 1]
    weights = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), 6).astype(float)
    one_by_one = [krippendorff_alpha(np.repeat(counts, row.astype(int), axis=0)) for row in weights]
    np.testing.assert_allclose(krippendorff_alpha(counts, weights), one_by_one, atol=1e-12)


def test_alpha_of_perfect_of_undefined_and_of_no_agreement():
    assert krippendorff_alpha(np.array([[3, 0], [0, 3]])) == 1
    assert math.isnan(krippendorff_alpha(np.array([[3, 0], [3, 0]])))  # nobody could have disagreed
    assert math.isnan(krippendorff_alpha(np.array([[1, 0], [0, 1]])))  # nobody was asked twice
    assert krippendorff_alpha(np.array([[1, 1], [1, 1]])) < 0


def test_shares_of_resamples_are_those_of_repeated_rows_and_columns():
    random = np.random.default_rng(1)
    right, seen = random.random((4, 7)) < 0.6, random.random((4, 7)) < 0.8
    weights = crossed_weights(4, 7, 20, 0)
    assert set(weights[0].sum(1)) == {4.0} and set(weights[1].sum(1)) == {7.0}
    for people, pictures, found in zip(*weights, resampled_share(right, seen, weights), strict=True):
        rows, columns = np.repeat(np.arange(4), people.astype(int)), np.repeat(np.arange(7), pictures.astype(int))
        there = seen[np.ix_(rows, columns)]
        assert found == pytest.approx((right[np.ix_(rows, columns)] & there).sum() / there.sum())


def test_intervals_over_people_and_pictures_cover_as_often_as_they_say():
    """With people and pictures that differ, intervals over pictures alone are too narrow; crossed ones are not."""
    random = np.random.default_rng(2)
    covered = {"crossed": 0, "pictures": 0}
    for trial in range(150):
        ability, ease = random.normal(0, 0.8, (15, 1)), random.normal(0, 0.5, (1, 20))
        right = random.random((15, 20)) < 1 / (1 + np.exp(-(ability + ease)))
        seen = np.ones_like(right)
        both = crossed_weights(15, 20, 300, trial)
        for name, weights in (("crossed", both), ("pictures", (np.ones((300, 15)), both[1]))):
            low, high = np.percentile(resampled_share(right, seen, weights), [2.5, 97.5])
            covered[name] += bool(low <= 0.5 <= high)
    assert covered["crossed"] >= 0.93 * 150
    assert covered["pictures"] < 0.9 * 150


def test_sign_flips_of_single_differences_are_mcnemar():
    for first, second, same in ((8, 2, 5), (5, 5, 0), (12, 1, 3), (0, 3, 9)):
        gaps = np.array([1.0] * first + [-1.0] * second + [0.0] * same)
        exact = stats.binomtest(first, first + second).pvalue
        assert sign_flip_test(gaps) == pytest.approx(exact, abs=1e-12)


def test_sign_flips_of_many_differences_are_those_of_scipy():
    gaps = np.random.default_rng(3).normal(0.35, 1, 40)
    other = stats.permutation_test(
        (gaps,), lambda x, axis: x.sum(axis), permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue
    assert sign_flip_test(gaps) == pytest.approx(other, abs=0.012)  # three standard errors of 10,000 draws


def test_sign_flips_without_differences():
    assert math.isnan(sign_flip_test(np.array([])))
    assert sign_flip_test(np.zeros(5)) == 1
    assert sign_flip_test(np.full(40, 2.0)) == 1 / 10_001
