"""The surface unrolled: pictures in UV space, made by the same rasteriser, and photos carried into it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces.renderer import Fragments, Renderer
from emoca_core.rendering.face import FACING_LIMIT
from emoca_core.rendering.topology import Topology, require_uv, sample_texture, texture_grid


@dataclass(frozen=True)
class UvSpace:
    """Which triangle each texel belongs to: rasterised once, used for every face of the same topology.

    Attributes:
        renderer: The rasteriser.
        fragments: Of the flat mesh, batch 1.
        topology: The mesh.
    """

    renderer: Renderer
    fragments: Fragments
    topology: Topology

    @classmethod
    def of(cls, renderer: Renderer, topology: Topology, size: int) -> "UvSpace":
        """Unroll a mesh into a square of ``size`` texels.

        Raises:
            ValueError: The mesh has no texture coordinates.
        """
        uv, uv_faces = require_uv(topology)
        flat = torch.nn.functional.pad(texture_grid(uv), (0, 1), value=1.0)[None]
        return cls(renderer, renderer.rasterize(flat, uv_faces, (size, size)), topology)

    @property
    def mask(self) -> Float[Tensor, "1 1 T T"]:
        """1 where the texture has surface."""
        return self.fragments.mask

    def image(self, attributes: Float[Tensor, "B V D"]) -> Float[Tensor, "B D T T"]:
        """Values at the mesh's vertices as pictures in UV space; zero where there is no surface."""
        # the batch becomes channels: the weights of a texel are the same for every face
        batch, _, channels = attributes.shape
        side_by_side = attributes.transpose(0, 1).reshape(1, -1, batch * channels)
        image = self.renderer.interpolate(self.fragments, side_by_side, self.topology.faces)
        return image.reshape(batch, channels, *image.shape[2:])


def photo_to_uv(
    uv_space: UvSpace, photo: Float[Tensor, "B D H W"], projected: Float[Tensor, "B V 3"]
) -> tuple[Float[Tensor, "B D T T"], Float[Tensor, "B 1 T T"]]:
    """Carry photos into UV space, by the vertices in the photos' NDC; no gradient reaches these.

    Returns:
        The texture, and 1 where a texel is in the photo and faces the camera (not tested for occlusion).

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    points = projected.detach()
    towards = vertex_normals(points, uv_space.topology.faces)[..., 2:]
    image = uv_space.image(torch.cat([points[..., :2], towards], dim=-1))
    grid, facing = image[:, :2].permute(0, 2, 3, 1), image[:, 2:] < FACING_LIMIT
    inside = (grid.abs() <= 1).all(-1)[:, None]
    return sample_texture(photo, grid), (facing & inside).to(photo.dtype) * uv_space.mask
