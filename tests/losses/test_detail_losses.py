"""Losses of the detail stage against NumPy and SciPy; gradients; patches, erosion, mirrors."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, map_coordinates

from emoca_core.errors import ParamsError
from emoca_core.interfaces import DetailMaps
from emoca_plugins.losses.displacement_symmetry import erode
from emoca_plugins.losses.uv_patches import BOXES
from losses.scenes import build, capture, gradient_is_right, random

SIZE = 64


def maps(size=SIZE, faces=2, **changes) -> DetailMaps:
    """Random maps; a third of the texels is not seen."""
    colours = {name: random(faces, 3, size, size, seed=i) for i, name in enumerate(("texture", "observed", "shading"))}
    visibility = (random(faces, 1, size, size, seed=9) > -0.4).double()
    made = DetailMaps(colours["texture"], colours["observed"], visibility, colours["shading"])
    return dataclasses.replace(made, **changes)


def resized(image, size):
    """Bilinear, texels are areas: sample at their centres and repeat the edge."""
    side_y, side_x = image.shape[-2:]
    y = (np.arange(size) + 0.5) * side_y / size - 0.5
    x = (np.arange(size) + 0.5) * side_x / size - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    flat = image.reshape(-1, side_y, side_x)
    return np.stack([map_coordinates(plane, grid, order=1, mode="nearest") for plane in flat]).reshape(
        *image.shape[:-2], size, size
    )


@pytest.mark.parametrize("patch", BOXES)
def test_detail_photometric_compares_resized_patches_where_seen(patch):
    left, right, top, bottom = (int(edge / 2048 * SIZE) for edge in BOXES[patch])
    texture, observed, visibility = (
        resized(getattr(maps(), name).numpy()[..., top:bottom, left:right], 20)
        for name in ("texture", "observed_texture", "visibility")
    )
    expected = np.abs(visibility * texture - visibility * observed).mean()
    loss = build("detail_photometric", patches={patch: 1.0}, size=20)
    assert loss(capture(detail_maps=maps())).item() == pytest.approx(expected, rel=1e-10)
    assert gradient_is_right(lambda x: loss(capture(detail_maps=maps(texture=x))), maps().texture)


def test_patches_add_up_and_the_whole_map_is_not_resized():
    scene = capture(detail_maps=maps())
    one = {name: build("detail_photometric", patches={name: 1.0})(scene).item() for name in ("face", "mouth")}
    both = build("detail_photometric", patches={"face": 5.0, "mouth": 0.5})(scene).item()
    assert both == pytest.approx(5 * one["face"] + 0.5 * one["mouth"], rel=1e-12)
    whole = build("detail_photometric", patches={"map": 1.0}, size=SIZE)(scene).item()
    difference = maps().visibility * (maps().texture - maps().observed_texture).abs()
    assert whole == pytest.approx(difference.mean().item(), rel=1e-12)
    with pytest.raises(ParamsError, match="must have a weight above 0"):
        build("detail_photometric", patches={"face": 0.0})


def test_what_is_not_seen_does_not_count():
    texture = random(2, 3, SIZE, SIZE).requires_grad_()
    hidden = maps(texture=texture, visibility=torch.zeros(2, 1, SIZE, SIZE).double())
    value = build("detail_photometric")(capture(detail_maps=hidden))
    assert value == 0
    assert (torch.autograd.grad(value, texture)[0] == 0).all()


def test_displacement_prior_is_the_mean_size():
    displacement = random(2, 1, 16, 16)
    loss = build("displacement_prior")
    assert loss(capture(displacement=displacement)).item() == pytest.approx(np.abs(displacement.numpy()).mean())
    assert gradient_is_right(lambda x: loss(capture(displacement=x)), displacement)


def test_shading_smoothness_is_the_mean_squared_difference():
    shading = maps(8).shading
    a = shading.numpy()
    expected = np.mean((a[..., 1:] - a[..., :-1]) ** 2) + np.mean((a[:, :, 1:] - a[:, :, :-1]) ** 2)
    loss = build("shading_smoothness")
    assert loss(capture(detail_maps=maps(8))).item() == pytest.approx(expected, rel=1e-12)
    assert gradient_is_right(lambda x: loss(capture(detail_maps=maps(8, shading=x))), shading)


@pytest.mark.parametrize("margin", [0, 1, 2, 3])
def test_erosion_is_that_of_scipy(margin):
    square = np.ones((2 * margin + 1,) * 2)
    for seed, density in enumerate((0.5, 0.9, 0.99, 1.0)):
        mask = np.random.default_rng(seed).random((3, 1, 40, 33)) < density
        expected = np.stack([binary_erosion(face[0], square)[None] for face in mask])
        soft = torch.from_numpy(mask * np.random.default_rng(9).uniform(1e-3, 1, mask.shape))
        np.testing.assert_array_equal(erode(soft, margin).numpy(), expected)


@pytest.mark.parametrize("axis", [0.5, 0.45])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_displacement_symmetry_pulls_the_hidden_side_towards_the_seen(reduction, axis):
    visibility = torch.ones(2, 1, 20, 20).double()
    visibility[..., 12:] = 0
    displacement = random(2, 1, 20, 20)
    seen = binary_erosion(visibility[0, 0].numpy(), np.ones((5, 5)))
    expected = []
    for face in displacement[:, 0].numpy():
        for row in range(20):
            for column in range(20):
                other = round(2 * axis * 20) - 1 - column
                counts = not seen[row, column] and 0 <= other < 20
                expected.append(counts * abs(face[row, column] - face[row, other if counts else 0]))
    scene = maps(20, visibility=visibility)
    loss = build("displacement_symmetry", reduction=reduction, axis=axis)
    value = loss(capture(displacement=displacement, detail_maps=scene)).item()
    assert value == pytest.approx(getattr(np, reduction)(expected), rel=1e-12)

    leaf = displacement.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(capture(displacement=leaf, detail_maps=scene)), leaf)
    assert (gradient[..., torch.from_numpy(seen)] == 0).all()  # also where it is the mirror image of a hidden texel
    # numeric differences would also move the mirror image, so its sign is computed here
    mirrored = round(2 * axis * 20) - 1 - np.arange(20)
    paired = (mirrored >= 0) & (mirrored < 20)
    image = displacement.numpy()[..., mirrored.clip(0, 19)]
    sign = ~seen * paired * np.sign(displacement.numpy() - image)
    np.testing.assert_allclose(gradient.numpy(), sign / (sign.size if reduction == "mean" else 1), atol=1e-15)


def test_the_open_head_is_mirrored_where_its_preset_says():
    from emoca_core import get_registry
    from emoca_core.interfaces.samples import sample_parameters
    from emoca_core.registry.catalogue import get_catalogue

    head = get_registry().build("face_model", "open_head")
    axis = get_catalogue().components["loss"]["displacement_symmetry"].presets["open_head"]["axis"]
    at_rest = head(sample_parameters(head.blocks).map(torch.zeros_like)).vertices[0]
    uv = torch.zeros(len(at_rest), 2)
    uv[head.faces.flatten()] = head.uv[head.uv_faces.flatten()]
    distance, twin = torch.cdist(at_rest * torch.tensor([-1.0, 1.0, 1.0]), at_rest).min(1)
    face = head.vertex_masks["face"] & (distance < 1e-3)
    assert face.sum() > 1000
    middle = (uv[face, 0] + uv[twin[face], 0]) / 2
    assert (middle - axis).abs().quantile(0.95) < 0.5 / 256  # half a texel
