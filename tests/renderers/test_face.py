"""Shaded faces: texture sampling, vertex colours, cameras, light and gradients, against NumPy and known cases."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from white_light import white_light

from emoca_core.geometry.ndc import pixel_centres
from emoca_core.interfaces.camera import PerspectiveCamera
from emoca_core.interfaces.face import Albedo, FaceGeometry
from emoca_core.interfaces.renderer import Rendering
from emoca_core.rendering.detail import detail_image, detail_normals, shade_detail
from emoca_core.rendering.face import composite, render_face
from emoca_core.rendering.shape import GREY, render_shape
from emoca_core.rendering.topology import MeshTopology, require_uv, sample_texture, texture_grid
from emoca_core.rendering.uv_space import UvSpace, photo_to_uv

from .scenes import Scene, zbuffer

SIZE = (48, 64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def render(scene: Scene, albedo: Albedo, lighting: Tensor | None = None) -> Rendering:
    geometry = FaceGeometry(scene.vertices, {})
    return render_face(zbuffer(), scene.topology, geometry, scene.camera, albedo, lighting, SIZE, facing=True)


def naive_bilinear(texture: np.ndarray, u: float, v: float) -> np.ndarray:
    """Texel (row r, column c) of a T x T texture has its centre at u = (c + 1/2) / T, 1 - v = (r + 1/2) / T."""
    size = texture.shape[-1]
    x, y = u * size - 0.5, (1 - v) * size - 0.5
    column, row = int(np.floor(x)), int(np.floor(y))
    value = np.zeros(len(texture))
    for r, wr in ((row, row + 1 - y), (row + 1, y - row)):
        for c, wc in ((column, column + 1 - x), (column + 1, x - column)):
            if 0 <= r < size and 0 <= c < size:
                value += wr * wc * texture[:, r, c]
    return value


def test_texture_sampling_against_a_loop() -> None:
    texture = noise(1, 3, 8, 8)
    uv = torch.cat([noise(20, 2, seed=1), torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5 / 8, 1 - 0.5 / 8]])])
    sampled = sample_texture(texture, texture_grid(uv)[None, None])[0, :, 0].T
    expected = np.stack([naive_bilinear(texture[0].double().numpy(), float(u), float(v)) for u, v in uv])
    assert np.allclose(sampled.numpy(), expected, atol=1e-5)
    assert_close(sampled[-1], texture[0, :, 0, 0], atol=1e-5, rtol=0)  # v is up: the first texel is at the top


def test_texture_and_vertex_colors_of_one_function_agree(scene: Scene) -> None:
    # a texture that is linear in u, v: the same as colours at the corners
    topology = scene.topology
    ramp = texture_grid(topology.uv)
    texture = torch.cat([pixel_centres((64, 64)).permute(2, 0, 1), torch.ones(1, 64, 64)])[None].expand(2, -1, -1, -1)
    rendering = render(scene, Albedo(texture=texture))
    flat = MeshTopology(torch.arange(len(topology.faces) * 3).reshape(-1, 3))
    corners = scene.vertices[:, topology.faces.flatten()]
    colors = torch.nn.functional.pad(ramp[topology.uv_faces.flatten()], (0, 1), value=1.0).expand(2, -1, -1)
    expected = render(Scene(corners, flat, scene.camera), Albedo(vertex_colors=colors))
    assert torch.equal(rendering.mask, expected.mask)
    assert_close(rendering.image, expected.image, atol=2e-3, rtol=0)  # PyTorch3D's epsilon on slivers, twice


def test_parts_make_the_image(scene: Scene) -> None:
    lighting = noise(2, 9, 3)
    rendering = render(scene, Albedo(texture=noise(2, 3, 16, 16)), lighting)
    assert_close(rendering.image, rendering.albedo_image * rendering.shading * rendering.mask)
    assert rendering.uv.shape == (2, *SIZE, 2)
    assert set(rendering.facing_mask.unique().tolist()) == {0.0, 1.0}
    assert (rendering.facing_mask <= rendering.mask).all()
    outside = rendering.mask.expand(-1, 3, -1, -1) == 0
    for name in ("image", "albedo_image", "normals"):
        assert (getattr(rendering, name)[outside] == 0).all()


def test_normals_are_those_of_the_surface(scene: Scene) -> None:
    lengths = render(scene, Albedo()).normals.norm(dim=1)
    inside = render(scene, Albedo()).mask[:, 0] > 0
    assert (lengths[inside] > 0.5).all()
    assert (lengths[inside] < 1 + 1e-3).all()


def test_white_albedo_under_white_light_is_the_mask(scene: Scene) -> None:
    rendering = render(scene, Albedo(), white_light(2, scene.vertices))
    assert_close(rendering.image, rendering.mask.expand(-1, 3, -1, -1))
    assert render(scene, Albedo()).shading is None


def test_perspective_far_away_is_weak_perspective(scene: Scene) -> None:
    distance, count = 1e3, len(scene.vertices)
    scale, shift = scene.camera.scale, scene.camera.translation
    translation = torch.stack([shift[:, 0], -shift[:, 1], torch.full((count,), distance)], -1)
    focal = (scale * distance)[:, None].expand(-1, 2)
    far = PerspectiveCamera(focal, torch.zeros(count, 2), translation)
    albedo, lighting = Albedo(vertex_colors=noise(*scene.vertices.shape)), noise(2, 9, 3)
    near = render(scene, albedo, lighting)
    geometry = FaceGeometry(scene.vertices, {})
    # at a kilometre, float32 depth resolves 0.06 mm
    rendering = render_face(zbuffer(), scene.topology, geometry, far, albedo, lighting, SIZE)
    assert (rendering.mask != near.mask).float().mean() < 5e-3
    assert (rendering.image - near.image).abs().mean() < 5e-3


def test_texture_without_coordinates_is_refused(scene: Scene) -> None:
    bare = MeshTopology(scene.topology.faces)
    with pytest.raises(ValueError, match="no texture coordinates"):
        render(Scene(scene.vertices, bare, scene.camera), Albedo(texture=noise(2, 3, 8, 8)))
    with pytest.raises(ValueError, match="no texture coordinates"):
        require_uv(bare)


def test_the_facing_mask_is_made_on_request_and_changes_nothing_else(scene: Scene) -> None:
    geometry, albedo = FaceGeometry(scene.vertices, {}), Albedo(texture=noise(2, 3, 16, 16))
    with_it, without = (
        render_face(zbuffer(), scene.topology, geometry, scene.camera, albedo, None, SIZE, facing=facing)
        for facing in (True, False)
    )
    assert with_it.facing_mask is not None
    assert without.facing_mask is None
    for field in ("image", "mask", "normals", "uv"):
        assert torch.equal(getattr(with_it, field), getattr(without, field))


def test_gradients_reach_everything_but_visibility(scene: Scene) -> None:
    vertices, texture, lighting = (
        value.requires_grad_() for value in (scene.vertices.clone(), noise(2, 3, 16, 16), noise(2, 9, 3))
    )
    camera = scene.camera.map(lambda value: value.clone().requires_grad_())
    geometry, albedo = FaceGeometry(vertices, {}), Albedo(texture=texture)
    rendering = render_face(zbuffer(), scene.topology, geometry, camera, albedo, lighting, SIZE, facing=True)
    rendering.image.square().mean().backward()
    for value in (vertices, texture, lighting, camera.scale, camera.translation):
        assert torch.isfinite(value.grad).all()
        assert value.grad.abs().sum() > 0
    assert not rendering.mask.requires_grad
    assert not rendering.facing_mask.requires_grad


def test_gradient_of_light_and_texture_against_differences(scene: Scene) -> None:
    double = Scene(scene.vertices.double(), scene.topology, scene.camera.map(Tensor.double))
    lighting = noise(2, 9, 3).double().requires_grad_()
    texture = noise(2, 3, 3, 3).double().requires_grad_()

    def picture(texture: Tensor, lighting: Tensor) -> Tensor:
        geometry = FaceGeometry(double.vertices, {})
        renderer, albedo = zbuffer("auto"), Albedo(texture=texture)
        return render_face(renderer, double.topology, geometry, double.camera, albedo, lighting, (6, 8)).image

    assert torch.autograd.gradcheck(picture, (texture, lighting), fast_mode=True)


def test_shape_over_a_photo(scene: Scene) -> None:
    photo = noise(2, 3, *SIZE)
    geometry = FaceGeometry(scene.vertices, {})
    alone = render_shape(zbuffer(), scene.topology, geometry, scene.camera, SIZE)
    over = render_shape(zbuffer(), scene.topology, geometry, scene.camera, SIZE, background=photo)
    drawn = (alone > 0).any(1, keepdim=True).float()
    assert 0.1 < drawn.mean() < 0.9
    assert_close(over, composite(alone, drawn, photo))
    assert alone.max() <= GREY * 1.7
    assert torch.equal(alone[:, 0], alone[:, 1])


def test_shape_with_the_meshs_own_normals_as_detail(scene: Scene) -> None:
    geometry = FaceGeometry(scene.vertices, {})
    flat = torch.zeros(2, 1, 256, 256)
    normals = detail_normals(UvSpace.of(zbuffer(), scene.topology, 256), scene.vertices, flat)
    coarse = render_shape(zbuffer(), scene.topology, geometry, scene.camera, SIZE)
    fine = render_shape(zbuffer(), scene.topology, geometry, scene.camera, SIZE, detail_normals=normals)
    # facets instead of smooth normals: the same light on average
    assert (coarse - fine).abs().mean() < 0.02
    assert fine.mean() == pytest.approx(float(coarse.mean()), rel=0.05)


def test_uv_space_of_a_batch_is_that_of_its_items(scene: Scene) -> None:
    space = UvSpace.of(zbuffer(), scene.topology, 32)
    values = noise(2, scene.vertices.shape[1], 5)
    together = space.image(values)
    assert together.shape == (2, 5, 32, 32)
    for item in range(2):
        assert_close(together[item], space.image(values[item : item + 1])[0])
    assert space.mask.mean() > 0.8
    assert (together * (1 - space.mask)).abs().max() == 0


def test_photo_carried_to_uv_and_back(scene: Scene) -> None:
    texture = torch.nn.functional.interpolate(noise(2, 3, 6, 6), size=(128, 128), mode="bicubic")
    geometry = FaceGeometry(scene.vertices, {})
    photo = render_face(zbuffer(), scene.topology, geometry, scene.camera, Albedo(texture=texture), None, (256, 256))
    space = UvSpace.of(zbuffer(), scene.topology, 128)
    carried, visible = photo_to_uv(space, photo.image, scene.projected)
    assert 0.1 < visible.mean() < 0.7  # one side of the head
    error = ((carried - texture).abs() * visible).sum() / (3 * visible.sum())
    assert error < 0.02


def test_detail_gradients_stop_where_decas_do(scene: Scene) -> None:
    displacement = (1e-3 * noise(2, 1, 32, 32)).requires_grad_()
    vertices, lighting, texture = (
        value.requires_grad_() for value in (scene.vertices.clone(), noise(2, 9, 3), noise(2, 3, 32, 32))
    )
    coarse = render_face(
        zbuffer(), scene.topology, FaceGeometry(vertices, {}), scene.camera, Albedo(texture=texture), lighting, SIZE
    )
    normals = detail_normals(UvSpace.of(zbuffer(), scene.topology, 32), vertices, displacement)
    image = detail_image(coarse, texture, shade_detail(normals, lighting))
    image.square().mean().backward()
    assert displacement.grad.abs().sum() > 0
    assert vertices.grad is None
    assert lighting.grad is None
    assert texture.grad is None


def test_bumps_change_the_light_and_flat_maps_do_not(scene: Scene) -> None:
    space, lighting = UvSpace.of(zbuffer(), scene.topology, 64), noise(2, 9, 3)
    flat = shade_detail(detail_normals(space, scene.vertices, torch.zeros(2, 1, 64, 64)), lighting)
    mask = torch.zeros(1, 1, 64, 64)
    masked = detail_normals(space, scene.vertices, 1e-2 * noise(2, 1, 64, 64), mask)
    assert_close(shade_detail(masked, lighting), flat)
    bumpy = detail_normals(space, scene.vertices, 1e-2 * noise(2, 1, 64, 64))
    assert (shade_detail(bumpy, lighting) - flat).abs().mean() > 0.05
