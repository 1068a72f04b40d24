"""A canary: if the import hook is misconfigured, every shape annotation is silently ignored, and this fails."""

import pytest
import torch
from jaxtyping import TypeCheckError

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop, FaceParameters, WeakPerspectiveCamera


def test_shapes_of_arguments_are_checked():
    with pytest.raises(TypeCheckError):
        rotation_vector_to_matrix(torch.zeros(2, 4))


def test_shapes_of_methods_are_checked():
    camera = WeakPerspectiveCamera(torch.ones(2), torch.zeros(2, 2))
    with pytest.raises(TypeCheckError):
        camera.project(torch.zeros(2, 5, 2))


def test_shapes_of_dataclasses_are_checked():
    with pytest.raises(TypeCheckError):
        FaceCrop(torch.zeros(2, 1, 64, 64))


def test_batch_sizes_must_agree_within_a_dataclass():
    with pytest.raises(TypeCheckError):
        FaceParameters(shape=torch.zeros(2, 100), expression=torch.zeros(3, 50))


def test_shapes_in_plugins_are_checked():
    from emoca_plugins.renderers.zbuffer import ZBuffer

    with pytest.raises(TypeCheckError):
        ZBuffer().rasterize(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 2]]), (8, 8))
