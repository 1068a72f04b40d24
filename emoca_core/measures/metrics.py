"""Measures of emotion recognition on a whole test set. Undefined is NaN, never a number that looks like a result.

Each takes all predictions at once: an average of per-batch correlations is not the correlation of the set.
Statistics use population moments (divide by N) throughout; in PCC they cancel.

Source: EMOCA (Danecek et al., CVPR 2022) and supplementary: PCC, CCC, RMSE, SAGR after EmoNet (Toisoul et
al., Nature Machine Intelligence 2021).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "pcc": True,
    "ccc": True,
    "rmse": False,
    "sagr": True,
    "accuracy": True,
    "balanced_accuracy": True,
}


def pcc(prediction: Float[ndarray, "N"], target: Float[ndarray, "N"]) -> float:
    """Pearson correlation, [-1, 1]; NaN for fewer than two samples or a constant."""
    prediction, target = _centred(prediction), _centred(target)
    scale = math.sqrt(float(prediction @ prediction) * float(target @ target))
    return float(prediction @ target) / scale if len(target) > 1 and scale > 0 else math.nan


def ccc(prediction: Float[ndarray, "N"], target: Float[ndarray, "N"]) -> float:
    """Concordance correlation (Lin 1989), [-1, 1]; NaN for fewer than two samples or when both are one constant.

    Example:
        >>> truth = np.array([0.0, 1.0, 2.0])
        >>> ccc(truth, truth), round(ccc(truth + 1, truth), 3)  # unlike pcc it sees a shift
        (1.0, 0.571)
    """
    if len(target) < 2:
        return math.nan
    shift = float(np.mean(prediction, dtype=np.float64) - np.mean(target, dtype=np.float64))
    prediction, target = _centred(prediction), _centred(target)
    spread = float(prediction @ prediction + target @ target) / len(target) + shift**2
    return 2 * float(prediction @ target) / len(target) / spread if spread > 0 else math.nan


def rmse(prediction: Float[ndarray, "N"], target: Float[ndarray, "N"]) -> float:
    """Root mean squared error in the unit of the target; NaN without samples."""
    difference = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    return math.sqrt(float(np.mean(difference**2))) if len(difference) else math.nan


def sagr(prediction: Float[ndarray, "N"], target: Float[ndarray, "N"]) -> float:
    """Sign agreement, [0, 1]: the share of samples on the right side of zero; zero agrees only with zero."""
    return float(np.mean(np.sign(prediction) == np.sign(target))) if len(target) else math.nan


def confusion_matrix(
    predicted: Int[ndarray, "N"], target: Int[ndarray, "N"], classes: int
) -> Int[ndarray, "{classes} {classes}"]:
    """Counts; row = true class, column = predicted class."""
    counts = np.bincount(np.asarray(target) * classes + np.asarray(predicted), minlength=classes**2)
    return counts.reshape(classes, classes)


def accuracy(confusion: Int[ndarray, "C C"]) -> float:
    """Share of samples whose class is right; NaN without samples."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else math.nan


def balanced_accuracy(confusion: Int[ndarray, "C C"]) -> float:
    """Mean recall over the classes that occur; NaN without samples."""
    support = confusion.sum(axis=1)
    present = support > 0
    return float(np.mean(np.diag(confusion)[present] / support[present])) if present.any() else math.nan


def valence_arousal_metrics(
    prediction: Mapping[str, Float[ndarray, "N"]], target: Mapping[str, Float[ndarray, "N"]]
) -> dict[str, float]:
    """All four measures of every quantity, e.g. ``valence_pcc``; samples whose target is NaN are left out."""
    measures = {"pcc": pcc, "ccc": ccc, "rmse": rmse, "sagr": sagr}
    result = {}
    for quantity, truth in target.items():
        known = np.isfinite(truth)
        for name, measure in measures.items():
            result[f"{quantity}_{name}"] = measure(prediction[quantity][known], truth[known])
    return result


def expression_metrics(
    predicted: Int[ndarray, "N"], target: Int[ndarray, "N"], labels: Sequence[str]
) -> tuple[dict[str, float], Int[ndarray, "C C"]]:
    """Accuracy and balanced accuracy, and the confusion matrix; samples whose target is negative are left out."""
    known = np.asarray(target) >= 0
    confusion = confusion_matrix(np.asarray(predicted)[known], np.asarray(target)[known], len(labels))
    return {"accuracy": accuracy(confusion), "balanced_accuracy": balanced_accuracy(confusion)}, confusion


def _centred(values: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
    values = np.asarray(values, np.float64)
    centred = values - values.mean() if len(values) else values
    # the mean of equal numbers can differ from them by rounding: a constant must stay a constant
    return np.zeros_like(values) if len(values) and np.ptp(values) == 0 else centred
