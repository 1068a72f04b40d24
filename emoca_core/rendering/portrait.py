"""Faces from the front, framed alike, as a photographer would take them: an average skin and one soft lamp."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.interfaces import Albedo, FaceModel, FaceParameters, PerspectiveCamera, Renderer
from emoca_core.rendering.face import composite, render_face
from emoca_core.rendering.shape import GREY

_FOCAL = 6.0
"""Of a portrait, in half pictures."""
_HALF_SIDE = 0.7
"""Half the picture, in mean sides of the box of the 68 points."""


def render_portraits(
    face_model: FaceModel, renderer: Renderer, parameters: FaceParameters, size: int
) -> Float[Tensor, "B 3 S S"]:
    """Pictures of faces in [0, 1], without the turn of head and neck, the skin and the light of their codes.

    Args:
        face_model: Poses the codes.
        renderer: Draws the meshes.
        parameters: Codes of the face model; shape, expression, jaw and eyes count.
        size: Side of the pictures, pixels.

    Source: this project.
    """
    blocks = {"global_pose": None, "neck_pose": None, "albedo": None, "lighting": None, "camera": None}
    bare = parameters.replace(**blocks)
    geometry = face_model(bare)
    like = geometry.vertices
    albedo = face_model.albedo(FaceParameters(albedo=like.new_zeros(len(like), face_model.blocks.get("albedo", 0))))
    if albedo.texture is None and albedo.vertex_colors is None:
        albedo = Albedo(texture=torch.full_like(like[:, :1, :1], GREY)[..., None].expand(-1, 3, 2, 2))
    camera = portrait_camera(geometry.landmarks["ibug68"])
    picture = render_face(renderer, face_model, geometry, camera, albedo, lamp_light(like), (size, size))
    return composite(picture.image, picture.mask, torch.full_like(picture.image, 0.5)).clamp(0, 1)


def portrait_camera(
    landmarks: Float[Tensor, "B L 3"],
    closeness: float | Float[Tensor, "B"] = 1.0,
    shift: float | Float[Tensor, "B 2"] = 0.0,
) -> PerspectiveCamera:
    """Frames points as crops of photos do; without gradient.

    Args:
        landmarks: 68 points in the axes of a face model, y up, any unit.
        closeness: What the distance is multiplied by.
        shift: To the right and down, in mean sides of the box of the points.
    """
    landmarks = landmarks.detach()
    low, high = landmarks.amin(1), landmarks.amax(1)
    side, middle = (high - low)[:, :2].mean(1), (high + low) / 2
    moved = torch.as_tensor(shift).to(side).expand(len(side), 2) * side[:, None]
    distance = _FOCAL * _HALF_SIDE * side * closeness
    place = [moved[:, 0] - middle[:, 0], moved[:, 1] + middle[:, 1], distance + middle[:, 2]]
    return PerspectiveCamera(side.new_full((len(side), 2), _FOCAL), side.new_zeros(len(side), 2), torch.stack(place, 1))


def lamp_light(
    like: Float[Tensor, "B ..."],
    even: float | Float[Tensor, "B"] = 0.7,
    lamp: float | Float[Tensor, "B"] = 0.35,
    towards: tuple[float, float, float] | Float[Tensor, "B 3"] = (0.0, 0.3, 0.7),
) -> Float[Tensor, "B 9 3"]:
    """Spherical harmonics of even light and one soft white lamp, of no colour.

    Args:
        like: Says how many, where and of what kind.
        even: Irradiance from everywhere.
        lamp: Greatest irradiance by the lamp.
        towards: From the face to the lamp, model axes, any length.
    """
    light = like.new_zeros(len(like), 9, 3)
    direction = F.normalize(torch.as_tensor(towards).to(light).expand(len(light), 3), dim=1)
    strength = torch.as_tensor(lamp).to(light).expand(len(light))[:, None]
    light[:, 0] = (torch.as_tensor(even).to(light).expand(len(light)) / SH_CONSTANTS[0])[:, None]
    light[:, 1:4] = (strength * direction / SH_CONSTANTS[1])[..., None]
    return light
