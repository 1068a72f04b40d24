"""The seams of the framework: abstract base classes of the parts, and frozen dataclasses of what flows between them.

Shapes: B batch, V vertices, F triangles, L landmarks, H W pixels, D features, S shape, E expression, T texture side.
"""

from emoca_core.interfaces.camera import DEPTH_OFFSET, Camera, PerspectiveCamera, WeakPerspectiveCamera
from emoca_core.interfaces.captured import CapturedFace, CropRecord
from emoca_core.interfaces.clip import Clip, ClipFrame
from emoca_core.interfaces.component import Component, ModuleComponent
from emoca_core.interfaces.crop import CroppedFace, CropRule
from emoca_core.interfaces.dataset import FaceDataset, FaceSample
from emoca_core.interfaces.detail import DetailModel
from emoca_core.interfaces.emotion import EmotionBackbone, EmotionPrediction, EmotionReading, FaceEmotion
from emoca_core.interfaces.encoder import Encoder
from emoca_core.interfaces.exporter import ExportedFile, Exporter
from emoca_core.interfaces.face import (
    BLOCKS,
    DEFAULT_UNITS,
    IDENTITY,
    Albedo,
    Block,
    FaceCrop,
    FaceGeometry,
    FaceParameters,
    Unit,
)
from emoca_core.interfaces.face_model import FaceModel
from emoca_core.interfaces.landmarker import Detection, Follower, Landmarker
from emoca_core.interfaces.loss import Capture, DetailMaps, FaceTruth, Loss
from emoca_core.interfaces.mesh import ExpressionRig, FaceMesh
from emoca_core.interfaces.parts import Parts
from emoca_core.interfaces.photo import CV_AXES, Photo, PhotoCamera
from emoca_core.interfaces.quality import Quality
from emoca_core.interfaces.renderer import Fragments, Renderer, Rendering
from emoca_core.interfaces.sender import LiveFace, LiveFrame, Sender
from emoca_core.interfaces.sequence import CapturedSequence, FrameFlag, SequenceEmotion, SequenceRig
from emoca_core.interfaces.tracker import Frame, Tracker
from emoca_core.vocabulary.emotions import BASIC_EXPRESSIONS, EXPRESSIONS

__all__ = [
    "BLOCKS",
    "CV_AXES",
    "DEFAULT_UNITS",
    "DEPTH_OFFSET",
    "BASIC_EXPRESSIONS",
    "EXPRESSIONS",
    "IDENTITY",
    "Albedo",
    "Block",
    "Camera",
    "Capture",
    "CapturedFace",
    "CapturedSequence",
    "Clip",
    "ClipFrame",
    "Component",
    "CropRecord",
    "CropRule",
    "CroppedFace",
    "DetailMaps",
    "DetailModel",
    "Detection",
    "EmotionBackbone",
    "EmotionPrediction",
    "EmotionReading",
    "Encoder",
    "ExportedFile",
    "Exporter",
    "ExpressionRig",
    "FaceCrop",
    "FaceDataset",
    "FaceEmotion",
    "FaceGeometry",
    "FaceMesh",
    "FaceModel",
    "FaceParameters",
    "FaceSample",
    "FaceTruth",
    "Follower",
    "Fragments",
    "Frame",
    "FrameFlag",
    "Landmarker",
    "LiveFace",
    "LiveFrame",
    "Loss",
    "ModuleComponent",
    "Parts",
    "PerspectiveCamera",
    "Photo",
    "PhotoCamera",
    "Quality",
    "Renderer",
    "Rendering",
    "Sender",
    "SequenceEmotion",
    "SequenceRig",
    "Tracker",
    "Unit",
    "WeakPerspectiveCamera",
]
