"""A small network to all blocks of a face code, from the detected points and the picture around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Block, CropRule, Encoder, FaceCrop, FaceParameters, Parts, Unit
from emoca_core.registry.spec import ComponentParams
from emoca_core.weights.checkpoints import Checkpoint, KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_plugins.encoders.network_output import split_code
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.encoders.point_patches import PointPatches
from emoca_plugins.encoders.regressor_output import STEP, Output

WEIGHTS = Path(__file__).parent / "data" / "open_deca.safetensors"
POINTS = "ibug68"
POINT_STEP = 0.2
"""What counts 1 of a point's distance from where the neutral face has it, in radii of the points."""
FIRST_SPREAD = 0.01
"""Standard deviation of the untrained output: close to neutral."""
FOLLOWING: tuple[Block, ...] = ("expression", "global_pose", "jaw_pose", "eye_pose", "camera")
"""What goes along where the shape is given."""
NOTHING: Mapping[Block, Tensor] = {}
Placed = tuple[Float[Tensor, "B"], Float[Tensor, "B 2"]]
"""How much larger than the neutral face the points are, and how far from its place."""


class PointRegressor(Encoder):
    """Shape, albedo, expression, poses, gaze, camera and light by one network of three layers.

    It reads where the landmarker saw the 68 points, and small pictures that follow them. Where the points lie in the
    crop, and how large they are, goes to the camera alone. Untrained, it answers with the neutral face at their place.
    Where the shape is given, as in clips, two small layers move expression, poses and camera by how far it is from the
    shape that the network sees; untrained, they move nothing.

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
        following: int = Field(default=128, ge=1)
        """Units of the hidden layer of what follows a given shape."""
        trained: Literal["everything", "following"] = "everything"
        """``following``: only the layers that follow a given shape; faces whose shape is not given stay as they are."""
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
        self._following: Mapping[Block, int] = {b: n for b, n in self.output.layout.items() if b in FOLLOWING}
        self.follow = nn.Sequential(
            nn.Linear(p.hidden + self.output.layout.get("shape", 0), p.following),
            nn.SiLU(),
            nn.Linear(p.following, sum(self._following.values()), bias=False),
        )
        last = self.follow[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        self.layers.requires_grad_(p.trained == "everything")
        if self._file is not None:
            self._load(read_checkpoint(self._file))
            self.asset_paths = {asset_name("point_regressor", p.weights): self._file}

    def forward(self, crop: FaceCrop) -> FaceParameters:
        return self._code(*self._seen(crop))

    def with_shape(self, crop: FaceCrop, code: FaceParameters, shape: Float[Tensor, "B S"]) -> FaceParameters:
        hidden, places = self._seen(crop)
        own = split_code(self.layers[-1](hidden), self.output.layout)["shape"] * STEP["shape"]
        away = F.pad(shape, (0, own.shape[1] - shape.shape[1])) - own
        moves = self.follow(torch.cat([hidden, away], 1)) - self.follow(torch.cat([hidden, torch.zeros_like(away)], 1))
        return self._code(hidden, places, split_code(moves, self._following)).replace(shape=shape)

    def _load(self, checkpoint: Checkpoint) -> None:
        """Read weights; trainings of before have no layers that follow a given shape, and then nothing follows it."""
        if any("follow." in name for name in checkpoint):
            load_into(self, checkpoint, KeyMap(strip=("encoder.",)))
        else:
            load_into(self.layers, checkpoint, KeyMap(strip=("encoder.", "layers.")))

    def _seen(self, crop: FaceCrop) -> tuple[Float[Tensor, "B H"], Placed]:
        """What the hidden layers make of the faces, and where the points are."""
        if POINTS not in crop.landmarks:
            raise RecipeError(f"point_regressor reads the points {POINTS} of each face: the crops have none")
        neutral = self.output.neutral_points
        seen = crop.landmarks[POINTS]
        points = torch.where(seen.isfinite(), seen, neutral)
        pictures = self.dropout(self.patches(crop.image, points))
        middle, radius = _placed(points)
        own_middle, own_radius = _placed(neutral[None])
        moved = (points - middle) / radius - (neutral - own_middle) / own_radius
        hidden = self.layers[:-1](torch.cat([moved.flatten(1) / POINT_STEP, pictures], dim=1))
        return hidden, ((radius / own_radius)[:, 0, 0], (middle - own_middle)[:, 0])

    def _code(
        self, hidden: Float[Tensor, "B H"], places: Placed, moves: Mapping[Block, Float[Tensor, "B _"]] = NOTHING
    ) -> FaceParameters:
        raw = split_code(self.layers[-1](hidden), self.output.layout)
        raw |= {name: raw[name] + move for name, move in moves.items()}
        raw["camera"] = self.output.placed(raw["camera"], *places)
        parameters: FaceParameters = self.output(raw)
        return parameters.replace(units=self._units)


def _placed(points: Float[Tensor, "B L 2"]) -> tuple[Float[Tensor, "B 1 2"], Float[Tensor, "B 1 1"]]:
    """Middle of points, and their root mean square distance from it."""
    middle = points.mean(1, keepdim=True)
    return middle, (points - middle).square().sum(-1).mean(1).sqrt()[:, None, None]
