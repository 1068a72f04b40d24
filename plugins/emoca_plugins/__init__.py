"""The built-in components. This file is a table: adding a component adds one line."""

from emoca_core import ComponentSpec, hookimpl

_COMPONENTS = (
    # face models
    ComponentSpec("face_model", "open_head", "emoca_plugins.face_models.open_head:OpenHead"),
    # encoders
    # renderers
    ComponentSpec("renderer", "zbuffer", "emoca_plugins.renderers.zbuffer:ZBuffer"),
    # landmarkers
    ComponentSpec("landmarker", "mediapipe", "emoca_plugins.landmarkers.mediapipe:MediaPipeLandmarker"),
    # emotion backbones
    ComponentSpec("emotion_backbone", "timm", "emoca_plugins.emotion.timm_backbone:TimmBackbone"),
    # losses
    # datasets
    # detail
)


@hookimpl
def emoca_components() -> tuple[ComponentSpec, ...]:
    """Everything in this package."""
    return _COMPONENTS
