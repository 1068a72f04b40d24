"""How far lips are apart."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.arkit import at_rest
from emoca_core.interfaces import FaceParameters
from emoca_core.method import Method
from emoca_core.vocabulary.landmark_sets import IBUG68_LIP_PAIRS, IBUG68_OUTER_EYE_CORNERS

_SLICE = 256


def lip_openings(method: Method, parameters: FaceParameters) -> Float[ndarray, "N"]:
    """How much farther than at rest the inner lips are apart on the mesh, in units of the outer eye corners' distance.

    Args:
        method: Its face model poses the mesh.
        parameters: One person in all frames, on the CPU.
    """
    rest = _lip_distances(method, at_rest(parameters.map(lambda tensor: tensor[:1])))
    starts = range(0, len(parameters), _SLICE)
    some = [parameters.map(lambda tensor, at=at: tensor[at : at + _SLICE]) for at in starts]  # type: ignore[misc]
    return np.concatenate([_lip_distances(method, code) for code in some]) - rest


def _lip_distances(method: Method, parameters: FaceParameters) -> Float[ndarray, "N"]:
    with torch.no_grad():
        points = method.face_model(parameters.map(lambda tensor: tensor.to(method.device))).landmarks["ibug68"]
    at = points.double().cpu().numpy()
    right, left = (at[:, corner] for corner in IBUG68_OUTER_EYE_CORNERS)
    gaps = at[:, IBUG68_LIP_PAIRS[:, 0]] - at[:, IBUG68_LIP_PAIRS[:, 1]]
    return np.asarray(np.linalg.norm(gaps, axis=2).mean(axis=1) / np.linalg.norm(right - left, axis=1))
