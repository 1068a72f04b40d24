"""Small meshes for the renderers' tests, and renderers by kernel."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoca_core.interfaces.camera import WeakPerspectiveCamera
from emoca_core.rendering.topology import MeshTopology
from emoca_plugins.renderers.zbuffer import ZBuffer


def sphere(rings: int = 12, sectors: int = 20) -> tuple[Tensor, MeshTopology]:
    """A bumpy ellipsoid of head size, metres, with a UV atlas that has a seam, so corners and vertices differ."""
    v, u = np.meshgrid(np.linspace(0.05, 0.95, rings), np.linspace(0, 1, sectors + 1), indexing="ij")
    latitude, longitude = (0.5 - v) * np.pi, (u - 0.5) * 2 * np.pi
    radius = 1 + 0.05 * np.sin(5 * longitude) * np.cos(3 * latitude)
    points = radius[..., None] * np.stack(
        [np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)], -1
    )
    vertices = (points[:, :-1] * [0.085, 0.12, 0.1]).reshape(-1, 3)
    uv = np.stack([0.02 + 0.96 * u, 0.98 - 0.96 * v], -1).reshape(-1, 2)
    row, column = (index.ravel() for index in np.mgrid[: rings - 1, :sectors])
    own = _quads(row, column, sectors, wrap=True)
    texture = _quads(row, column, sectors + 1, wrap=False)
    topology = MeshTopology(torch.from_numpy(own), torch.from_numpy(uv).float(), torch.from_numpy(texture))
    return torch.from_numpy(vertices).float(), topology


def _quads(row: np.ndarray, column: np.ndarray, width: int, wrap: bool) -> np.ndarray:
    right = (column + 1) % width if wrap else column + 1
    a, b = row * width + column, row * width + right
    c, d = (row + 1) * width + column, (row + 1) * width + right
    return np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])


def turned(vertices: Tensor, batch: int, seed: int = 0) -> Tensor:
    """A batch of the mesh turned at random by up to about half a radian per axis."""
    generator = torch.Generator().manual_seed(seed)
    axis_angle = 0.6 * (torch.rand(batch, 3, generator=generator) - 0.5)
    skew = torch.zeros(batch, 3, 3)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        skew[:, i, j], skew[:, j, i] = -axis_angle[:, k], axis_angle[:, k]
    return vertices @ torch.linalg.matrix_exp(skew).transpose(1, 2)


@dataclass(frozen=True)
class Scene:
    """Meshes in front of a camera."""

    vertices: Tensor
    topology: MeshTopology
    camera: WeakPerspectiveCamera

    @property
    def projected(self) -> Tensor:
        return self.camera.project(self.vertices)


def make_scene(batch: int = 2, rings: int = 12, sectors: int = 20) -> Scene:
    vertices, topology = sphere(rings, sectors)
    offset = torch.linspace(-0.01, 0.01, 2 * batch).reshape(batch, 2)
    camera = WeakPerspectiveCamera(torch.linspace(6.5, 7.5, batch), offset)
    return Scene(turned(vertices, batch), topology, camera)


def zbuffer(kernel: str = "numba", fill_rule: str = "strict", depth: str = "exact") -> ZBuffer:
    return ZBuffer(ZBuffer.Params(kernel=kernel, fill_rule=fill_rule, depth=depth))
