"""A tiny method made of toy parts, so that the pipeline can be tested in milliseconds; and photos for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import (
    Albedo,
    DetailModel,
    Detection,
    Encoder,
    FaceCrop,
    FaceGeometry,
    FaceModel,
    FaceParameters,
    Landmarker,
    PerspectiveCamera,
    WeakPerspectiveCamera,
)
from emoca_core.method import Method
from emoca_core.registry.catalogue import Recipe
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_crops import UprightCrop
from emoca_plugins.renderers.zbuffer import ZBuffer

SHARES = torch.tensor([0.0 if name.startswith(("eye", "jaw", "tongue")) else 0.8 for name in ARKIT_NAMES])
SHARES[ARKIT_NAMES.index("mouthRight")] = 0.0  # never together with mouthLeft
LANDMARKS = [int(i) for i in np.linspace(0, 160, 68)]


class Ball(FaceModel):
    """A sphere of head size with ARKit names; every expression pushes some of its vertices."""

    def __init__(self, arkit: bool = True) -> None:
        super().__init__()
        ball = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
        self.register_buffer("template", torch.tensor(np.asarray(ball.vertices), dtype=torch.float32))
        self.register_buffer("faces", torch.tensor(np.asarray(ball.faces), dtype=torch.int64))
        self.uv = self.template[:, :2] * 4 + 0.5
        self.uv_faces = self.faces
        basis = torch.randn(52, *self.template.shape, generator=torch.Generator().manual_seed(1))
        self.register_buffer("basis", 0.002 * basis * (basis.abs() > 1.5))
        self.expression_names = ARKIT_NAMES if arkit else ()
        self.blocks = {"shape": 2, "expression": 52, "global_pose": 3}

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        count = len(parameters)
        expression, pose = parameters.expression, parameters.global_pose
        moved = self.template + torch.einsum("be,evc->bvc", expression, self.basis)
        vertices = moved * (1 + 0.1 * parameters.shape[:, :1, None])
        turned = vertices @ rotation_vector_to_matrix(torch.zeros(count, 3) if pose is None else pose).mT
        return FaceGeometry(turned, {"ibug68": turned[:, LANDMARKS]})

    def albedo(self, parameters: FaceParameters) -> Albedo:
        return Albedo(texture=torch.full((len(parameters), 3, 8, 8), 0.5))


class Guess(Encoder):
    """Reads a code off the crop's mean colour. ``trouble`` is called with every batch."""

    crop_rule = UprightCrop()
    blocks = {"shape": 2, "expression": 52, "global_pose": 3}  # noqa: RUF012

    def __init__(self, weak: bool = False, trouble: Callable[[FaceCrop], None] = lambda crop: None) -> None:
        super().__init__()
        self.weak, self.trouble = weak, trouble
        self.batches: list[int] = []
        self.identities: list[torch.Tensor | None] = []

    def forward(self, crop: FaceCrop) -> FaceParameters:
        self.trouble(crop)
        self.batches.append(len(crop))
        self.identities.append(crop.identity)
        mean = crop.image.mean((2, 3))
        ones = torch.ones(len(crop), 1)
        camera = (
            WeakPerspectiveCamera(8 * ones[:, 0], 0.01 * ones.expand(-1, 2))
            if self.weak
            else PerspectiveCamera(
                9 * ones.expand(-1, 2), 0.2 * ones.expand(-1, 2), ones * torch.tensor([0, 0.01, 1.0])
            )
        )
        return FaceParameters(
            shape=mean[:, :2],
            expression=mean[:, :1].expand(-1, 52) * SHARES,
            global_pose=mean - 0.3,
            camera=camera,
            units={"expression": "activation"},
        )


class Marked(Landmarker):
    """Finds as many faces as the red value of the photo's first pixel says, slightly tilted."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def detect(self, photo: np.ndarray) -> list[Detection]:
        self.seen += 1
        return [self._face(photo, index) for index in range(photo[0, 0, 0])]

    def _face(self, photo: np.ndarray, index: int) -> Detection:
        angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        points = np.column_stack([1.1 * np.cos(angle), np.sin(angle)]) * (40 - 5 * index) + [70.3 + 30 * index, 60.7]
        points[36:48] += np.linspace(-20, 20, 12)[:, None] * [1, 0.3]
        box = np.concatenate([points.min(0), points.max(0)])
        return Detection(box, 0.9 - 0.1 * index, {"ibug68": points}, np.linspace(0, 1, 52))


class Ripples(DetailModel):
    """Waves along v, the same for every face."""

    code_size, map_size = 1, 64
    conditions = {}  # noqa: RUF012

    def encode(self, crop: FaceCrop) -> torch.Tensor:
        return torch.ones(len(crop), 1)

    def decode(self, parameters: FaceParameters) -> torch.Tensor:
        wave = 3e-3 * torch.sin(torch.arange(64) * 0.8)[None, None, :, None]
        return wave.expand(len(parameters), 1, 64, 64) * parameters.detail[..., None, None]


@pytest.fixture(scope="module", autouse=True)
def no_doubt() -> Iterator[None]:
    """Toys do not fit their landmarks, and nobody minds; ``test_quality.py`` has the limits back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emoca_core.reconstruction.quality.LIMITS", ())
        yield


RECIPE = Recipe.model_validate(
    {
        "summary": "toy",
        "landmarker": {"uses": "marked"},
        "encoder": {"uses": "guess"},
        "face_model": {"uses": "ball"},
        "renderer": {"uses": "zbuffer"},
    }
)


def build(encoder: Encoder | None = None, arkit: bool = True, detail: DetailModel | None = None) -> Method:
    parts = {
        "landmarker": Marked(),
        "encoder": encoder or Guess(),
        "face_model": Ball(arkit),
        "renderer": ZBuffer(),
        "detail": detail,
    }
    return Method("toy", RECIPE, parts)


@pytest.fixture
def method() -> Method:
    return build()


@pytest.fixture
def build_method() -> Callable[..., Method]:
    return build


@pytest.fixture
def take_photo() -> Callable[..., Path]:
    """Writes a photo in which the toy landmarker finds so many faces."""

    def take(path: Path, faces: int = 1, shade: int = 100) -> Path:
        pixels = np.full((120, 160, 3), shade, np.uint8)
        pixels[:, :, 1] += np.arange(160, dtype=np.uint8) // 2
        pixels[0, 0] = faces, 0, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path.with_suffix(".png"))
        return path.with_suffix(".png")

    return take


@pytest.fixture
def ripples() -> type[Ripples]:
    return Ripples


@pytest.fixture
def guess() -> type[Guess]:
    return Guess
