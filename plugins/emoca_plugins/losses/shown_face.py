"""Faces as a judge of expressions may meet them: bare or skin-coloured, turned a little, in any light."""

import math
import zlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.images.resize import resized
from emoca_core.interfaces import Albedo, FaceGeometry, FaceModel, FaceParameters, PerspectiveCamera, Renderer
from emoca_core.rendering.face import render_face
from emoca_core.rendering.portrait import lamp_light, portrait_camera
from emoca_core.rendering.shape import GREY

_TINT, _LAMP = 0.12, 0.5
_DRAWS = 64
_STEP = 1e-5
"""Metres; a face that has moved by less is shown in the same way."""


@dataclass(frozen=True)
class Variety:
    """How much pictures of one face differ.

    Attributes:
        turn: Standard deviation of the head's yaw, radians; pitch has half of it, roll a third.
        skin: Share of faces with a skin; the others are grey.
        detail: Smallest side that a picture is reduced to before it is shown, of 1.
    """

    turn: float
    skin: float
    detail: float


def show_faces(
    face_model: FaceModel,
    renderer: Renderer,
    geometry: FaceGeometry,
    head: Float[Tensor, "B 3"] | None,
    size: int,
    variety: Variety | None = None,
) -> Float[Tensor, "B 3 S S"]:
    """Pictures of posed faces, framed alike, in [0, 1].

    Args:
        face_model: Of the geometry.
        renderer: Draws it.
        geometry: Posed faces.
        head: Rotation of the heads in it, which is taken away; axis-angle.
        size: Side of the pictures, pixels.
        variety: How they differ; none shows grey faces from the front in even light from the front.
    """
    like = geometry.vertices
    draws = like.new_full((len(like), _DRAWS), 0.5) if variety is None else _draws(geometry)
    turned = _turned(geometry, head, _turn(draws[:, :3], variety))
    camera = _camera(turned.landmarks["ibug68"], draws[:, 3:6])
    albedo = _albedo(face_model, draws[:, 6:36], variety)
    picture = render_face(renderer, face_model, turned, camera, albedo, _light(draws[:, 36:48]), (size, size))
    background = draws[:, 48:51, None, None]
    shown = (picture.image + (1 - picture.mask) * background).clamp(0, 1)
    return shown if variety is None else shown.lerp(_coarser(shown, variety.detail), draws[:, 51, None, None, None])


def _draws(geometry: FaceGeometry) -> Float[Tensor, "B D"]:
    """Uniform numbers that depend on the face alone, and are new whenever it has changed.

    So a training that was resumed, or is shared among processes, sees what it would have seen.
    """
    like = geometry.landmarks["ibug68"].detach()
    steps = (like / _STEP).round().to("cpu", torch.int32).numpy()
    seeds = [zlib.crc32(face.tobytes()) for face in steps]
    rows = [torch.rand(_DRAWS, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows).to(like)


def _turn(draws: Float[Tensor, "B 3"], variety: Variety | None) -> Float[Tensor, "B 3"]:
    spread = (variety.turn if variety else 0.0) * draws.new_tensor([0.5, 1.0, 1 / 3])
    return spread * math.sqrt(2) * torch.erfinv((2 * draws - 1).clamp(-0.99, 0.99))


def _turned(geometry: FaceGeometry, head: Float[Tensor, "B 3"] | None, turn: Float[Tensor, "B 3"]) -> FaceGeometry:
    """The geometry with another rotation of the head."""
    rotation = rotation_vector_to_matrix(turn)
    if head is not None:
        rotation = rotation @ rotation_vector_to_matrix(head.detach()).mT
    return geometry.map(lambda points: points @ rotation.mT)


def _camera(landmarks: Float[Tensor, "B L 3"], draws: Float[Tensor, "B 3"]) -> PerspectiveCamera:
    """Frames the points as crops of photos do; a little off where the draws are not one half."""
    return portrait_camera(landmarks, 0.85 + 0.3 * draws[:, 0], 0.08 * (2 * draws[:, 1:3] - 1))


def _albedo(face_model: FaceModel, draws: Float[Tensor, "B 30"], variety: Variety | None) -> Albedo:
    """Skins of nobody in particular, or grey."""
    size = face_model.blocks.get("albedo", 0)
    grey = torch.ones(len(draws), 1, 1, 1, device=draws.device)
    if variety is None or not size:
        return Albedo(texture=GREY * grey.expand(-1, 3, 2, 2).to(draws))
    code = draws.new_zeros(len(draws), size)
    code[:, :29] = torch.erfinv((2 * draws[:, 1 : 1 + min(size, 29)] - 1).clamp(-0.99, 0.99))
    skin = face_model.albedo(FaceParameters(albedo=code))
    bare = draws[:, 0] >= variety.skin
    if skin.texture is not None:
        return Albedo(texture=torch.where(bare[:, None, None, None], GREY, skin.texture.to(draws)))
    assert skin.vertex_colors is not None
    return Albedo(vertex_colors=torch.where(bare[:, None, None], GREY, skin.vertex_colors.to(draws)))


def _light(draws: Float[Tensor, "B 12"]) -> Float[Tensor, "B 9 3"]:
    """Even light and one soft lamp from the front; at one half from the camera and a little from above."""
    towards = torch.stack([2 * draws[:, 4] - 1, 1.4 * draws[:, 5] - 0.4, 0.2 + draws[:, 6]], dim=1)
    light = lamp_light(draws, 0.5 + 0.4 * draws[:, 0], 0.1 + _LAMP * draws[:, 7], towards)
    light[:, 0] *= 1 + _TINT * (2 * draws[:, 1:4] - 1)
    light[:, 1:4] *= (1 + _TINT * (2 * draws[:, 8:11] - 1))[:, None]
    return light


def _coarser(picture: Float[Tensor, "B 3 S S"], detail: float) -> Float[Tensor, "B 3 S S"]:
    """The picture as if its side had had a share of its pixels."""
    size = picture.shape[-1]
    return resized(resized(picture, max(8, round(detail * size)), antialias=True), size)
