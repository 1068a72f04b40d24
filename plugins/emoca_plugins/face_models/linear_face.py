"""Faces that are linear in their code and turn as a whole: the Basel Face Model in its published uses, ICT FaceKit."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.formats import Content
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Albedo, Block, FaceGeometry, FaceParameters
from emoca_plugins.face_models.morphable import MorphableModel, check_indices, first_columns, from_planes, planes


class LinearFace(MorphableModel):
    """Vertices R (mean + basis code), landmarks among them."""

    mean: Tensor
    modes: Tensor
    landmark_vertices: Tensor

    def _register_face(self, mean: ndarray, bases: list[ndarray], faces: ndarray) -> None:
        """Keep a mean [V, 3] and bases [K, V, 3] of shape, then of expression, metres; and the triangles."""
        self._constant("mean", planes(mean))
        self._constant("modes", planes(np.concatenate(bases)))
        self._constant("faces", faces)

    def _register_landmarks(self, vertices: ndarray, where: Path) -> None:
        """Keep the vertices of the 68 points.

        Raises:
            AssetFormatError: There are no such vertices.
        """
        check_indices(vertices, self.mean.numel() // 3, "the landmark list", where)
        self._constant("landmark_vertices", vertices)

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        rotation = rotation_vector_to_matrix(self._block(parameters, "global_pose"))
        vertices = from_planes(torch.addmm(self.mean, self._code(parameters), self.modes)) @ rotation.mT
        return FaceGeometry(vertices, {"ibug68": vertices[:, self.landmark_vertices]})

    def _code(self, parameters: FaceParameters) -> Float[Tensor, "B K"]:
        return torch.cat([self._block(parameters, "shape"), self._block(parameters, "expression")], 1)


class BaselFace(LinearFace):
    """The Basel Face Model: interleaved bases, and a colour per vertex where it has a basis of colours."""

    albedo_mean: Tensor
    albedo_modes: Tensor

    def _register_basel(
        self, model: Content, mean: ndarray, unit: float, sizes: Mapping[Block, int], triangles: Content | None = None
    ) -> None:
        """Keep what was asked for.

        Args:
            model: The converted file.
            mean: Mean shape [V, 3], metres.
            unit: Of the file's bases, in metres.
            sizes: Components of the bases ``shape``, ``expression`` and, if wanted, ``albedo`` that are kept.
            triangles: Where the triangles are, if not in the file.

        Raises:
            AssetFormatError: The file has fewer components, or its triangles refer to vertices that it lacks.
        """
        names = {"shape": "identity", "expression": "expression", "albedo": "texture"}
        columns = {b: first_columns(model.array(f"{b}_basis"), sizes[b], names[b], model.path) for b in sizes}
        bases = {block: _points_of(basis) for block, basis in columns.items()}
        source = triangles or model
        check_indices(source.array("faces"), len(mean), "the triangle list", source.path)
        faces = _facing_front(mean, source.array("faces"))
        self._register_face(mean, [bases["shape"] * unit, bases["expression"] * unit], faces)
        if "albedo" in bases:
            self._constant("albedo_mean", planes(model.array("mean_albedo") / 255))
            self._constant("albedo_modes", planes(bases["albedo"] / 255))
        self.blocks = {**sizes, "global_pose": 3}

    def albedo(self, parameters: FaceParameters) -> Albedo:
        if "albedo" not in self.blocks:
            return Albedo()
        code = self._block(parameters, "albedo")
        return Albedo(vertex_colors=from_planes(torch.addmm(self.albedo_mean, code, self.albedo_modes)))


def _points_of(basis: ndarray) -> ndarray:
    """Published [3V, K] bases with interleaved coordinates to [K, V, 3]."""
    return basis.T.reshape(basis.shape[1], -1, 3)


def _facing_front(vertices: ndarray, faces: ndarray) -> ndarray:
    """Triangles counter-clockwise seen from outside, for an open face surface that looks along +z.

    Published files differ in their winding; the summed normal of a face points forward only in one of them.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    forward = np.cross(b - a, c - a)[:, 2].sum()
    return faces if forward >= 0 else faces[:, ::-1].copy()
