"""Coarse and detailed pictures of the same faces, whichever renderer draws them."""

import pytest
import torch
from torch import Tensor

from emoca_core import get_registry
from emoca_core.interfaces import FaceParameters, Renderer, Rendering, WeakPerspectiveCamera
from emoca_core.interfaces.samples import sample_parameters
from emoca_core.rendering.detail import detail_normals, render_detail
from emoca_core.rendering.face import render_face
from emoca_core.rendering.uv_space import UvSpace

FACES, SIZE, MAP = 4, 224, 128
SHARE = 0.9999
"""The rest are pixels where lids and eyeballs, or lips and teeth, are equally deep to float32's resolution, so that
renderers may see another triangle, and texels at the edge of one."""


def pictures(renderer: Renderer, device: str) -> dict[str, Rendering]:
    model = get_registry().build("face_model", "open_head").to(device)
    code = sample_parameters({**model.blocks, "lighting": 27}, FACES)
    camera = WeakPerspectiveCamera(torch.full((FACES,), 8.0), torch.zeros(FACES, 2))
    parameters: FaceParameters = code.replace(camera=camera, lighting=0.3 * code.lighting).map(lambda t: t.to(device))
    with torch.no_grad():
        geometry, albedo = model(parameters), model.albedo(parameters)
        coarse = render_face(renderer, model, geometry, parameters.camera, albedo, parameters.lighting, (SIZE, SIZE))
        space = UvSpace.of(renderer, model, MAP)
        coarse_bumps = torch.rand(FACES, 1, 24, 24, generator=torch.Generator().manual_seed(0)).to(device)
        bumps = 0.001 * torch.nn.functional.interpolate(coarse_bumps, (MAP, MAP), mode="bicubic")
        normals = detail_normals(space, geometry.vertices, bumps)
        return {"coarse": coarse, "detail": render_detail(space, coarse, normals, albedo, parameters.lighting)}


def differences(ours: Rendering, theirs: Rendering) -> Tensor:
    return (ours.image.cpu() - theirs.image.cpu()).abs().amax(1)


@pytest.mark.parametrize("name", ["pytorch3d", "nvdiffrast"])
def test_same_coarse_and_detailed_picture(name: str) -> None:
    pytest.importorskip(name)
    if name == "nvdiffrast" and not torch.cuda.is_available():
        pytest.skip("nvdiffrast draws on a GPU")
    device = "cuda" if name == "nvdiffrast" else "cpu"
    built = get_registry()
    ours, theirs = (pictures(built.build("renderer", which), device) for which in ("zbuffer", name))
    for kind in ours:
        difference = differences(ours[kind], theirs[kind])
        assert (difference < 1e-5).float().mean() >= SHARE, (kind, (difference >= 1e-5).sum())
        assert difference.mean() < 1e-5, kind
