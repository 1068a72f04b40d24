"""The Basel Face Model 2009 with FaceWarehouse expressions, on Deep3DFace's 35,709 frontal vertices."""

from pathlib import Path

from pydantic import Field

from emoca_core.interfaces import Block
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.bfm_files import BFM09_FRONT
from emoca_plugins.face_models.linear_face import BaselFace

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

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        p = self.params
        model = self._open_assets({"bfm09": (p.model, BFM09_FRONT)})["bfm09"]
        sizes: dict[Block, int] = {"shape": p.shape_size, "expression": p.expression_size, "albedo": p.albedo_size}
        mean = model.array("mean_shape") * DECIMETRE
        self._register_basel(model, mean, DECIMETRE, sizes)
        self._register_landmarks(model.array("landmark_vertices"), model.path)
        self._register_masks({n: model.array(f"{n}_mask") for n in ("skin", "front") if f"{n}_mask" in model.shapes})
