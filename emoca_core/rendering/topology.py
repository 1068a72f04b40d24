"""What rendering needs to know of a mesh besides its vertices."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Topology(Protocol):
    """Triangles and texture coordinates; every ``FaceModel`` is one."""

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Triangles, counter-clockwise seen from outside."""

    @property
    def uv(self) -> Float[Tensor, "U 2"] | None:
        """Texture coordinates in [0, 1], u right, v up."""

    @property
    def uv_faces(self) -> Int[Tensor, "F 3"] | None:
        """Triangles into ``uv``, one for each of ``faces``."""


@dataclass(frozen=True)
class MeshTopology:
    """A ``Topology`` on its own, for meshes that do not come from a face model."""

    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "U 2"] | None = None
    uv_faces: Int[Tensor, "F 3"] | None = None


def texture_grid(uv: Float[Tensor, "U 2"]) -> Float[Tensor, "U 2"]:
    """Texture coordinates ([0, 1], v up) to positions in the texture's image space ([-1, 1], y down)."""
    return (2 * uv - 1) * uv.new_tensor([1.0, -1.0])


def require_uv(topology: Topology) -> tuple[Float[Tensor, "U 2"], Int[Tensor, "F 3"]]:
    """The texture coordinates and their triangles.

    Raises:
        ValueError: The mesh has none.
    """
    if topology.uv is None or topology.uv_faces is None:
        raise ValueError("this mesh has no texture coordinates: render vertex colours, or choose another face model")
    return topology.uv, topology.uv_faces


def sample_texture(texture: Float[Tensor, "B D T S"], grid: Float[Tensor, "B H W 2"]) -> Float[Tensor, "B D H W"]:
    """Read a texture (or any picture) at positions in its image space: bilinear, zero outside.

    Source: DECA, public code: ``grid_sample`` with align_corners=False.
    """
    return torch.nn.functional.grid_sample(texture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
