"""Batches for the losses, in float64, and references that know nothing of torch."""

import dataclasses

import torch
from torch import Tensor

from emoca_core import get_registry
from emoca_core.interfaces import Capture, FaceGeometry, WeakPerspectiveCamera
from emoca_core.interfaces.samples import sample_capture
from emoca_core.testing.common import as_double, changed


def build(name, **params):
    return get_registry().build("loss", name, params).double().eval()


def capture(**changes) -> Capture:
    """A slightly wrong estimate with every field."""
    return dataclasses.replace(as_double(sample_capture(32)), **changes)


def with_landmarks(estimated: Tensor, detected: Tensor, name: str = "ibug68") -> Capture:
    """Points of the model, metres, and points of the photo, NDC; the camera only turns y."""
    faces = len(estimated)
    scene = changed(capture(), lambda tensor: tensor[:faces])
    camera = WeakPerspectiveCamera(torch.ones(faces).double(), torch.zeros(faces, 2).double())
    return dataclasses.replace(
        scene,
        crop=dataclasses.replace(scene.crop, landmarks={name: detected}),
        geometry=FaceGeometry(torch.zeros(faces, 4, 3).double(), {name: estimated}),
        parameters=scene.parameters.replace(camera=camera),
    )


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_is_right(call, *inputs: Tensor) -> bool:
    """Analytic against numeric differences, float64."""
    return torch.autograd.gradcheck(call, [x.clone().requires_grad_() for x in inputs], fast_mode=True)
