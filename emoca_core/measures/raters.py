"""People who judge pictures: how far they agree, and how sure a share of right answers is over people and pictures."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

_EXACT = 14
"""Up to so many units all sign flips are gone through."""


def krippendorff_alpha(
    counts: Int[ndarray, "U C"], weights: Float[ndarray, "R U"] | None = None
) -> Float[ndarray, "R"] | float:
    """Agreement of any number of raters on classes without order: 1 is perfect, 0 is chance.

    Alpha is 1 - observed disagreement / disagreement of the same labels paired by chance. Units with fewer than two
    labels tell nothing and are left out.

    Args:
        counts: How many raters gave each unit each class.
        weights: How often each unit counts, for resampling; one alpha for each row.

    Returns:
        NaN where all labels are one class, or nobody labelled anything twice.

    Source: Krippendorff, Content Analysis (2004), chapter 11; "Computing Krippendorff's Alpha-Reliability" (2011),
    section C.

    Example:
        >>> round(float(krippendorff_alpha(np.array([[2, 0], [0, 2], [2, 0], [1, 1]]))), 3)
        0.533
    """
    counts = counts[counts.sum(1) > 1].astype(np.float64)
    kept = np.ones((1, len(counts))) if weights is None else weights
    raters = counts.sum(1)
    disagreeing = (raters**2 - (counts**2).sum(1)) / (raters - 1)
    total = kept @ raters
    classes = kept @ counts
    expected = total**2 - (classes**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(expected > 0, 1 - (total - 1) * (kept @ disagreeing) / expected, math.nan)
    return alpha if weights is not None else np.float64(alpha[0])


def crossed_weights(people: int, pictures: int, draws: int, seed: int) -> tuple[ndarray, ndarray]:
    """How often each person [draws, people] and each picture [draws, pictures] counts in each resample.

    Both are drawn with replacement, apart from each other: a figure must hold for other people and for other pictures.
    One person alone is not resampled.

    Source: the pigeonhole bootstrap of Owen (Annals of Applied Statistics 2007); it never makes intervals too narrow.
    """
    random = np.random.default_rng(seed)
    drawn = [random.multinomial(count, np.full(count, 1 / count), draws) for count in (people, pictures)]
    return drawn[0].astype(np.float64), drawn[1].astype(np.float64)


def resampled_share(
    right: Bool[ndarray, "I P"], seen: Bool[ndarray, "I P"], weights: tuple[ndarray, ndarray]
) -> Float[ndarray, "R"]:
    """The share of right answers among those given, in each resample; NaN where nothing was given.

    Args:
        right: Whether a person was right about a picture.
        seen: Whether the person answered at all.
        weights: From ``crossed_weights``.
    """
    hits = ((weights[0] @ (right & seen)) * weights[1]).sum(1)
    given = ((weights[0] @ seen.astype(np.float64)) * weights[1]).sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(given > 0, hits / np.maximum(given, 1), math.nan)


def sign_flip_test(differences: Float[ndarray, "N"], draws: int = 10_000, seed: int = 0) -> float:
    """Whether paired differences are larger than chance: two-sided p value of their sum under random signs.

    Exact up to 14 differences that are not zero, and never below 1 / (draws + 1) beyond. With differences of one size
    it is McNemar's exact test. NaN without differences.

    Example:
        >>> sign_flip_test(np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
        0.125
    """
    if not len(differences):
        return math.nan
    moving = differences[differences != 0]
    count = len(moving)
    if not count:
        return 1.0
    if count <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (draws, count))
    found = abs(moving.sum())
    as_far = np.abs(signs @ moving) >= found * (1 - 1e-9)
    return float(as_far.mean()) if count <= _EXACT else float((as_far.sum() + 1) / (draws + 1))
