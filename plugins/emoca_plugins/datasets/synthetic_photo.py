"""A synthetic face as a photo shows it: hair, things, background, light and camera around the rendered head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.geometry.normals import vertex_normals
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import (
    FaceGeometry,
    FaceModel,
    FaceParameters,
    Fragments,
    PerspectiveCamera,
    Renderer,
    Rendering,
)
from emoca_core.rendering.face import shade_face
from emoca_plugins.datasets.synthetic_backgrounds import PhotoBackgrounds, drawn_backgrounds
from emoca_plugins.datasets.synthetic_draws import Draws, uniform_draws
from emoca_plugins.datasets.synthetic_hair import Cap, HeadPlaces, cap_pictures, draw_hair, draw_hats
from emoca_plugins.datasets.synthetic_lens import taken
from emoca_plugins.datasets.synthetic_occluders import draw_occluders, draw_shadows, hidden_points
from emoca_plugins.datasets.synthetic_variety import VarietyParams
from emoca_plugins.datasets.synthetic_wear import (
    Head,
    draw_brims,
    draw_clothes,
    draw_glasses,
    draw_long_hair,
    render_sheets,
)

STREAMS = {
    name: 10 + number
    for number, name in enumerate(("pose", "light", "hair", "hats", "wear", "before", "behind", "shine", "lens"))
}
"""Each group of things has random numbers of its own, so that changing one leaves the others as they are."""


@dataclass(frozen=True)
class Shot:
    """What was taken.

    Attributes:
        image: RGB in [0, 1].
        mask: 1 where the image shows skin, eyes or mouth of the head.
        hidden: Which of the 68 landmarks something covers.
    """

    image: Float[Tensor, "B 3 S S"]
    mask: Float[Tensor, "B 1 S S"]
    hidden: Bool[Tensor, "B 68"]


class Photographer:
    """Takes pictures of posed heads with all that ``VarietyParams`` names."""

    def __init__(self, params: VarietyParams, seed: int, face_model: FaceModel, renderer: Renderer) -> None:
        """Prepare what all faces share.

        Raises:
            ImageError: The folder of backgrounds holds no photos.
        """
        self.params, self.seed, self.face_model, self.renderer = params, seed, face_model, renderer
        self.places = HeadPlaces.of(face_model)
        self.photos = PhotoBackgrounds(params.backgrounds) if params.backgrounds else None

    def background(self, indices: Sequence[int], size: int) -> Float[Tensor, "B 3 S S"]:
        """What stands behind the faces."""
        draws = self.draws("behind", indices)
        return self.photos(draws, size) if self.photos else drawn_backgrounds(draws, size)

    def __call__(
        self,
        indices: Sequence[int],
        people: Sequence[int],
        parameters: FaceParameters,
        geometry: FaceGeometry,
        size: int,
    ) -> Shot:
        """Pictures of faces by their numbers and those of the people."""
        params, camera = self.params, parameters.camera
        assert isinstance(camera, PerspectiveCamera) and parameters.lighting is not None
        hair = draw_hair(self.draws("hair", people), self.places, params.share("hair"))
        hats = draw_hats(self.draws("hats", indices), self.places, params.share("hats"))
        vertices = self._raised(geometry, hair, hats)
        fragments = self.renderer.rasterize(camera.project(vertices), self.face_model.faces, (size, size))
        albedo = self.face_model.albedo(parameters)
        head = shade_face(self.renderer, fragments, self.face_model, vertices, albedo, parameters.lighting)
        picture, covered = self._dressed(head, fragments, hair, hats, indices, parameters.lighting)
        landmarks = camera.project(geometry.landmarks["ibug68"])[..., :2]
        before = self.draws("before", indices)
        picture = picture * draw_shadows(before, landmarks, params.share("shadows"), size)
        worn, opacity = self._worn(indices, parameters, geometry, hair, hats, fragments)
        picture = self.background(indices, size).lerp(picture, head.mask).lerp(worn, opacity)
        thing, alpha = draw_occluders(before, landmarks, _skin(head, covered), params.share("occluders"), size)
        picture = picture.lerp(thing, alpha)
        hidden = torch.maximum(torch.maximum(covered, opacity), alpha)
        mask = head.mask * (hidden < 0.5)
        return Shot(taken(self.draws("lens", indices), picture, params), mask, hidden_points(hidden, landmarks))

    def _raised(self, geometry: FaceGeometry, hair: Cap, hats: Cap) -> Float[Tensor, "B V 3"]:
        """The head's surface with what lies on it; a hat presses hair down."""
        raised = torch.where(hats.height > 0, 0.3 * hair.raised + hats.raised, hair.raised)
        normals = vertex_normals(geometry.vertices, self.face_model.faces)
        return geometry.vertices + normals * raised[..., None]

    def _dressed(
        self,
        head: Rendering,
        fragments: Fragments,
        hair: Cap,
        hats: Cap,
        indices: Sequence[int],
        lighting: Float[Tensor, "B 9 3"],
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
        """The lit head with shining skin, hair and hat, and how much these two hide."""
        assert head.shading is not None and head.normals is not None
        place = self.places.place.expand(len(indices), -1, -1)
        known = torch.cat([hair.height[..., None], hats.height[..., None], place], -1)
        seen = self.renderer.interpolate(fragments, known)
        light = head.shading.clamp(min=0)
        shine = _shine(self.draws("shine", indices), head.normals, lighting, self.params.share("shine"))
        picture = head.image.clamp(min=0) + shine * head.mask
        covered = torch.zeros_like(head.mask)
        for cap, height in ((hair, seen[:, :1]), (hats, seen[:, 1:2])):
            colour, hidden = cap_pictures(cap, height, seen[:, 2:], head.mask)
            picture = picture.lerp(colour * light, hidden)
            covered = torch.maximum(covered, hidden)
        return picture, covered

    def _worn(
        self,
        indices: Sequence[int],
        parameters: FaceParameters,
        geometry: FaceGeometry,
        hair: Cap,
        hats: Cap,
        head: Fragments,
    ) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
        draws = self.draws("wear", indices)
        assert parameters.global_pose is not None and parameters.lighting is not None
        place = Head.of(
            rotation_vector_to_matrix(parameters.global_pose),
            geometry.landmarks["ibug68"],
            *self._ears_and_neck(geometry),
        )
        sheets = [
            *draw_glasses(draws, place, self.params.share("glasses")),
            *draw_brims(draws, place, hats, (hats.height > -1).any(1)),
            *draw_long_hair(draws, place, hair),
            *draw_clothes(draws, place, self.params.share("clothes")),
        ]
        assert isinstance(parameters.camera, PerspectiveCamera)
        return render_sheets(self.renderer, sheets, parameters.camera, parameters.lighting, head, draws)

    def _ears_and_neck(self, geometry: FaceGeometry) -> tuple[Float[Tensor, "B 2 3"], Float[Tensor, "B 3"]]:
        """Of posed heads, in model space; those of a face model without such names are guessed from the jaw's ends."""
        masks, x = self.face_model.vertex_masks, self.places.place[:, 0]
        jaw = geometry.landmarks["ibug68"][:, [0, 16]]
        if "ears" in masks:
            sides = (masks["ears"] & (x < 0), masks["ears"] & (x > 0))
            jaw = torch.stack([geometry.vertices[:, side].mean(1) for side in sides], 1)
        neck = jaw.mean(1) + jaw.new_tensor([0.0, -0.16, -0.02])
        if "neck" in masks:
            low = masks["neck"] & (self.places.place[:, 1] < self.places.place[masks["neck"], 1].quantile(0.3))
            neck = geometry.vertices[:, low].mean(1)
        return jaw, neck

    def draws(self, name: str, numbers: Sequence[int]) -> Draws:
        """The random numbers of a group of things."""
        return Draws(uniform_draws(self.seed, STREAMS[name], numbers))


def _skin(head: Rendering, covered: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 3"]:
    """Mean colour of the skin that is seen."""
    seen = head.mask * (1 - covered)
    return (head.image.clamp(0, 1) * seen).sum((2, 3)) / seen.sum((2, 3)).clamp(min=1)


def _shine(
    draws: Draws, normals: Float[Tensor, "B 3 S S"], lighting: Float[Tensor, "B 9 3"], share: float
) -> Float[Tensor, "B 1 S S"]:
    """Blinn-Phong highlights of the lamp that the light has, on a share of the faces."""
    strength, power = draws.uniform(0.0, 0.3) * draws.chance(share), 6 * 8 ** draws.uniform()
    lamp = F.normalize(lighting[:, 1:4].mean(2), dim=1)
    half = F.normalize(lamp + lamp.new_tensor([0.0, 0.0, 1.0]), dim=1)
    along = (normals * half[:, :, None, None]).sum(1)
    facing = along.clamp(min=0) / (normals * normals).sum(1).clamp(min=1e-9).sqrt()
    return (strength[:, None, None] * facing ** power[:, None, None])[:, None]
