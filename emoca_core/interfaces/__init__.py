"""The seams of the framework: abstract base classes of the parts, and frozen dataclasses of what flows between them.

Shapes: B batch, V vertices, F triangles, L landmarks, H W pixels, D features, S shape, E expression, T texture side.
"""

from collections.abc import Mapping

from emoca_core.interfaces.camera import DEPTH_OFFSET, Camera, PerspectiveCamera, WeakPerspectiveCamera
from emoca_core.interfaces.component import Component, ModuleComponent
from emoca_core.interfaces.crop import CroppedFace, CropRule
from emoca_core.interfaces.dataset import FaceDataset, FaceSample
from emoca_core.interfaces.detail import DetailModel
from emoca_core.interfaces.emotion import EmotionBackbone, EmotionPrediction
from emoca_core.interfaces.encoder import Encoder
from emoca_core.interfaces.face import (
    BLOCKS,
    DEFAULT_UNITS,
    Albedo,
    Block,
    FaceCrop,
    FaceGeometry,
    FaceParameters,
    Unit,
)
from emoca_core.interfaces.face_model import FaceModel
from emoca_core.interfaces.landmarker import Detection, Landmarker
from emoca_core.interfaces.loss import Capture, DetailMaps, FaceTruth, Loss
from emoca_core.interfaces.parts import Parts
from emoca_core.interfaces.renderer import Fragments, Renderer, Rendering
from emoca_core.registry.spec import Kind
from emoca_core.vocabulary.emotions import EXPRESSIONS

INTERFACES: Mapping[Kind, type[Component]] = {
    "face_model": FaceModel,
    "encoder": Encoder,
    "renderer": Renderer,
    "emotion_backbone": EmotionBackbone,
    "loss": Loss,
    "landmarker": Landmarker,
    "dataset": FaceDataset,
    "detail": DetailModel,
}

__all__ = [
    "BLOCKS",
    "DEFAULT_UNITS",
    "DEPTH_OFFSET",
    "EXPRESSIONS",
    "INTERFACES",
    "Albedo",
    "Block",
    "Camera",
    "Capture",
    "Component",
    "CropRule",
    "CroppedFace",
    "DetailMaps",
    "DetailModel",
    "Detection",
    "EmotionBackbone",
    "EmotionPrediction",
    "Encoder",
    "FaceCrop",
    "FaceDataset",
    "FaceGeometry",
    "FaceModel",
    "FaceParameters",
    "FaceSample",
    "FaceTruth",
    "Fragments",
    "Landmarker",
    "Loss",
    "ModuleComponent",
    "Parts",
    "PerspectiveCamera",
    "Renderer",
    "Rendering",
    "Unit",
    "WeakPerspectiveCamera",
]
