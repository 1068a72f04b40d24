"""The Basel Face Model 2009 with FaceWarehouse expressions, on Deep3DFace's 35,709 frontal vertices."""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.geometry.normals import face_normals
from emoca_core.interfaces import Block
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.bfm_files import BFM09_FRONT
from emoca_plugins.face_models.linear_face import BaselFace
from emoca_plugins.face_models.morphable import check_indices

DECIMETRE = 0.1
"""The published model's unit, in metres."""


class Bfm09(BaselFace):
    """Paysan et al., AVSS 2009; expressions of Guo et al., TPAMI 2018; as used by Deng et al., CVPRW 2019.

    Blocks: ``shape`` (80), ``expression`` (64) and ``albedo`` (80) in standard deviations, ``global_pose``. The origin
    is the mean of the mean shape's vertices, about which ``global_pose`` turns. Albedo is one colour per vertex.
    Landmarks: ``ibug68``.

    Source: Deep3DFaceRecon's parametric face model; decimetres become metres here.
    """

    class Params(ComponentParams):
        model: Path | None = None
        """``BFM_model_front.mat`` or a converted file, instead of the asset."""
        shape_size: int = Field(default=80, ge=1, le=80)
        """Identity components."""
        expression_size: int = Field(default=64, ge=1, le=64)
        """Expression components."""
        albedo_size: int = Field(default=80, ge=1, le=80)
        """Texture components."""

    params: Params

    vertex_faces: Int[Tensor, "V _"]

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        p = self.params
        model = self._open_assets({"bfm09": (p.model, BFM09_FRONT)})["bfm09"]
        sizes: dict[Block, int] = {"shape": p.shape_size, "expression": p.expression_size, "albedo": p.albedo_size}
        mean = model.array("mean_shape") * DECIMETRE
        self._register_basel(model, mean, DECIMETRE, sizes)
        self._register_landmarks(model.array("landmark_vertices"), model.path)
        check_indices(model.array("vertex_faces"), len(model.array("faces")) + 1, "point_buf", model.path)
        self._constant("vertex_faces", model.array("vertex_faces"))
        self._register_masks({n: model.array(f"{n}_mask") for n in ("skin", "front") if f"{n}_mask" in model.shapes})

    def published_normals(self, vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
        """Vertex normals as Deep3DFace shades with: the mean of at most eight unit triangle normals.

        The renderers' own normals weigh triangles by area, which differs where triangles do.
        """
        normals = torch.nn.functional.normalize(face_normals(vertices, self.faces), dim=-1)
        padded = torch.nn.functional.pad(normals, (0, 0, 0, 1))  # the table's filler refers to a zero row at the end
        return torch.nn.functional.normalize(padded[:, self.vertex_faces].sum(2), dim=-1)
