"""What published uses of the Basel Face Model 2009 share: one basis of shape and expression, a colour per vertex."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from emoca_core.formats import Content
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Albedo, Block, FaceGeometry, FaceParameters
from emoca_plugins.face_models.morphable import (
    MorphableModel,
    check_indices,
    facing_front,
    first_columns,
    from_planes,
    planes,
    points_of,
)


class BaselFace(MorphableModel):
    """Vertices R (mean + shape basis a + expression basis e), colours mean + albedo basis b, all in ``sigma``."""

    mean: Tensor
    modes: Tensor
    albedo_mean: Tensor
    albedo_modes: Tensor
    landmark_vertices: Tensor

    def _register_bases(self, model: Content, mean: np.ndarray, unit: float, sizes: Mapping[Block, int]) -> None:
        """Keep what was asked for.

        Args:
            model: The converted file.
            mean: Mean shape [V, 3], metres.
            unit: Of the file's bases, in metres.
            sizes: Components of the bases ``shape``, ``expression`` and ``albedo`` that are kept.

        Raises:
            AssetFormatError: The file has fewer components, or its triangles refer to vertices that it lacks.
        """
        shape = first_columns(model.array("shape_basis"), sizes["shape"], "identity", model.path)
        expression = first_columns(model.array("expression_basis"), sizes["expression"], "expression", model.path)
        albedo = first_columns(model.array("albedo_basis"), sizes["albedo"], "texture", model.path)
        basis = np.concatenate([shape, expression], axis=1)
        self._constant("mean", planes(mean))
        self._constant("modes", planes(points_of(basis) * unit))
        self._constant("albedo_mean", planes(model.array("mean_albedo") / 255))
        self._constant("albedo_modes", planes(points_of(albedo) / 255))
        check_indices(model.array("faces"), len(mean), "the list of triangles", model.path)
        self._constant("faces", facing_front(mean, model.array("faces")))
        self.blocks = {**sizes, "global_pose": 3}

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        code = torch.cat([self._block(parameters, "shape"), self._block(parameters, "expression")], 1)
        rotation = rotation_vector_to_matrix(self._block(parameters, "global_pose"))
        vertices = from_planes(torch.addmm(self.mean, code, self.modes)) @ rotation.mT
        return FaceGeometry(vertices, {"ibug68": vertices[:, self.landmark_vertices]})

    def albedo(self, parameters: FaceParameters) -> Albedo:
        code = self._block(parameters, "albedo")
        return Albedo(vertex_colors=from_planes(torch.addmm(self.albedo_mean, code, self.albedo_modes)))
