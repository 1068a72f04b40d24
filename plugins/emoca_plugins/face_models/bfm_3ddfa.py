"""The Basel Face Model without neck as 3DDFA-V2 uses it: 38,365 vertices, 40 identities, 10 expressions."""

from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core.errors import AssetFormatError, RecipeError
from emoca_core.formats import Content
from emoca_core.interfaces import Block, FaceParameters
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.face_models.bfm_files import BFM_3DDFA_TRIANGLES, BFM_NONECK, TDDFA_STATISTICS
from emoca_plugins.face_models.linear_face import BaselFace

MICROMETRE = 1e-6
"""The published model's unit, in metres."""
POSE_SIZE, SHAPE_SIZE = 12, 40
"""Of a 62-number parameter vector: 3x4 pose, identity, expression."""


class Bfm3ddfa(BaselFace):
    """Guo et al., "Towards fast, accurate and stable 3D dense face alignment", ECCV 2020.

    Blocks: ``shape`` (40), ``expression`` (10), ``global_pose``. Units, from the code's tag:

    - ``raw``: coefficients of the published bases, as 3DDFA-V2 gives them after denormalisation.
    - ``whitened``: zero mean and unit variance over its training set, as its network gives them.
    - ``sigma``: standard deviations of its training set about the model's mean face, so that zero is that face.

    The last two need the asset ``tddfa_statistics``. No texture. Landmarks: ``ibug68``.

    Source: 3DDFA_V2 public code; micrometres become metres here.
    """

    class Params(ComponentParams):
        model: Path | None = None
        """``bfm_noneck_v3.pkl`` or a converted file, instead of the asset."""
        triangles: Path | None = None
        """``tri.pkl``, instead of the asset."""
        statistics: Path | None = None
        """``param_mean_std_62d_120x120.pkl``, instead of the asset."""
        shape_size: int = Field(default=40, ge=1, le=SHAPE_SIZE)
        """Identity components."""
        expression_size: int = Field(default=10, ge=1, le=10)
        """Expression components."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        options = self.params
        assets = self._open_assets(
            {
                "bfm_3ddfa": (options.model, BFM_NONECK),
                "bfm_3ddfa_triangles": (options.triangles, BFM_3DDFA_TRIANGLES),
                "tddfa_statistics": (options.statistics, TDDFA_STATISTICS),
            }
        )
        model = assets["bfm_3ddfa"]
        sizes: dict[Block, int] = {"shape": options.shape_size, "expression": options.expression_size}
        mean = model.array("mean_shape") * MICROMETRE
        self._register_basel(model, mean, MICROMETRE, sizes, assets["bfm_3ddfa_triangles"])
        self._register_landmarks(model.array("landmark_vertices"), model.path)
        self._register_statistics(assets["tddfa_statistics"])

    def _register_statistics(self, statistics: Content) -> None:
        mean, deviation = statistics.array("mean"), statistics.array("std")
        starts: dict[Block, int] = {"shape": POSE_SIZE, "expression": POSE_SIZE + SHAPE_SIZE}
        for block, start in starts.items():
            part = slice(start, start + self.blocks[block])
            if len(mean[part]) < self.blocks[block]:
                raise AssetFormatError(f"{statistics.path} describes {len(mean)} parameters, expected 62")
            self._constant(f"{block}_offset", mean[part])
            self._constant(f"{block}_deviation", deviation[part])

    def _code(self, parameters: FaceParameters) -> Float[Tensor, "B K"]:
        return torch.cat([self.raw(parameters, "shape"), self.raw(parameters, "expression")], 1)

    def raw(self, parameters: FaceParameters, block: Block) -> Float[Tensor, "B D"]:
        """A block as coefficients of the published bases, whatever its unit. An absent block is the mean face.

        Raises:
            RecipeError: A unit that this model does not know.
        """
        code, unit = self._block(parameters, block), parameters.unit_of(block)
        deviation, offset = self.get_buffer(f"{block}_deviation"), self.get_buffer(f"{block}_offset")
        if unit == "raw" or getattr(parameters, block) is None:
            return code
        if unit == "sigma":
            return code * deviation
        if unit == "whitened":
            return code * deviation + offset
        raise RecipeError(f"bfm_3ddfa reads {block} in the units raw, whitened or sigma, got '{unit}'")
