"""Mesh to pixels. A renderer only decides visibility and interpolates; shading is shared code on top of it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent


@dataclass(frozen=True)
class Fragments:
    """Which triangle each pixel sees.

    Attributes:
        vertices: The projected vertices that were rasterised: NDC x, y and depth; carries the gradient.
        faces: The triangles.
        triangles: Index into ``faces`` for each pixel, -1 where there is none.
        depth: Depth of each pixel, -1 where there is none. No gradient.
        native: Whatever the renderer wants to keep for ``interpolate`` (barycentrics, a rast buffer).
    """

    vertices: Float[Tensor, "B V 3"]
    faces: Int[Tensor, "F 3"]
    triangles: Int[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]
    native: Any = None

    @property
    def mask(self) -> Float[Tensor, "B 1 H W"]:
        """1 where a triangle is visible. No gradient."""
        return (self.triangles >= 0).to(self.vertices.dtype)[:, None]


@dataclass(frozen=True)
class Rendering:
    """A shaded picture and what it was made of. Pixels outside the face are zero, but for ``shading``.

    Attributes:
        image: albedo * shading inside the mask; not clamped.
        mask: 1 where a triangle is visible.
        albedo_image: Reflectance without light.
        shading: Light, per channel; outside the face that on a zero normal, as in DECA.
        normals: Normals of the posed mesh in model space.
        uv: Texture coordinate of each pixel as a sampling grid (x right, y down in the texture, [-1, 1]).
        facing_mask: 1 where the surface faces the camera (transformed normal z < -0.05, as in DECA); on request.
    """

    image: Float[Tensor, "B 3 H W"]
    mask: Float[Tensor, "B 1 H W"]
    albedo_image: Float[Tensor, "B 3 H W"] | None = None
    shading: Float[Tensor, "B 3 H W"] | None = None
    normals: Float[Tensor, "B 3 H W"] | None = None
    uv: Float[Tensor, "B H W 2"] | None = None
    facing_mask: Float[Tensor, "B 1 H W"] | None = None


class Renderer(ModuleComponent):
    """A rasteriser.

    Attributes:
        differentiable: Gradients reach the vertices through ``interpolate``.
        silhouette_gradient: Gradients also come from visibility at edges (antialiasing); DECA's semantics have none.
    """

    differentiable: ClassVar[bool] = True
    silhouette_gradient: ClassVar[bool] = False

    @abstractmethod
    def rasterize(
        self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_size: tuple[int, int]
    ) -> Fragments:
        """Decide which triangle each pixel of an image of (height, width) sees.

        Triangles that are degenerate, behind the camera (depth <= 0), not finite or far off-screen are dropped.
        Both windings are drawn. A pixel belongs to the nearest triangle that covers its centre.
        """

    @abstractmethod
    def interpolate(
        self,
        fragments: Fragments,
        attributes: Float[Tensor, "B N D"],
        attribute_faces: Int[Tensor, "F 3"] | None = None,
    ) -> Float[Tensor, "B D H W"]:
        """Screen-space barycentric interpolation of per-vertex (or, with own triangles, per-corner) attributes.

        Zero where nothing is visible. Differentiable in ``attributes`` and in the x and y of ``fragments.vertices``.

        Args:
            fragments: What ``rasterize`` returned.
            attributes: Values at the N vertices that ``attribute_faces`` refers to.
            attribute_faces: Triangles into ``attributes`` in the order of ``fragments.faces``; by default the
                attributes belong to the mesh's own vertices.
        """
