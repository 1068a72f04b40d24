"""Gain of parts of the face: by the names of coefficients, or, where they have none, by where they move the mesh."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.arkit import at_rest, posed_with
from emoca_core.interfaces import Block, FaceModel, FaceParameters
from emoca_core.vocabulary.landmark_sets import IBUG68

REGIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "brows": ("brow",),
        "eyes": ("eyeBlink", "eyeSquint", "eyeWide"),
        "gaze": ("eyeLook",),
        "cheeks": ("cheek", "noseSneer"),
        "mouth": ("mouth", "jaw", "tongue"),
    }
)
"""How the ARKit names of each region begin."""
_BLOCKS: Mapping[Block, str] = MappingProxyType({"jaw_pose": "mouth", "eye_pose": "gaze", "eyelids": "eyes"})
"""Region of blocks that belong to one."""
_POINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "brows": ("right_brow", "left_brow"),
        "eyes": ("right_eye", "left_eye"),
        "cheeks": ("nose_bridge", "nose_base"),
        "mouth": ("outer_lips", "inner_lips"),
    }
)
"""Landmarks in the middle of each region."""
_SOFT = 0.12
"""Width of the border between two regions, of the distance between the outer eye corners."""
_REGULAR = 1e-9


def with_gain(
    code: FaceParameters, gain: Mapping[str, float], face_model: FaceModel, person: FaceParameters
) -> FaceParameters:
    """A code in which the regions of the face move more, or less.

    Activations stay within [0, 1] where they were. Coefficients without names (FLAME's) become those whose movement of
    the mesh comes closest to the movement that is scaled where it happens.

    Args:
        code: A row for each frame, on the CPU.
        gain: Factor of some of ``REGIONS``.
        face_model: Whose code it is.
        person: Whose face it moves, a batch of one on the model's device.
    """
    if all(factor == 1 for factor in gain.values()):
        return code
    changed = {
        name: block * gain.get(region, 1.0)
        for name, region in _BLOCKS.items()
        if isinstance(block := code.get(name), torch.Tensor)
    }
    if code.expression is not None:
        names = face_model.expression_names
        if names:
            factors = torch.tensor([gain.get(region_of(name), 1.0) for name in names[: code.expression.shape[1]]])
            scaled = code.expression * torch.nn.functional.pad(
                factors, (0, code.expression.shape[1] - len(factors)), value=1.0
            )
        else:
            matrix = torch.from_numpy(gain_matrix(face_model, person, gain, code.expression.shape[1]))
            scaled = code.expression @ matrix.T.to(code.expression)
        if code.unit_of("expression") == "activation":
            scaled = torch.minimum(scaled, code.expression.clamp_min(1.0))
        changed["expression"] = scaled
    return code.replace(**changed)


def region_of(name: str) -> str:
    """The region of an ARKit name; empty for another name."""
    return next((region for region, starts in REGIONS.items() if name.startswith(starts)), "")


def gain_matrix(
    face_model: FaceModel, person: FaceParameters, gain: Mapping[str, float], size: int
) -> Float[ndarray, "E E"]:
    """What turns an expression code into the one that moves each region by its gain, as nearly as the model can.

    Least squares over all vertices. A vertex belongs to the regions by how near their landmarks are.
    """
    posed = posed_with(face_model, at_rest(person), expression=torch.cat([torch.zeros(1, size), torch.eye(size)]))
    vertices = posed.vertices.double().cpu().numpy()
    basis = (vertices[1:] - vertices[0]).reshape(size, -1)
    points = posed.landmarks["ibug68"][0].double().cpu().numpy()
    factors = _shares(vertices[0], points) @ np.array([gain.get(region, 1.0) for region in _POINTS])
    products = basis @ basis.T
    products[np.diag_indices(size)] += _REGULAR * np.trace(products) / size
    return np.asarray(np.linalg.solve(products, basis @ (basis * np.repeat(factors, 3)).T))


def _shares(vertices: Float[ndarray, "V 3"], points: Float[ndarray, "68 3"]) -> Float[ndarray, "V R"]:
    """How much of each vertex belongs to each region; rows sum to 1."""
    size = np.linalg.norm(points[36] - points[45])
    groups = [points[np.concatenate([IBUG68[name] for name in names])] for names in _POINTS.values()]
    near = [np.linalg.norm(vertices[:, None] - group, axis=2).min(axis=1) for group in groups]
    weight = np.exp(-(np.stack(near, axis=1) - np.min(near, axis=0)[:, None]) / (_SOFT * size))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
