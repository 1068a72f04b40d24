"""NVIDIA's nvdiffrast on CUDA. Needs the extra ``nvdiffrast``, whose licence is non-commercial."""

from typing import Literal

import nvdiffrast.torch as dr
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.errors import EmocaError
from emoca_core.interfaces.renderer import Fragments, Renderer
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.renderers.coverage import check_faces, check_image_size, drawable

_DEPTH_RANGE = 0.9
"""Depths are squeezed into +-0.9 of clip space's z, so that nothing is clipped."""


class NvdiffrastRenderer(Renderer):
    """Rasterises in hardware style: top-left fill rule, fixed-point coverage, the picture of ``zbuffer`` elsewhere.

    Visibility is not antialiased, so that its gradients are DECA's: through interpolation only.

    Source: Laine et al., Modular Primitives for High-Performance Differentiable Rendering, SIGGRAPH Asia 2020.
    """

    class Params(ComponentParams):
        context: Literal["cuda", "gl"] = "cuda"
        """nvdiffrast's own CUDA rasteriser, or OpenGL where a display driver offers it."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self._contexts: dict[torch.device, object] = {}

    def rasterize(
        self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_size: tuple[int, int]
    ) -> Fragments:
        check_image_size(image_size)
        check_faces(faces, vertices.shape[1])
        kept = drawable(vertices, faces.long(), image_size)
        item, index = kept.nonzero(as_tuple=True)
        # one list of triangles with a range for each image: every image drops its own bad ones
        count = kept.sum(1).cpu()
        ranges = torch.stack([count.cumsum(0) - count, count], dim=1).to(torch.int32)
        clip = _to_clip_space(vertices.float()).flatten(0, 1).contiguous()
        triangles = _offset(faces[index], item, vertices.shape[1])
        rast, _ = dr.rasterize(
            self._context(vertices.device), clip, triangles, resolution=list(image_size), ranges=ranges, grad_db=False
        )
        drawn = rast[..., 3].detach().long() - 1
        original = torch.nn.functional.pad(index, (0, 1), value=-1)  # drawn triangle to ours; -1 to -1
        depth, _ = dr.interpolate(vertices.detach().float()[..., 2].reshape(-1, 1).contiguous(), rast, triangles)
        depth = torch.where(drawn >= 0, depth[..., 0], -1.0).detach()
        return Fragments(vertices, faces, original[drawn], depth, native=(rast, item, index))

    def interpolate(
        self,
        fragments: Fragments,
        attributes: Float[Tensor, "B N D"],
        attribute_faces: Int[Tensor, "F 3"] | None = None,
    ) -> Float[Tensor, "B D H W"]:
        corners = fragments.faces if attribute_faces is None else attribute_faces
        check_faces(corners, attributes.shape[1])
        rast, item, index = fragments.native
        triangles = _offset(corners[index], item, attributes.shape[1])
        image, _ = dr.interpolate(attributes.float().flatten(0, 1).contiguous(), rast, triangles)
        return image.permute(0, 3, 1, 2)

    def _context(self, device: torch.device) -> object:
        if device.type != "cuda":
            raise EmocaError(f"renderer 'nvdiffrast' needs a CUDA device, the mesh is on {device.type}: use 'zbuffer'")
        if device not in self._contexts:
            kinds = {"cuda": dr.RasterizeCudaContext, "gl": dr.RasterizeGLContext}
            self._contexts[device] = kinds[self.params.context](device=device)
        return self._contexts[device]


def _to_clip_space(vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 4"]:
    """Our NDC to OpenGL's clip space with w = 1, which makes interpolation linear in the image.

    nvdiffrast's first row is y = -1, as ours is: nothing is flipped. Depth keeps its order; it carries no gradient.
    """
    depth = vertices[..., 2].detach()
    usable = torch.isfinite(depth) & (depth > 0)
    nearest = torch.where(usable, depth, torch.inf).amin(1, keepdim=True)
    farthest = torch.where(usable, depth, 0.0).amax(1, keepdim=True)
    span = (farthest - nearest).clamp(min=1e-12)
    z = torch.where(usable, (2 * (depth - nearest) / span - 1) * _DEPTH_RANGE, 0.0)
    return torch.stack([vertices[..., 0], vertices[..., 1], z, torch.ones_like(z)], dim=-1)


def _offset(faces: Int[Tensor, "K 3"], item: Int[Tensor, "K"], count: int) -> Int[Tensor, "K 3"]:
    """Triangles of each image into the batch's vertices laid end to end, as nvdiffrast takes them."""
    return (faces.long() + item[:, None] * count).to(torch.int32).contiguous()
