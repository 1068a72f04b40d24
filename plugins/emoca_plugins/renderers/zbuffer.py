"""The built-in rasteriser: hard visibility by a z-buffer, gradients through barycentric interpolation."""

import importlib
import importlib.util
import os
from types import ModuleType
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.interfaces.renderer import Fragments, Renderer
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.renderers.coverage import Depth, FillRule, check_faces, check_image_size

_DEVICE_OF = {"numba": "cpu", "triton": "cuda"}


class ZBuffer(Renderer):
    """DECA's rasteriser semantics, exact and fast on any machine; ``coverage`` states the rules.

    The kernels draw the same pixels: numba on the CPU, Triton on CUDA where it is installed, plain torch anywhere else
    and for float64.

    Source: DECA (Feng et al., SIGGRAPH 2021), which renders by PyTorch3D with blur 0, one face per pixel and no
    perspective correction.
    """

    class Params(ComponentParams):
        kernel: Literal["auto", "numba", "torch", "triton"] = "auto"
        """Implementation; ``auto`` takes the fastest for the device. ``torch`` can be differentiated twice."""

        fill_rule: FillRule = "strict"
        """Who owns a pixel whose centre lies exactly on an edge: nobody, as in PyTorch3D (``strict``), or the triangle
        whose top or left edge it is (``top_left``)."""

        depth: Depth = "exact"
        """Depth that decides which triangle is seen: the plane's (``exact``), or the slightly different one that
        PyTorch3D compares (``pytorch3d``), for the same pixels as DECA's and EMOCA's public code on folded meshes."""

    params: Params

    def rasterize(
        self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_size: tuple[int, int]
    ) -> Fragments:
        check_image_size(image_size)
        check_faces(faces, vertices.shape[1])
        points = vertices.detach().to(_working_dtype(vertices))
        small_faces = faces.to(torch.int32).contiguous()
        kernel = self._kernel(points)
        triangles, depth = kernel.visibility(points, small_faces, image_size, self.params.fill_rule, self.params.depth)
        return Fragments(vertices, faces, triangles, depth, native=small_faces)

    def interpolate(
        self,
        fragments: Fragments,
        attributes: Float[Tensor, "B N D"],
        attribute_faces: Int[Tensor, "F 3"] | None = None,
    ) -> Float[Tensor, "B D H W"]:
        faces = fragments.faces if fragments.native is None else fragments.native
        attribute_faces = faces if attribute_faces is None else attribute_faces
        check_faces(attribute_faces, attributes.shape[1])
        dtype = _working_dtype(fragments.vertices, attributes)
        vertices, attributes = fragments.vertices.to(dtype), attributes.to(dtype)
        kernel = self._kernel(vertices)
        return kernel.interpolate(vertices, faces, fragments.triangles, attributes, attribute_faces)

    def _kernel(self, like: Tensor) -> ModuleType:
        """The module that implements ``visibility`` and ``interpolate`` for tensors like this one."""
        device = like.device.type
        name = _fastest(device) if self.params.kernel == "auto" else self.params.kernel
        needs = _DEVICE_OF.get(name, device)
        if needs != device and not (name == "triton" and os.environ.get("TRITON_INTERPRET") == "1"):
            raise ParamsError(f"zbuffer kernel '{name}' runs on {needs}, the mesh is on {device}: use kernel 'auto'")
        return _load("torch" if like.dtype == torch.float64 else name)


def _working_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 where any tensor is, else float32: half precision is not enough to place a pixel."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _fastest(device: str) -> str:
    if device == "cuda":
        return "triton" if importlib.util.find_spec("triton") else "torch"
    return "numba" if device == "cpu" else "torch"


def _load(name: str) -> ModuleType:
    """Import a kernel on first use: numba and Triton take a second."""
    return importlib.import_module(f"emoca_plugins.renderers.zbuffer_{name}")
