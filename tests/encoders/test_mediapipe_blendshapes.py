"""MediaPipe's scores as a code."""

import dataclasses

import pytest
import torch

from emoca_core.errors import EmocaError
from emoca_core.interfaces import Parts
from emoca_core.interfaces.samples import sample_crop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.mediapipe_blendshapes import MediapipeBlendshapes


def test_the_scores_are_the_expression():
    crop = sample_crop()
    parameters = MediapipeBlendshapes()(crop)
    assert torch.equal(parameters.expression, crop.blendshapes)
    assert parameters.unit_of("expression") == "activation"
    assert set(parameters.blocks()) == {"expression"}


def test_a_face_model_adds_head_pose_and_camera():
    model = get_registry().build("face_model", "open_head")
    encoder, crop = MediapipeBlendshapes(), sample_crop()
    encoder.attach(Parts(model, get_registry().build("renderer", "zbuffer")))
    parameters = encoder(crop)
    assert {name: block.shape[1] for name, block in parameters.blocks().items()} == dict(encoder.blocks)
    projected = parameters.camera.project(model(parameters).landmarks["ibug68"])[..., :2]
    assert (projected - crop.landmarks["ibug68"]).square().mean().sqrt() < 0.25  # a schematic face, about 1.3 wide


def test_a_landmarker_without_scores_is_refused():
    with pytest.raises(EmocaError, match="use the landmarker mediapipe"):
        MediapipeBlendshapes()(dataclasses.replace(sample_crop(), blendshapes=None))
