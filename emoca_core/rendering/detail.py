"""Wrinkles: a displacement map in UV space turned into normals, light and pictures."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from emoca_core.geometry.lighting import irradiance_image
from emoca_core.geometry.normals import grid_normals, vertex_normals
from emoca_core.interfaces.face import Albedo, FaceCrop
from emoca_core.interfaces.loss import DetailMaps
from emoca_core.interfaces.renderer import Rendering
from emoca_core.rendering.topology import sample_texture
from emoca_core.rendering.uv_space import UvSpace, photo_to_uv

DENSE_MARGIN = (5, 2)
"""Rows and columns at each border of the map that DECA's dense mesh leaves out, whatever the map's size."""


def displaced_points(
    points: Float[Tensor, "B 3 T T"],
    normals: Float[Tensor, "B 3 T T"],
    displacement: Float[Tensor, "B 1 T T"],
    mask: Float[Tensor, "1 1 T T"] | None = None,
    fixed_displacement: Float[Tensor, "T T"] | None = None,
) -> Float[Tensor, "B 3 T T"]:
    """Move a surface in UV space along its normals.

    Args:
        points: Model-space points, metres.
        normals: Normals of the coarse surface.
        displacement: Along the normals, metres.
        mask: Where the displacement applies (face and eye region).
        fixed_displacement: Added everywhere: DECA's constant map that hides the mesh's seams, metres.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    along = displacement if mask is None else displacement * mask
    moved = points + along * normals
    return moved if fixed_displacement is None else moved + fixed_displacement * normals


def detail_normals(
    uv_space: UvSpace,
    vertices: Float[Tensor, "B V 3"],
    displacement: Float[Tensor, "B 1 T T"],
    mask: Float[Tensor, "1 1 T T"] | None = None,
    fixed_displacement: Float[Tensor, "T T"] | None = None,
    blend: bool = False,
) -> Float[Tensor, "B 3 T T"]:
    """Normals in UV space of the surface of ``displaced_points``; ``uv_space`` has the size of the map.

    No gradient reaches the posed mesh, as in DECA's detail stage. ``blend`` takes the coarse mesh's normals outside the
    mask: DECA does, EMOCA's public code does not.

    Source: DECA (Feng et al., SIGGRAPH 2021) and EMOCA (Danecek et al., CVPR 2022), public code.
    """
    coarse = vertices.detach()
    points = uv_space.image(coarse)
    normals = uv_space.image(vertex_normals(coarse, uv_space.topology.faces))
    displaced = displaced_points(points, normals, displacement, mask, fixed_displacement)
    fine = grid_normals(displaced, DENSE_MARGIN)
    return fine * mask + normals * (1 - mask) if blend and mask is not None else fine


def shade_detail(normals: Float[Tensor, "B 3 T T"], lighting: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B 3 T T"]:
    """Light on the detailed surface in UV space. No gradient reaches the light, as in DECA's detail stage."""
    return irradiance_image(normals, lighting.detach())


def detail_image(
    coarse: Rendering, albedo: Float[Tensor, "B 3 T T"], shading: Float[Tensor, "B 3 T T"]
) -> Float[Tensor, "B 3 H W"]:
    """The coarse picture with detailed light. Only ``shading`` receives a gradient, as in DECA's detail stage.

    Raises:
        ValueError: The coarse rendering has no texture coordinates.
    """
    if coarse.uv is None:
        raise ValueError("detail needs a mesh with texture coordinates")
    return sample_texture(albedo.detach() * shading, coarse.uv.detach()) * coarse.mask.detach()


def render_detail(
    uv_space: UvSpace,
    coarse: Rendering,
    normals: Float[Tensor, "B 3 T T"],
    albedo: Albedo,
    lighting: Float[Tensor, "B 9 3"],
) -> Rendering:
    """The coarse rendering with the light of the detailed surface. Only ``normals`` receives a gradient.

    ``image``, ``shading`` and ``normals`` are those of the detailed surface (the latter two are not masked), the rest
    is the coarse rendering's. A texture of another size is brought to that of the normals.

    Raises:
        ValueError: The coarse rendering has no texture coordinates.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    shading = shade_detail(normals, lighting)
    image = detail_image(coarse, albedo_to_uv(uv_space, albedo, shading), shading)
    pictures = {}
    if coarse.uv is not None:
        grid = coarse.uv.detach()
        pictures = {"shading": sample_texture(shading, grid), "normals": sample_texture(normals, grid)}
    return replace(coarse, image=image, **pictures)


def detail_maps(
    uv_space: UvSpace,
    crop: FaceCrop,
    projected: Float[Tensor, "B V 3"],
    normals: Float[Tensor, "B 3 T T"],
    albedo: Albedo,
    lighting: Float[Tensor, "B 9 3"],
    region: Float[Tensor, "1 1 T T"] | None = None,
) -> DetailMaps:
    """The detailed surface in UV space, and the photo carried there. Only ``normals`` receives a gradient.

    Without a mask every pixel of the crop may show the face. ``projected`` are the coarse vertices in the photo's NDC,
    ``region`` is the face region in UV space (everywhere, if ``None``), the rest is that of ``render_detail``.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    photo = crop.image if crop.mask is None else torch.cat([crop.image, crop.mask], dim=1)
    observed, visible = photo_to_uv(uv_space, photo.detach(), projected)
    if crop.mask is not None:
        visible = visible * observed[:, 3:]
    if region is not None:
        visible = visible * region
    shading = shade_detail(normals, lighting)
    texture = albedo_to_uv(uv_space, albedo, shading).detach() * shading
    return DetailMaps(texture, observed[:, :3], visible, shading)


def albedo_to_uv(uv_space: UvSpace, albedo: Albedo, like: Float[Tensor, "B 3 T T"]) -> Float[Tensor, "B 3 T T"]:
    """Reflectance in UV space, of the size of ``like``: texture, vertex colours, or white where there is neither."""
    if albedo.texture is not None:
        if albedo.texture.shape[-2:] == like.shape[-2:]:
            return albedo.texture
        return F.interpolate(albedo.texture, size=like.shape[-2:], mode="bilinear", align_corners=False)
    if albedo.vertex_colors is not None:
        return uv_space.image(albedo.vertex_colors)
    return like.new_ones(like.shape)
