"""A textured, lit face: DECA's picture, for UV textures and vertex colours, any camera and any renderer."""

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import irradiance_image
from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces.camera import Camera
from emoca_core.interfaces.face import Albedo, FaceGeometry
from emoca_core.interfaces.renderer import Fragments, Renderer, Rendering
from emoca_core.rendering.topology import Topology, require_uv, sample_texture, texture_grid

FACING_LIMIT = -0.05
"""Largest z of a transformed normal (z away from the camera) that still counts as facing it. Source: DECA."""


def render_face(
    renderer: Renderer,
    topology: Topology,
    geometry: FaceGeometry,
    camera: Camera,
    albedo: Albedo,
    lighting: Float[Tensor, "B 9 3"] | None,
    image_size: tuple[int, int],
    *,
    facing: bool = False,
) -> Rendering:
    """Render faces over black: image = albedo * shading inside the mask, not clamped.

    Differentiable in geometry, camera, albedo and lighting through interpolation; visibility is not.

    Args:
        renderer: Decides visibility and interpolates.
        topology: The face model, or the triangles and texture coordinates of the mesh.
        geometry: Posed mesh.
        camera: Places it in the image.
        albedo: A UV texture or vertex colours; an empty one is white.
        lighting: Spherical harmonics; ``None`` shows the albedo without light.
        image_size: Height and width, pixels.
        facing: Fill ``facing_mask`` too, which takes the normals of the projected mesh.

    Returns:
        The picture and what it was made of. ``shading`` is not masked: outside the face it is the light on a zero
        normal, as DECA leaves it.

    Raises:
        ValueError: A texture for a mesh without texture coordinates.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    fragments = renderer.rasterize(camera.project(geometry.vertices), topology.faces, image_size)
    return shade_face(renderer, fragments, topology, geometry.vertices, albedo, lighting, facing=facing)


def shade_face(
    renderer: Renderer,
    fragments: Fragments,
    topology: Topology,
    vertices: Float[Tensor, "B V 3"],
    albedo: Albedo,
    lighting: Float[Tensor, "B 9 3"] | None,
    *,
    facing: bool = False,
) -> Rendering:
    """``render_face`` of a mesh that is rasterised already.

    Raises:
        ValueError: A texture for a mesh without texture coordinates.
    """
    facing_mask = None
    if facing:
        normals, towards = interpolate_normals(renderer, fragments, vertices)
        facing_mask = (towards < FACING_LIMIT).to(normals.dtype)
    else:
        normals = renderer.interpolate(fragments, vertex_normals(vertices, topology.faces))
    uv = interpolate_uv(renderer, fragments, topology) if topology.uv is not None else None
    albedo_image = _albedo_image(renderer, fragments, topology, albedo, uv)
    shading = None if lighting is None else irradiance_image(normals, lighting)
    lit = albedo_image if shading is None else albedo_image * shading
    return Rendering(
        image=lit * fragments.mask,
        mask=fragments.mask,
        albedo_image=albedo_image,
        shading=shading,
        normals=normals,
        uv=uv,
        facing_mask=facing_mask,
    )


def interpolate_normals(
    renderer: Renderer, fragments: Fragments, vertices: Float[Tensor, "B V 3"]
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """Pictures of the model-space normals, and of the projected normals' z: < 0 faces the camera; no gradient."""
    towards = vertex_normals(fragments.vertices.detach(), fragments.faces)[..., 2:]
    normals = vertex_normals(vertices, fragments.faces)
    image = renderer.interpolate(fragments, torch.cat([normals, towards], dim=-1))
    return image[:, :3], image[:, 3:].detach()


def interpolate_uv(renderer: Renderer, fragments: Fragments, topology: Topology) -> Float[Tensor, "B H W 2"]:
    """Where each pixel lies in the texture, as a sampling grid; differentiable in the projected vertices.

    Raises:
        ValueError: The mesh has no texture coordinates.
    """
    uv, uv_faces = require_uv(topology)
    grid = texture_grid(uv).to(fragments.vertices).expand(len(fragments.vertices), -1, -1)
    return renderer.interpolate(fragments, grid, uv_faces).permute(0, 2, 3, 1)


def composite(
    image: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"], background: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B 3 H W"]:
    """A masked picture over another one, such as the photo."""
    return image * mask + background * (1 - mask)


def _albedo_image(
    renderer: Renderer,
    fragments: Fragments,
    topology: Topology,
    albedo: Albedo,
    uv: Float[Tensor, "B H W 2"] | None,
) -> Float[Tensor, "B 3 H W"]:
    if albedo.texture is not None:
        grid = interpolate_uv(renderer, fragments, topology) if uv is None else uv
        return sample_texture(albedo.texture, grid) * fragments.mask
    if albedo.vertex_colors is not None:
        return renderer.interpolate(fragments, albedo.vertex_colors)
    return fragments.mask.expand(-1, 3, -1, -1)
