"""Google's GNM Head: an open head with teeth, tongue and eyes, computed by the package ``body-models``."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.formats import Content
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceGeometry, FaceParameters
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.landmark_sets import IBUG68_MIRROR
from emoca_plugins.face_models.head_files import GNM_HEAD, GNM_LANDMARKS
from emoca_plugins.face_models.morphable import MorphableModel, check_indices

CORNEA_GROUPS = ("eye_exteriors", "eyeball_exterior")
"""Vertex groups of the clear outer shell of the eyes; opaque, it would hide the iris."""


class GnmHead(MorphableModel):
    """GNM Head 3.0 (Google, 2026), 17,821 vertices, metres.

    Blocks: ``shape`` (253, standard deviations: head, eyes, teeth), ``expression`` (383: eye regions, lower face,
    tongue, pupils), ``global_pose`` about the neck joint, ``neck_pose`` (the head joint, which is what turns on the
    neck), ``eye_pose``. The jaw is part of the expression. Landmarks: ``ibug68``.

    ``faces`` leaves out the clear shell of the eyes.

    Source: README and data files of the google/GNM repository.

    Attributes:
        shape_names: Names of the identity coefficients.
    """

    class Params(ComponentParams):
        model: Path | None = None
        """``gnm_head.npz``, instead of the asset."""
        landmarks: Path | None = None
        """``head_sparse_68.txt``, instead of the asset."""

    params: Params

    mean: Tensor
    landmark_vertices: Tensor
    landmark_weights: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        from body_models.gnm.torch import GNM  # optional dependency: pip install 'emoca-core[gnm]'

        wanted = {
            "gnm_head": (self.params.model, GNM_HEAD),
            "gnm_landmarks": (self.params.landmarks, GNM_LANDMARKS),
        }
        assets = self._open_assets(wanted)
        model = GNM(model_path=self.asset_paths["gnm_head"])
        self.model = model.float().requires_grad_(False)
        template = assets["gnm_head"].array("template_vertex_positions")
        self._constant("mean", template.reshape(-1))
        self._constant("faces", _visible(assets["gnm_head"]))
        self._register_landmarks(assets["gnm_landmarks"], template)
        self._register_masks(_groups(assets["gnm_head"]))
        self.shape_names = tuple(model.identity_names)
        self.expression_names = tuple(model.expression_names)
        self.blocks = {
            "shape": len(self.shape_names),
            "expression": len(self.expression_names),
            "global_pose": 3,
            "neck_pose": 3,
            "eye_pose": 6,
        }

    def _register_landmarks(self, landmarks: Content, template: np.ndarray) -> None:
        vertices, weights = landmarks.array("vertices"), landmarks.array("weights")
        check_indices(vertices, len(template), "the landmark table", landmarks.path)
        order = ibug_order((template[vertices] * weights[..., None]).sum(1))
        self._constant("landmark_vertices", vertices[order])
        self._constant("landmark_weights", weights[order])

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        shape, expression = self._block(parameters, "shape"), self._block(parameters, "expression")
        identity = self.model.prepare_identity(shape, expression)
        joints = torch.cat([self._block(parameters, "neck_pose"), self._block(parameters, "eye_pose")], 1)
        posed = self.model.forward_vertices(joints.reshape(len(shape), 3, 3), identity=identity)
        vertices = _turned(posed, identity["rest_joints"][:, :1], self._block(parameters, "global_pose"))
        corners = vertices[:, self.landmark_vertices]
        return FaceGeometry(vertices, {"ibug68": (corners * self.landmark_weights[..., None]).sum(2)})


def ibug_order(points: np.ndarray) -> np.ndarray:
    """Rows of a 68-point table in iBUG's order, whatever the published order of the jaw and of the sides.

    The published table is known to list some points of the right jaw upwards. iBUG begins at the subject's right ear,
    runs down to the chin (8) and up to the left ear.

    Args:
        points: [68, 3] positions on the mean head, y up, x to the subject's left.
    """
    order = np.arange(68)
    if points[36:42, 0].mean() > 0:  # the first eye must be the subject's right one
        order = np.asarray(IBUG68_MIRROR).copy()
    height = points[order, 1]
    order[0:8] = order[0:8][np.argsort(-height[0:8], kind="stable")]
    order[9:17] = order[9:17][np.argsort(height[9:17], kind="stable")]
    return order


def _visible(model: Content) -> np.ndarray:
    groups = _groups(model)
    hidden = next((groups[name] for name in CORNEA_GROUPS if name in groups), None)
    faces = model.array("triangles").astype(np.int64)
    return faces if hidden is None else faces[~hidden[faces].all(1)]


def _groups(model: Content) -> dict[str, np.ndarray]:
    if "vertex_groups" not in model.shapes or "vertex_group_names" not in model.shapes:
        return {}
    names, weights = model.array("vertex_group_names"), model.array("vertex_groups")
    return {str(name): row > 0.5 for name, row in zip(names, weights, strict=True)}


def _turned(
    vertices: Float[Tensor, "B V 3"], centre: Float[Tensor, "B 1 3"], pose: Float[Tensor, "B 3"]
) -> Float[Tensor, "B V 3"]:
    return (vertices - centre) @ rotation_vector_to_matrix(pose).mT + centre
