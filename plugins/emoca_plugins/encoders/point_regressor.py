"""A small network to all blocks of a face code, from the detected points and the picture around them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Block, CropRule, Encoder, FaceCrop, FaceParameters, Parts, Unit
from emoca_core.registry.spec import ComponentParams
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_plugins.encoders.network_output import split_code
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.encoders.point_patches import PointPatches
from emoca_plugins.encoders.regressor_output import Output

WEIGHTS = Path(__file__).parent / "data" / "open_deca.safetensors"
POINTS = "ibug68"
POINT_STEP = 0.2
"""What counts 1 of a point's distance from where the neutral face has it, in radii of the points."""
FIRST_SPREAD = 0.01
"""Standard deviation of the untrained output: close to neutral."""


class PointRegressor(Encoder):
    """Shape, albedo, expression, poses, gaze, camera and light by one network of three layers.

    It reads where the landmarker saw the 68 points, and small pictures that follow them. Where the points lie in the
    crop, and how large they are, goes to the camera alone. Untrained, it answers with the neutral face at their place.

    Source: this project. The idea of reading pixels at places that follow the points is that of Cao et al., Face
    Alignment by Explicit Shape Regression, CVPR 2012; what is regressed is DECA's (Feng et al., SIGGRAPH 2021).
    """

    class Params(ComponentParams):
        weights: str = "untrained"
        """``untrained`` refuses to work. ``open_deca``: those that come with the project. ``random``: for training.
        Else the network's own file, e.g. ``best.safetensors`` of a run of ``emoca train coarse``."""
        hidden: int = Field(default=512, ge=1)
        """Units of the two hidden layers."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        """Share of the pictures' numbers that a training step does not see."""
        distance: float = Field(default=0.6, ge=0.1)
        """Of the head's origin from the camera where it fills its crop, metres."""

    params: Params
    takes_parts = True
    crop_rule: CropRule = UprightCrop()
    needs = frozenset({"landmarks"})

    def __init__(self, params: Params | None, parts: Parts) -> None:
        """Build the network for a face model."""
        super().__init__(params)
        p = self.params
        self._file = WEIGHTS if p.weights == WEIGHTS.stem else find_weights("point_regressor", p.weights)
        self.output = Output.of(parts.face_model, True, UprightCrop.scale, p.distance)
        self.blocks: Mapping[Block, int] = self.output.blocks
        self._units: Mapping[str, Unit] = {"expression": "activation"} if parts.face_model.expression_names else {}
        self.patches = PointPatches()
        self.dropout = nn.Dropout(p.dropout)
        numbers = self.output.neutral_points.numel() + self.patches.numbers
        self.layers = nn.Sequential(
            nn.Linear(numbers, p.hidden),
            nn.SiLU(),
            nn.Linear(p.hidden, p.hidden),
            nn.SiLU(),
            nn.Linear(p.hidden, sum(self.output.layout.values())),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=FIRST_SPREAD / p.hidden**0.5)
        nn.init.zeros_(last.bias)
        if self._file is not None:
            load_into(self, read_checkpoint(self._file), KeyMap(strip=("encoder.",)))
            self.asset_paths = {asset_name("point_regressor", p.weights): self._file}

    def forward(self, crop: FaceCrop) -> FaceParameters:
        if POINTS not in crop.landmarks:
            raise RecipeError(f"point_regressor reads the points {POINTS} of each face: the crops have none")
        neutral = self.output.neutral_points
        seen = crop.landmarks[POINTS]
        points = torch.where(seen.isfinite(), seen, neutral)
        pictures = self.dropout(self.patches(crop.image, points))
        middle, radius = _placed(points)
        own_middle, own_radius = _placed(neutral[None])
        moved = (points - middle) / radius - (neutral - own_middle) / own_radius
        raw = split_code(self.layers(torch.cat([moved.flatten(1) / POINT_STEP, pictures], dim=1)), self.output.layout)
        raw["camera"] = self.output.placed(raw["camera"], (radius / own_radius)[:, 0, 0], (middle - own_middle)[:, 0])
        parameters: FaceParameters = self.output(raw)
        return parameters.replace(units=self._units)


def _placed(points: Float[Tensor, "B L 2"]) -> tuple[Float[Tensor, "B 1 2"], Float[Tensor, "B 1 1"]]:
    """Middle of points, and their root mean square distance from it."""
    middle = points.mean(1, keepdim=True)
    return middle, (points - middle).square().sum(-1).mean(1).sqrt()[:, None, None]
