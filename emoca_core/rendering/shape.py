"""The bare shape: a grey mesh under five lamps, alone or over the photo."""

from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import LAMPS, directional_irradiance
from emoca_core.interfaces.camera import Camera
from emoca_core.interfaces.face import FaceGeometry
from emoca_core.interfaces.renderer import Renderer
from emoca_core.rendering.face import composite, interpolate_normals, interpolate_uv
from emoca_core.rendering.topology import Topology, sample_texture

GREY = 180 / 255
"""Source: DECA, public code."""

TURNED_AWAY = 0.15
"""From this z of a transformed normal on, a surface is not drawn: insides of the mesh stay invisible. Source: DECA."""


def render_shape(
    renderer: Renderer,
    topology: Topology,
    geometry: FaceGeometry,
    camera: Camera,
    image_size: tuple[int, int],
    background: Float[Tensor, "B 3 H W"] | None = None,
    detail_normals: Float[Tensor, "B 3 T T"] | None = None,
) -> Float[Tensor, "B 3 H W"]:
    """Render grey faces under DECA's five directional lamps, over a picture such as the photo, or over black.

    ``detail_normals`` in UV space replace the mesh's own, to show wrinkles; the rest is as for ``render_face``.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """
    fragments = renderer.rasterize(camera.project(geometry.vertices), topology.faces, image_size)
    normals, towards = interpolate_normals(renderer, fragments, geometry.vertices)
    if detail_normals is not None:
        normals = sample_texture(detail_normals, interpolate_uv(renderer, fragments, topology))
    mask = fragments.mask * (towards < TURNED_AWAY)
    shading = directional_irradiance(normals, normals.new_tensor(LAMPS))
    image = (GREY * shading * mask).expand(-1, 3, -1, -1)
    return image if background is None else composite(image, mask, background)
