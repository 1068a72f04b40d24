"""A method of toy parts on the real open head: codes are read off the shade of a picture, in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_clips import ByNote, Face, Reader, frame, toy_clip

from emoca_core.interfaces import DetailModel, Encoder, FaceCrop, FaceParameters, PerspectiveCamera
from emoca_core.method import Method
from emoca_core.registry.catalogue import Recipe
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.renderers.zbuffer import ZBuffer

SHADES = np.linspace(200, 60, 12)
SHARES = torch.tensor([0.7 if name.startswith(("brow", "mouthSmile", "noseSneer")) else 0.0 for name in ARKIT_NAMES])
RECIPE = Recipe.model_validate(
    {
        "summary": "toy",
        "landmarker": {"uses": "marked"},
        "encoder": {"uses": "shade"},
        "face_model": {"uses": "open_head"},
        "renderer": {"uses": "zbuffer"},
    }
)


class Shade(Encoder):
    """The darker a picture, the stronger the expression; who it is depends on the photo's green."""

    crop_rule = UprightCrop()
    blocks = {  # noqa: RUF012
        **{"shape": 2, "expression": 52, "global_pose": 3, "jaw_pose": 3, "eye_pose": 6, "albedo": 27, "lighting": 27}
    }

    def forward(self, crop: FaceCrop) -> FaceParameters:
        count, dark = len(crop), 1 - crop.image[:, :1, 20:-20, 20:-20].mean((2, 3))
        ones = torch.ones(count, 1)
        return FaceParameters(
            shape=3 * crop.image[:, 1:, 20:-20, 20:-20].mean((2, 3)),
            expression=dark * SHARES,
            global_pose=torch.cat([0.1 * ones, 0.5 * dark, 0 * ones], dim=1),
            jaw_pose=torch.cat([0.3 * dark, 0 * ones, 0 * ones], dim=1),
            eye_pose=0.1 * dark.expand(-1, 6),
            albedo=0.2 * ones.expand(-1, 27),
            lighting=torch.full((count, 9, 3), 0.2),
            camera=PerspectiveCamera(
                6 * ones.expand(-1, 2), 0 * ones.expand(-1, 2), ones * torch.tensor([0.05, 0.1, 1.2])
            ),
            units={"expression": "activation"},
        )


class Ripples(DetailModel):
    """Waves as high as the detail code says, times how far the jaw is open."""

    code_size, map_size = 1, 64
    conditions = {"jaw_pose": 3}  # noqa: RUF012

    def encode(self, crop: FaceCrop) -> torch.Tensor:
        return 1 + crop.image[:, :1].mean((2, 3))

    def decode(self, parameters: FaceParameters) -> torch.Tensor:
        wave = 3e-2 * torch.sin(torch.arange(64) * 0.8)[None, None, :, None]
        height = parameters.detail * parameters.jaw_pose[:, :1]
        return wave.expand(len(parameters), 1, 64, 64) * height[..., None, None]


def build(detail: DetailModel | None = None, **params: object) -> Method:
    head = OpenHead(OpenHead.Params(texture_size=16, mediapipe_landmarks=False, **params))
    parts = {
        **{"landmarker": Reader(), "tracker": ByNote(), "encoder": Shade()},
        **{"face_model": head, "renderer": ZBuffer(), "detail": detail},
    }
    return Method("toy", RECIPE, parts).eval()


@pytest.fixture(scope="session")
def method() -> Method:
    return build()


@pytest.fixture(scope="session")
def detailed() -> Method:
    return build(Ripples())


@pytest.fixture
def photo(tmp_path) -> Callable[..., Path]:
    """Writes a photo in which the toy landmarker finds the faces that are named."""

    def write(name: str = "me.png", faces: tuple[Face, ...] = ((1, 80, 60),), shade: int = 140) -> Path:
        Image.fromarray(frame(faces, shade)).save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def clip(tmp_path) -> Callable[..., Path]:
    """Writes a clip of somebody whose face is shaded so."""

    def write(shades: np.ndarray = SHADES, name: str = "talk", **options: object) -> Path:
        frames = [frame([(1, 80, 60)], int(shade)) for shade in shades]
        return toy_clip(tmp_path / name, frames, **options)

    return write
