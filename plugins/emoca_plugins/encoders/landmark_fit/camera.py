"""The camera that a photo was probably taken with, and a closed-form first guess of where the head is."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import FaceCrop, PerspectiveCamera


@dataclass(frozen=True)
class Intrinsics:
    """Focal length and principal point of each crop, in half-images as in ``PerspectiveCamera``."""

    focal: Float[Tensor, "B 2"]
    centre: Float[Tensor, "B 2"]

    def camera(self, translation: Float[Tensor, "B 3"]) -> PerspectiveCamera:
        """The camera with the model's origin at ``translation``."""
        return PerspectiveCamera(self.focal, self.centre, translation)

    def normalised(self, points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
        """NDC to x/z and y/z of the ray through each point."""
        return (points - self.centre[:, None]) / self.focal[:, None]

    def lengthened(self, factor: Float[Tensor, "B"]) -> "Intrinsics":
        """The same principal point with a longer lens."""
        return Intrinsics(self.focal * factor[:, None], self.centre)


@dataclass(frozen=True)
class View:
    """Where a head is: its rotation and the model's origin in camera axes."""

    rotation: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]


def assumed_intrinsics(crop: FaceCrop, field_of_view: float) -> Intrinsics:
    """Intrinsics of each crop when the photo's diagonal spans ``field_of_view`` degrees and its middle is the axis.

    The crop's own pixels are used where its place in the photo is not known.

    Args:
        crop: The crops; ``crop_to_image`` is affine.
        field_of_view: Over the photo's diagonal, degrees.

    Source: p_photo = crop_to_image p_crop; a similarity divides the focal length by its scale. An in-plane rotation of
    the crop is a rotation of the camera about its axis, which the head's rotation takes up.
    """
    height, width = crop.size
    like = crop.image
    to_photo = torch.eye(3, dtype=like.dtype, device=like.device).expand(len(crop), 3, 3)
    photo = like.new_tensor([height, width]).expand(len(crop), 2)
    if crop.crop_to_image is not None and crop.photo_size is not None:
        to_photo, photo = crop.crop_to_image.to(like.dtype), crop.photo_size.to(like.dtype)
    focal_in_photo = photo.norm(dim=1) / (2 * math.tan(math.radians(field_of_view) / 2))
    linear = to_photo[:, :2, :2]
    scale = (linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]).abs().sqrt()
    middle = (photo.flip(1) - 1) / 2 - to_photo[:, :2, 2]
    centre = torch.linalg.solve(linear, middle[..., None])[..., 0]
    size = like.new_tensor([width, height])
    return Intrinsics(2 * (focal_in_photo / scale)[:, None] / size, (2 * centre + 1) / size - 1)


def scaled_orthographic_rotation(
    points: Float[Tensor, "B N 3"], rays: Float[Tensor, "B N 2"], weights: Float[Tensor, "B N"]
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B"]]:
    """Rotation and distance of a rigid set of points seen from far away.

    Args:
        points: Model space, metres.
        rays: x/z and y/z in camera axes.
        weights: 0 for points that were not seen.

    Returns:
        Rotation in model axes, and the distance of the points' centroid, metres.

    Source: weighted least-squares affine camera, its rows made orthonormal by the polar decomposition (POSIT's first
    step, DeMenthon and Davis 1995).
    """
    w = (weights / weights.sum(1, keepdim=True))[..., None]
    x = points - (w * points).sum(1, keepdim=True)
    y = rays - (w * rays).sum(1, keepdim=True)
    scatter = (w * x).mT @ x
    ridge = 1e-4 * scatter.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None] * torch.eye(3, device=x.device).to(x.dtype)
    affine = torch.linalg.solve(scatter + ridge, (w * x).mT @ y).mT * x.new_tensor([[1.0], [-1.0]])
    u, singular, v = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ v
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    return rotation, 1 / singular.mean(1).clamp_min(1e-6)


def place(
    points: Float[Tensor, "B N 3"],
    rays: Float[Tensor, "B N 2"],
    weights: Float[Tensor, "B N"],
    distance: Float[Tensor, "B"],
) -> Float[Tensor, "B 3"]:
    """Translation that puts the centroid of already rotated points at ``distance`` on the ray of their image."""
    w = (weights / weights.sum(1, keepdim=True))[..., None]
    middle = (w * points).sum(1)
    ray = (w * rays).sum(1)
    x, y = (ray * distance[:, None]).unbind(1)
    return torch.stack([x - middle[:, 0], y + middle[:, 1], distance + middle[:, 2]], dim=1)
