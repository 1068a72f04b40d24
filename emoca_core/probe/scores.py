"""All metrics of thousands of resamples at once, from sums over groups.

Every metric of ``emoca_core.measures.metrics`` is a function of a few sums over samples; a resample of whole groups is
a weighted sum of the groups' sums. So a bootstrap costs one matrix product, however many samples there are.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.measures.intervals import resampled_sums
from emoca_core.train.emotion import QUANTITIES, emotion_metrics

MEASURES = ("pcc", "ccc", "rmse", "sagr")
METRICS: tuple[str, ...] = (*(f"{q}_{m}" for q in QUANTITIES for m in MEASURES), "accuracy", "balanced_accuracy")
"""In the order of the tables."""
Rows = Mapping[str, ndarray]
"""``valence``, ``arousal`` [N], ``logits`` [N, C] if there are classes, ``true_expression`` [N] (-1 unknown),
``true_valence``, ``true_arousal`` [N] (NaN unknown)."""

_SUMS = 7
_CONSTANT = 1e-12
"""Variance over mean square below which values are one constant: rounding of float64 sums."""


def metric_values(rows: Rows, labels: Sequence[str]) -> Float[ndarray, "M"]:
    """The metrics of some samples, in the order of ``METRICS``."""
    found = emotion_metrics(rows, labels)
    return np.array([found.get(name, math.nan) for name in METRICS])


def resampled_metrics(
    methods: Sequence[Rows], groups: Int[ndarray, "N"], labels: Sequence[str], draws: int = 2000, seed: int = 0
) -> Float[ndarray, "methods draws M"]:
    """The metrics of every method on the same resamples of whole groups, those of ``intervals.resamples``.

    Args:
        methods: Predictions of each method on the same samples.
        groups: Clip or person of every sample.
        labels: Names of the classes.
        draws: Number of resamples.
        seed: Fixes them.
    """
    contributions = np.concatenate([_contributions(rows, labels) for rows in methods], axis=1)
    totals = resampled_sums(contributions, groups, draws, seed)
    split = totals.reshape(draws, len(methods), -1).transpose(1, 0, 2)
    return np.stack([_metrics_of_sums(total, len(labels)) for total in split])


def _contributions(rows: Rows, labels: Sequence[str]) -> Float[ndarray, "N K"]:
    """What each sample adds: seven sums for each quantity, then its cell of the confusion matrix."""
    columns = []
    for quantity in QUANTITIES:
        truth = rows[f"true_{quantity}"].astype(np.float64)
        known = np.isfinite(truth)
        truth, seen = np.where(known, truth, 0.0), np.where(known, rows[quantity].astype(np.float64), 0.0)
        agree = known & (np.sign(truth) == np.sign(seen))
        columns += [known, seen, truth, seen**2, truth**2, seen * truth, agree]
    expression, classes = rows["true_expression"], len(labels)
    cells = np.zeros((len(expression), classes**2))
    if classes:
        labelled = np.flatnonzero(expression >= 0)
        cells[labelled, expression[labelled] * classes + rows["logits"].argmax(1)[labelled]] = 1
    return np.concatenate([np.stack(columns, axis=1).astype(np.float64), cells], axis=1)


def _metrics_of_sums(total: Float[ndarray, "R K"], classes: int) -> Float[ndarray, "R M"]:
    parts = [_continuous(total[:, i * _SUMS : (i + 1) * _SUMS]) for i in range(len(QUANTITIES))]
    confusion = total[:, len(QUANTITIES) * _SUMS :].reshape(-1, classes, classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = np.diagonal(confusion, axis1=1, axis2=2)
        support = confusion.sum(2)
        accuracy = right.sum(1) / support.sum(1)
        recall = np.where(support > 0, right / support, 0.0)
        balanced = recall.sum(1) / (support > 0).sum(1)
    return np.stack([*(column for part in parts for column in part), accuracy, balanced], axis=1)


def _continuous(total: Float[ndarray, "R 7"]) -> list[Float[ndarray, "R"]]:
    """PCC, CCC, RMSE and SAGR of each resample; NaN where undefined, as in ``emoca_core.measures.metrics``."""
    count, seen, truth, seen2, truth2, product, agree = total.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_seen, mean_truth = seen / count, truth / count
        var_seen, var_truth = _variance(seen2 / count, mean_seen), _variance(truth2 / count, mean_truth)
        covariance = product / count - mean_seen * mean_truth
        spread = var_seen + var_truth + (mean_seen - mean_truth) ** 2
        several = count > 1
        pcc = np.where(several & (var_seen * var_truth > 0), covariance / np.sqrt(var_seen * var_truth), np.nan)
        ccc = np.where(several & (spread > 0), 2 * covariance / spread, np.nan)
        rmse = np.sqrt(np.maximum(seen2 + truth2 - 2 * product, 0) / count)
        return [pcc, ccc, rmse, agree / count]


def _variance(mean_square: Float[ndarray, "R"], mean: Float[ndarray, "R"]) -> Float[ndarray, "R"]:
    variance = mean_square - mean**2
    return np.where(variance > _CONSTANT * mean_square, variance, 0.0)
