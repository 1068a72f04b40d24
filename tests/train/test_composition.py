"""Where picture and photo are compared, and what surrounds the face, against naive loops."""

import numpy as np
import pytest
import torch

from emoca_core import get_registry
from emoca_core.interfaces import FaceParameters, Rendering, WeakPerspectiveCamera
from emoca_core.rendering.face import render_face
from emoca_core.rendering.masks import comparison_mask, compose, face_region, rendered_mask
from emoca_core.rendering.uv_space import UvSpace


@pytest.fixture(scope="module")
def head():
    return get_registry().build("face_model", "open_head", {"texture_size": 64, "mediapipe_landmarks": False})


@pytest.fixture(scope="module")
def rendering(head):
    code = FaceParameters(shape=torch.zeros(2, 10), global_pose=torch.tensor([[0.0, 0.5, 0], [0.1, -0.2, 0]]))
    camera = WeakPerspectiveCamera(torch.tensor([6.0, 8.0]), torch.zeros(2, 2))
    renderer = get_registry().build("renderer", "zbuffer")
    return render_face(renderer, head, head(code), camera, head.albedo(code), None, (48, 48))


def test_mask_modes_pixel_by_pixel():
    rendered, segmentation = (torch.rand(2, 1, 5, 4).round(decimals=1) for _ in range(2))
    naive = {
        "gt": lambda r, s: s,
        "rendered": lambda r, s: r,
        "intersection": lambda r, s: r * s,
        "union": max,
    }
    for mode, rule in naive.items():
        expected = np.vectorize(lambda r, s, rule=rule: rule(r, s))(rendered.numpy(), segmentation.numpy())
        np.testing.assert_array_equal(comparison_mask(mode, rendered, segmentation).numpy(), expected)
        assert torch.equal(comparison_mask(mode, rendered, None), rendered)


def test_backgrounds_pixel_by_pixel():
    image, photo, mask = torch.rand(2, 3, 5, 4), torch.rand(2, 3, 5, 4), torch.rand(2, 1, 5, 4)
    mask[:, :, 0], mask[:, :, 1] = 0, 1
    for background, outside in (("black", torch.zeros_like(photo)), ("input", photo)):
        composed = compose(background, image, mask, photo)
        for place in np.ndindex(2, 3, 5, 4):
            weight = mask[place[0], 0, place[2], place[3]]
            expected = weight * image[place] + (1 - weight) * outside[place]
            assert composed[place] == pytest.approx(float(expected), abs=1e-6)
    assert compose("none", image, mask, photo) is image


def test_the_picture_gets_the_gradient_and_the_photo_none():
    image = torch.rand(1, 3, 4, 4, requires_grad=True)
    mask = torch.rand(1, 1, 4, 4)
    compose("input", image, mask, torch.rand(1, 3, 4, 4)).sum().backward()
    assert torch.allclose(image.grad, mask.expand_as(image))


def test_the_rendered_mask_shows_face_and_eyes_but_neither_ears_nor_scalp(head, rendering):
    """Pixel by pixel: the nearest vertex in UV space decides, except within a texel or two of the border."""
    region = face_region(UvSpace.of(get_registry().build("renderer", "zbuffer"), head, 256), head.vertex_masks)
    mask = rendered_mask(rendering, region)
    names = head.vertex_masks
    inside = torch.stack([m for n, m in names.items() if n in ("face", "lips", "eyelids", "eye_left", "eye_right")])
    face = inside.any(0).numpy()
    uv = np.zeros((len(face), 2))
    uv[head.faces.flatten().numpy()] = head.uv[head.uv_faces.flatten()].numpy()
    agree = count = 0
    for face_number, row, column in np.argwhere(rendering.mask[:, 0].numpy() > 0):
        x, y = rendering.uv[face_number, row, column].numpy()
        nearest = ((uv - [(x + 1) / 2, (1 - y) / 2]) ** 2).sum(1).argmin()
        agree += bool(mask[face_number, 0, row, column] > 0.5) == bool(face[nearest])
        count += 1
    assert count > 1000
    assert agree / count > 0.95
    assert (mask[rendering.mask == 0] == 0).all()


def test_without_a_region_everything_rendered_counts(head, rendering):
    assert torch.equal(rendered_mask(rendering, None), rendering.mask)
    assert face_region(UvSpace.of(get_registry().build("renderer", "zbuffer"), head, 16), {}) is None
    bare = Rendering(image=rendering.image, mask=rendering.mask)
    assert torch.equal(rendered_mask(bare, torch.ones(1, 1, 4, 4)), rendering.mask)
