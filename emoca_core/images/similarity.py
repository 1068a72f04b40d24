"""Fitting a face template to detected points in closed form."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def similarity(source: Float[ndarray, "n 2"], target: Float[ndarray, "n 2"]) -> Float[ndarray, "3 3"]:
    """The rotation, scale and shift that bring source points closest to target points; never a reflection.

    Source: Umeyama, TPAMI 1991, equations 34-43.

    Raises:
        ValueError: All source points coincide.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    variance = centred.var(0).sum()
    if variance == 0:
        raise ValueError("all points coincide: no similarity is determined")
    u, spread, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    transform = np.eye(3)
    transform[:2, :2] = (u * sign) @ vt * (spread @ sign) / variance
    transform[:2, 2] = target_mean - transform[:2, :2] @ source_mean
    return transform


def scaled_orthographic(
    points_3d: Float[ndarray, "n 3"], points_2d: Float[ndarray, "n 2"]
) -> tuple[float, Float[ndarray, "2"]]:
    """Scale and shift of the affine camera that maps 3D to 2D points with the least squared error.

    The scale is the mean length of the camera's two rows, as in "pose from orthography and scaling".

    Source: Dementhon & Davis, IJCV 1995; Deep3DFaceRecon's ``POS``.
    """
    homogeneous = np.concatenate([points_3d, np.ones((len(points_3d), 1))], axis=1)
    camera = np.linalg.lstsq(homogeneous, points_2d, rcond=None)[0].T
    return float(np.linalg.norm(camera[:, :3], axis=1).mean()), camera[:, 3]
