"""Principal components of the sampled heads, in units of one standard deviation."""

from dataclasses import dataclass

import numpy as np

from tools.open_head.adult_sampler import SIZE_DAMPING


@dataclass(frozen=True)
class IdentitySpace:
    """A linear model of neutral heads.

    Attributes:
        mean: [V, 3] metres.
        modes: [K, V, 3] displacement of one standard deviation.
        explained: [K] cumulative share of the weighted variance.
        codes: [n, K] standardised coefficients of the training heads.
    """

    mean: np.ndarray
    modes: np.ndarray
    explained: np.ndarray
    codes: np.ndarray


def normalise_heads(
    heads: np.ndarray, face: np.ndarray, area_weights: np.ndarray, mean_size: float | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Put the origin at the face's area centroid and damp differences of overall size.

    Args:
        heads: [n, V, 3] heads in MakeHuman's body coordinates; changed in place.
        face: [V] face region, whose size is measured.
        area_weights: [V] weights of the centroid, summing to 1.
        mean_size: the population's mean size; by default that of these heads.

    Returns:
        The centroids [n, 3] that were subtracted, the scales [n] that were applied afterwards, and the mean size.
    """
    origin = np.einsum("v,nvc->nc", area_weights, heads)
    heads -= origin[:, None]
    size = face_size(heads, face)
    mean_size = float(size.mean()) if mean_size is None else mean_size
    scale = (mean_size / size) ** SIZE_DAMPING
    heads *= scale[:, None, None]
    return origin, scale, mean_size


def face_size(heads: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Norm [n] of the centred face."""
    region = heads[:, face]
    size: np.ndarray = np.sqrt(((region - region.mean(1, keepdims=True)) ** 2).sum((1, 2)))
    return size


def fit_identity_space(heads: np.ndarray, importance: np.ndarray, count: int) -> IdentitySpace:
    """PCA through the Gram matrix (fewer heads than coordinates). Centres the heads in place.

    Args:
        heads: [n, V, 3].
        importance: [V] weights of the squared errors that the modes keep small.
        count: number of modes.


    Signs are fixed: the largest displacement of every mode is positive, so every machine writes the same file.
    """
    samples = len(heads)
    mean = heads.mean(0)
    heads -= mean
    centred = heads.reshape(samples, -1)
    weights = np.repeat(importance, 3)
    values, vectors = np.linalg.eigh((centred * weights) @ centred.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1][:, :count]
    modes = vectors.T @ centred / np.sqrt(samples)
    sign = np.sign(modes[np.arange(count), np.abs(modes).argmax(1)])
    modes *= sign[:, None]
    explained = np.cumsum(values) / values.sum()
    codes = vectors * sign * np.sqrt(samples)
    return IdentitySpace(mean, modes.reshape(count, -1, 3), explained[:count], codes)


def closest_codes(heads: np.ndarray, space: IdentitySpace) -> np.ndarray:
    """Codes [n, K] of the model heads that are closest to given heads [n, V, 3]."""
    basis = space.modes.reshape(len(space.modes), -1)
    codes: np.ndarray = np.linalg.solve(basis @ basis.T, basis @ (heads - space.mean).reshape(len(heads), -1).T).T
    return codes
