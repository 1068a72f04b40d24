"""Heads that joints bend, with landmarks on their surface: what FLAME and the open head share."""

from collections.abc import Mapping
from copy import copy

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.geometry.skinning import linear_blend_skinning
from emoca_core.geometry.surface_points import barycentric_points, dynamic_contour_points
from emoca_core.interfaces import FaceParameters
from emoca_plugins.face_models.morphable import MorphableModel, from_planes, planes

_BY_VERTEX = frozenset({"modes", "eyelid_modes"})
_OF_ALL = ("joint_mean", "joint_modes", "fixed_weights", "contour_weights")
"""Constants that the pose needs, by vertex and others."""
Embedding = tuple[ndarray, ndarray]
"""Triangle of each point, and its barycentric weights."""


class JointedHead(MorphableModel):
    """A rest shape and joints that are linear in a code, posed by rotations of root, neck, jaw and both eyes.

    Attributes:
        parents: Parent of each joint: root, neck, jaw, left eye, right eye.
    """

    _like = "joint_mean"

    modes: Tensor
    joint_mean: Tensor
    joint_modes: Tensor
    skinning_weights: Tensor
    fixed_triangles: Tensor
    fixed_weights: Tensor
    contour_triangles: Tensor
    contour_weights: Tensor

    def _register_skeleton(
        self,
        modes: np.ndarray,
        joint_mean: np.ndarray,
        joint_modes: np.ndarray,
        parents: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """Keep the constants of the pose.

        Args:
            modes: [M, V, 3], the first of which is the mean: one product makes the rest shape.
            joint_mean: [J, 3] in the rest pose.
            joint_modes: [K, J, 3], of the first coefficients.
            parents: [J] parent of each joint, before its children.
            weights: [V, J] of the skinning.
        """
        self._constant("modes", planes(modes))
        self._constant("joint_mean", joint_mean.reshape(-1))
        self._constant("joint_modes", joint_modes.reshape(len(joint_modes), -1))
        self._constant("skinning_weights", weights)
        self.parents = tuple(int(parent) for parent in parents)

    def _register_landmarks(self, contour: Embedding, fixed: Mapping[str, Embedding]) -> None:
        """Keep the contour table, and all sets of fixed points behind each other: a single gather."""
        self._constant("contour_triangles", contour[0])
        self._constant("contour_weights", contour[1])
        self.fixed_points = {name: len(triangles) for name, (triangles, _) in fixed.items()}
        self._constant("fixed_triangles", np.concatenate([triangles for triangles, _ in fixed.values()]))
        self._constant("fixed_weights", np.concatenate([weights for _, weights in fixed.values()]))

    def for_landmarks(self) -> "JointedHead":
        """The head with the triangles alone that carry landmarks, which are a fraction of it; on the same device."""
        fixed, contour = self.fixed_triangles, self.contour_triangles
        triangles, place = torch.unique(torch.cat([fixed, contour.flatten()]), return_inverse=True)
        vertices, corners = torch.unique(self.faces[triangles], return_inverse=True)
        small = copy(self)
        small._modules, small._buffers = {}, {name: self._buffers[name] for name in _OF_ALL}
        for name in _BY_VERTEX & self._buffers.keys():
            whole = self.get_buffer(name)
            flat = whole.reshape(-1, len(self.skinning_weights))
            small._buffers[name] = flat[:, vertices].reshape(len(whole), -1)
        small._buffers["skinning_weights"] = self.skinning_weights[vertices]
        small._buffers["faces"] = corners
        small._buffers["fixed_triangles"] = place[: len(fixed)]
        small._buffers["contour_triangles"] = place[len(fixed) :].reshape(contour.shape)
        return small

    def _rotations(self, parameters: FaceParameters) -> Float[Tensor, "B 5 3 3"]:
        pose = [self._block(parameters, block) for block in ("global_pose", "neck_pose", "jaw_pose", "eye_pose")]
        return rotation_vector_to_matrix(torch.cat(pose, 1).reshape(pose[0].shape[0], -1, 3))

    def _joints(self, code: Float[Tensor, "B K"]) -> Float[Tensor, "B 5 3"]:
        return torch.addmm(self.joint_mean, code, self.joint_modes).reshape(code.shape[0], -1, 3)

    def _posed(
        self,
        shape: Float[Tensor, "B S"],
        others: Float[Tensor, "B _"],
        rotations: Float[Tensor, "B 5 3 3"],
        joints: Float[Tensor, "B 5 3"],
    ) -> Float[Tensor, "B V 3"]:
        """Posed vertices for a factor of every mode but the mean: those of the identity, then all others."""
        rest = from_planes(self._rest(shape, others))
        return linear_blend_skinning(rest, rotations, joints, self.parents, self.skinning_weights)[0]

    def _rest(self, shape: Float[Tensor, "B S"], others: Float[Tensor, "B _"]) -> Float[Tensor, "B _"]:
        if shape.stride(0) == 0:  # one person, expanded over the batch, is added up once
            mean, of_person, of_others = torch.split(self.modes, [1, shape.shape[1], others.shape[1]])
            return torch.addmm(torch.addmm(mean, shape[:1], of_person), others, of_others)
        return torch.cat([torch.ones_like(shape[:, :1]), shape, others], 1) @ self.modes

    def _fixed_landmarks(self, vertices: Float[Tensor, "B V 3"]) -> dict[str, Float[Tensor, "B _ 3"]]:
        """The sets of fixed points."""
        points = barycentric_points(vertices, self.faces, self.fixed_triangles, self.fixed_weights)
        sets = torch.split(points, list(self.fixed_points.values()), dim=1)
        return dict(zip(self.fixed_points, sets, strict=True))

    def _contour(
        self, vertices: Float[Tensor, "B V 3"], rotations: Float[Tensor, "B 5 3 3"]
    ) -> Float[Tensor, "B 17 3"]:
        """The jaw's outline at the yaw of root and neck."""
        head = rotations[:, 0] @ rotations[:, 1]
        return dynamic_contour_points(vertices, self.faces, head, self.contour_triangles, self.contour_weights)
