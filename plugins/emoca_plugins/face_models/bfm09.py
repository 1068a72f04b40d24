"""The Basel Face Model 2009 with FaceWarehouse expressions, on Deep3DFace's 35,709 frontal vertices."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.geometry.normals import face_normals
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Albedo, FaceGeometry, FaceParameters
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.bfm_files import BFM09_FRONT
from emoca_plugins.face_models.morphable import (
    MorphableModel,
    check_indices,
    facing_front,
    first_columns,
    from_planes,
    planes,
    points_of,
)

DECIMETRE = 0.1
"""The published model's unit, in metres."""


class Bfm09(MorphableModel):
    """Paysan et al., AVSS 2009; expressions of Guo et al., TPAMI 2018; as used by Deng et al., CVPRW 2019.

    Blocks: ``shape`` (80), ``expression`` (64) and ``albedo`` (80) in standard deviations, ``global_pose``. The origin
    is the mean of the mean shape's vertices, about which ``global_pose`` turns. Albedo is one colour per vertex.
    Landmarks: ``ibug68``.

    Source: Deep3DFaceRecon's parametric face model; decimetres become metres here.
    """

    class Params(ComponentParams):
        """How much of the model."""

        model: Path | None = None
        """``BFM_model_front.mat`` or a converted file, instead of the asset."""
        shape_size: int = Field(default=80, ge=1, le=80)
        """Identity components."""
        expression_size: int = Field(default=64, ge=1, le=64)
        """Expression components."""
        albedo_size: int = Field(default=80, ge=1, le=80)
        """Texture components."""

    params: Params

    mean: Tensor
    modes: Tensor
    albedo_mean: Tensor
    albedo_modes: Tensor
    vertex_faces: Int[Tensor, "V _"]
    landmark_vertices: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        options = self.params
        model = self._open_assets({"bfm09": (options.model, BFM09_FRONT)})["bfm09"]
        mean = model.array("mean_shape")
        shape = first_columns(model.array("shape_basis"), options.shape_size, "identity", model.path)
        expression = first_columns(model.array("expression_basis"), options.expression_size, "expression", model.path)
        albedo = first_columns(model.array("albedo_basis"), options.albedo_size, "texture", model.path)
        basis = np.concatenate([shape, expression], axis=1)
        self._constant("mean", planes(mean * DECIMETRE))
        self._constant("modes", planes(points_of(basis) * DECIMETRE))
        self._constant("albedo_mean", planes(model.array("mean_albedo") / 255))
        self._constant("albedo_modes", planes(points_of(albedo) / 255))
        check_indices(model.array("faces"), len(mean), "tri", model.path)
        check_indices(model.array("landmark_vertices"), len(mean), "keypoints", model.path)
        check_indices(model.array("vertex_faces"), len(model.array("faces")) + 1, "point_buf", model.path)
        self._constant("faces", facing_front(mean, model.array("faces")))
        self._constant("vertex_faces", model.array("vertex_faces"))
        self._constant("landmark_vertices", model.array("landmark_vertices"))
        self._register_masks({n: model.array(f"{n}_mask") for n in ("skin", "front") if f"{n}_mask" in model.shapes})
        self.blocks = {
            "shape": options.shape_size,
            "expression": options.expression_size,
            "albedo": options.albedo_size,
            "global_pose": 3,
        }

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        code = torch.cat([self._block(parameters, "shape"), self._block(parameters, "expression")], 1)
        rotation = rotation_vector_to_matrix(self._block(parameters, "global_pose"))
        vertices = from_planes(torch.addmm(self.mean, code, self.modes)) @ rotation.mT
        return FaceGeometry(vertices, {"ibug68": vertices[:, self.landmark_vertices]})

    def albedo(self, parameters: FaceParameters) -> Albedo:
        code = self._block(parameters, "albedo")
        return Albedo(vertex_colors=from_planes(torch.addmm(self.albedo_mean, code, self.albedo_modes)))

    def published_normals(self, vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
        """Vertex normals as Deep3DFace shades with: the mean of at most eight unit triangle normals.

        The renderers' own normals weigh triangles by area, which differs where triangles do.
        """
        normals = torch.nn.functional.normalize(face_normals(vertices, self.faces), dim=-1)
        padded = torch.nn.functional.pad(normals, (0, 0, 0, 1))  # the table's filler refers to a zero row at the end
        return torch.nn.functional.normalize(padded[:, self.vertex_faces].sum(2), dim=-1)
