"""Pictures of DECA through PyTorch3D's rasteriser, reproduced from the golden's vertices."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces.camera import WeakPerspectiveCamera
from emoca_core.interfaces.face import Albedo, FaceGeometry
from emoca_core.interfaces.renderer import Rendering
from emoca_core.rendering.detail import detail_normals, shade_detail
from emoca_core.rendering.face import render_face
from emoca_core.rendering.shape import render_shape
from emoca_core.rendering.topology import MeshTopology
from emoca_core.rendering.uv_space import UvSpace
from emoca_plugins.renderers.zbuffer import ZBuffer

SIZE = (112, 112)


def same_pixels(picture: Tensor, expected: Tensor, atol: float = 1e-4) -> None:
    """The golden that is shipped has every fourth pixel, or every second texel.

    PyTorch3D interpolates in float32 with barycentrics that it rounds on its own; 4e-5 was measured.
    """
    step = picture.shape[-1] // expected.shape[-1]
    assert_close(picture[..., ::step, ::step], expected, atol=atol, rtol=0)


@pytest.fixture(scope="module", params=["numba", "torch"])
def renderer(request: pytest.FixtureRequest) -> ZBuffer:
    return ZBuffer(ZBuffer.Params(kernel=request.param, depth="pytorch3d"))


@pytest.fixture(scope="module")
def topology(deca_decode: dict[str, Tensor]) -> MeshTopology:
    return MeshTopology(deca_decode["asset.f"], deca_decode["vt"], deca_decode["faces_uv"])


@pytest.fixture(scope="module")
def geometry(deca_decode: dict[str, Tensor]) -> FaceGeometry:
    return FaceGeometry(deca_decode["vertices"], {})


@pytest.fixture(scope="module")
def camera(deca_decode: dict[str, Tensor]) -> WeakPerspectiveCamera:
    return WeakPerspectiveCamera.from_code(deca_decode["camera"])


@pytest.fixture(scope="module")
def rendering(
    deca_decode: dict[str, Tensor],
    renderer: ZBuffer,
    topology: MeshTopology,
    geometry: FaceGeometry,
    camera: WeakPerspectiveCamera,
) -> Rendering:
    albedo = Albedo(texture=deca_decode["albedo_uv"])
    return render_face(renderer, topology, geometry, camera, albedo, deca_decode["light"], SIZE, facing=True)


@pytest.fixture(scope="module")
def uv_space(renderer: ZBuffer, topology: MeshTopology) -> UvSpace:
    return UvSpace.of(renderer, topology, 64)


def test_camera(deca_decode: dict[str, Tensor], geometry: FaceGeometry, camera: WeakPerspectiveCamera) -> None:
    offset = torch.tensor([0.0, 0.0, 10.0])  # DECA adds it inside its renderer
    assert_close(camera.project(geometry.vertices) - offset, deca_decode["trans_vertices"], atol=2e-6, rtol=0)


def test_masks_agree_pixel_for_pixel(deca_decode: dict[str, Tensor], rendering: Rendering) -> None:
    assert torch.equal(rendering.mask, deca_decode["alpha"])
    assert torch.equal(rendering.facing_mask, deca_decode["pos_mask"])


@pytest.mark.parametrize(
    ("field", "key"),
    [("image", "image"), ("albedo_image", "albedo_image"), ("shading", "shading"), ("normals", "normal_image")],
)
def test_pictures(deca_decode: dict[str, Tensor], rendering: Rendering, field: str, key: str) -> None:
    same_pixels(getattr(rendering, field), deca_decode[key])


def test_normals(
    deca_decode: dict[str, Tensor], topology: MeshTopology, geometry: FaceGeometry, camera: WeakPerspectiveCamera
) -> None:
    assert_close(vertex_normals(geometry.vertices, topology.faces), deca_decode["normals"], atol=2e-6, rtol=0)
    projected = camera.project(geometry.vertices)
    assert_close(vertex_normals(projected, topology.faces), deca_decode["transformed_normals"], atol=2e-6, rtol=0)


def test_shape_picture(
    deca_decode: dict[str, Tensor],
    renderer: ZBuffer,
    topology: MeshTopology,
    geometry: FaceGeometry,
    camera: WeakPerspectiveCamera,
) -> None:
    image = render_shape(renderer, topology, geometry, camera, SIZE)
    same_pixels(image, deca_decode["shape_image"])


def test_uv_space(
    deca_decode: dict[str, Tensor], uv_space: UvSpace, topology: MeshTopology, geometry: FaceGeometry
) -> None:
    same_pixels(uv_space.image(geometry.vertices), deca_decode["uv_vertices"], atol=1e-6)
    normals = vertex_normals(geometry.vertices, topology.faces)
    same_pixels(uv_space.image(normals), deca_decode["uv_normals"])


@pytest.mark.parametrize(("blend", "key"), [(False, "detail_normals"), (True, "detail_normals_blended")])
def test_detail(
    deca_decode: dict[str, Tensor], uv_space: UvSpace, geometry: FaceGeometry, blend: bool, key: str
) -> None:
    displacement, mask = deca_decode["uv_z"], deca_decode["uv_mask"]
    normals = detail_normals(uv_space, geometry.vertices, displacement, mask, deca_decode["fixed_uv_dis"], blend=blend)
    same_pixels(normals, deca_decode[key])
    if blend:  # the golden's light falls on DECA's normals, which are the blended ones
        same_pixels(shade_detail(normals, deca_decode["light"]), deca_decode["detail_shading"])
