"""Faces whose colour is their label, and methods that see it or do not: a benchmark without networks or faces."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from local_plugins import plugin
from PIL import Image

from emoca_core import ComponentSpec, Registry
from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import MissingAssetError
from emoca_core.interfaces import (
    Albedo,
    Detection,
    EmotionBackbone,
    EmotionPrediction,
    Encoder,
    FaceCrop,
    FaceGeometry,
    FaceModel,
    FaceParameters,
    Landmarker,
)
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.probe.codes import CodeSource
from emoca_plugins.encoders.box_crops import EmocaCrop

COLOURS = {"neutral": 60, "happy": 130, "sad": 200}
CROP = EmocaCrop(size=32)
SMALL = {"width": 16, "hidden_layers": 2, "epochs": 15, "batch_size": 8, "learning_rate": 0.01, "log_every": 1000}
"""A probe that is trained in a moment."""


def make_manifest(folder: Path, faces: int = 90, per_clip: int = 3, classes: bool = True) -> Path:
    """Pictures whose red tells the label and whose blue is chance; the last one is black and has no face."""
    rows, rng = [], np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(faces + 1):
        name = list(COLOURS)[i % 3]
        colour = (COLOURS[name] + rng.integers(-15, 15), 128, rng.integers(60, 200))
        pixels = np.full((40, 40, 3), colour if i < faces else (0, 0, 0), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
        valence = {"neutral": 0.0, "happy": 0.7, "sad": -0.6}[name] + rng.uniform(-0.1, 0.1)
        split = ("train", "train", "train", "validation", "test")[i // per_clip % 5]
        expression = name if classes else None
        rows.append(
            ManifestRow(
                f"{i:03d}.png",
                split,
                expression,
                float(valence),
                float(rng.uniform(-1, 1)),
                clip=f"clip{i // per_clip}",
            )
        )
    write_manifest(rows, folder / "faces.csv")
    return folder / "faces.csv"


class ToyLandmarker(Landmarker):
    """One face in every picture that is not black."""

    def detect(self, photo):
        if photo.max() == 0:
            return []
        height, width = photo.shape[:2]
        points = (frontal_landmarks().numpy() + 1) / 2 * [width, height]
        return [Detection(np.array([4.0, 4, 36, 36], np.float32), 0.9, {"ibug68": points.astype(np.float32)})]


class Colour(CodeSource):
    """Some channels of the middle of the crop."""

    rule, crop = CROP, "shared"

    def __init__(self, name, channels, version=0):
        self.name, self.channels, self.version, self.encoded = name, channels, version, 0

    @property
    def inputs(self):
        return tuple("RGB"[c] for c in self.channels)

    def encode(self, crop):
        self.encoded += len(crop)
        return colour(crop.image)[:, list(self.channels)]

    def description(self):
        return {"channels": self.channels, "version": self.version}


def colour(image):
    """Mean of the middle of each picture."""
    size = image.shape[-1]
    return image[..., size // 2 - 8 : size // 2 + 8, size // 2 - 8 : size // 2 + 8].mean((2, 3))


class ColourEncoder(Encoder):
    """The colour as expression, without any need of a face model."""

    blocks: ClassVar = {"expression": 3}
    crop_rule = CROP

    def forward(self, crop: FaceCrop) -> FaceParameters:
        return FaceParameters(expression=colour(crop.image))


class AttachedEncoder(ColourEncoder):
    """Predicts nothing before it knows its face model."""

    blocks: ClassVar = {}

    def attach(self, parts):
        self.blocks = {"expression": 3}


class LicensedEncoder(ColourEncoder):
    """Never here."""

    def __init__(self, params=None):
        raise MissingAssetError("missing asset 'toy_weights': ask its authors")


class LicensedModel(FaceModel):
    """Never here."""

    def __init__(self, params=None):
        raise MissingAssetError("missing asset 'toy_head': ask its authors")

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        raise NotImplementedError

    def albedo(self, parameters: FaceParameters) -> Albedo:
        raise NotImplementedError


class ColourBackbone(EmotionBackbone):
    """The colour as an image feature."""

    feature_dims: ClassVar = {"colour": 3}

    def __init__(self, params=None):
        super().__init__(params)
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, image):
        return EmotionPrediction({"colour": self.gain * colour(image)})


RECIPES = """\
version: 1
recipes:
  colour: &parts
    summary: Sees the colour.
    encoder: {uses: ColourEncoder}
    face_model: {uses: LicensedModel}
    renderer: {uses: zbuffer}
    probe: [expression]
  attached: {<<: *parts, encoder: {uses: AttachedEncoder}}
  licensed: {<<: *parts, encoder: {uses: LicensedEncoder}}
  no_probe: {<<: *parts, probe: []}
  other_block: {<<: *parts, probe: [detail]}
"""


def toy_registry() -> Registry:
    """A registry of the components above."""
    kinds = {
        "encoder": (ColourEncoder, AttachedEncoder, LicensedEncoder),
        "face_model": (LicensedModel,),
        "emotion_backbone": (ColourBackbone,),
        "landmarker": (ToyLandmarker,),
    }
    registry = Registry()
    specs = [
        ComponentSpec(kind, c.__name__, f"{__name__}:{c.__name__}") for kind, classes in kinds.items() for c in classes
    ]
    registry.add_plugin(plugin(*specs), "toys")
    return registry
