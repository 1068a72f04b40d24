"""PyTorch3D's rasteriser, called as DECA and EMOCA call it. Needs the extra ``pytorch3d``."""

import torch
from jaxtyping import Float, Int
from pytorch3d.renderer.mesh import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor

from emoca_core.interfaces.renderer import Fragments, Renderer
from emoca_plugins.renderers.coverage import check_faces, check_image_size, drawable


class PyTorch3DRenderer(Renderer):
    """The original's rasteriser: blur 0, one face per pixel, no perspective correction.

    Slower than ``zbuffer`` by three orders of magnitude on the CPU; there to compare with.

    Source: DECA, public code (renderer); PyTorch3D (Ravi et al. 2020), BSD-3-Clause.
    """

    def rasterize(
        self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_size: tuple[int, int]
    ) -> Fragments:
        check_image_size(image_size)
        check_faces(faces, vertices.shape[1])
        faces = faces.long()
        kept = drawable(vertices, faces, image_size)
        meshes = Meshes(list(_to_pytorch3d(vertices.float(), image_size)), [faces[keep] for keep in kept])
        packed, depth, weights, _ = rasterize_meshes(
            meshes, image_size=image_size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=False
        )
        packed, depth, weights = packed[..., 0], depth[..., 0], weights[..., 0, :]
        original = torch.nn.functional.pad(kept.nonzero()[:, 1], (0, 1), value=-1)  # packed triangle to ours; -1 to -1
        return Fragments(vertices, faces, original[packed], depth.detach(), native=weights)

    def interpolate(
        self,
        fragments: Fragments,
        attributes: Float[Tensor, "B N D"],
        attribute_faces: Int[Tensor, "F 3"] | None = None,
    ) -> Float[Tensor, "B D H W"]:
        corners = fragments.faces if attribute_faces is None else attribute_faces
        check_faces(corners, attributes.shape[1])
        item, row, column = (fragments.triangles >= 0).nonzero(as_tuple=True)
        seen = corners[fragments.triangles[item, row, column]]
        weights = fragments.native[item, row, column].to(attributes)
        values = (weights[..., None] * attributes[item[:, None], seen]).sum(1)
        image = attributes.new_zeros(*fragments.triangles.shape, attributes.shape[-1])
        return image.index_put((item, row, column), values).permute(0, 3, 1, 2)


def _to_pytorch3d(vertices: Float[Tensor, "B V 3"], image_size: tuple[int, int]) -> Float[Tensor, "B V 3"]:
    """Our NDC to PyTorch3D's: x left, y up, and [-1, 1] over the shorter side."""
    height, width = image_size
    shorter = min(height, width)
    return vertices * vertices.new_tensor([-width / shorter, -height / shorter, 1.0])
