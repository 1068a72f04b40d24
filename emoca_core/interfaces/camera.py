"""Cameras: from model space to the image. One small type for all methods.

Image space is NDC with x right, y down, [-1, 1] over the whole image in both axes, and a depth that is positive and
grows away from the camera; ``docs/conventions.md`` draws it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DEPTH_OFFSET = 10.0
"""Added to weak-perspective depth so that it is positive (DECA's public code rasterises at z + 10)."""


class Camera(ABC):
    """Projects model-space points into one square or oblong image."""

    @abstractmethod
    def project(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Model space (metres; x left of the subject, y up, z out of the face) to NDC x, y and depth."""

    @abstractmethod
    def matrix(self, image_size: tuple[int, int]) -> Float[Tensor, "B 3 4"]:
        """Projection to homogeneous pixel coordinates (integer = pixel centre) of an image of (height, width)."""

    @abstractmethod
    def code(self) -> Float[Tensor, "B C"]:
        """The camera as one vector per face, for codes on disk and probes."""

    @abstractmethod
    def map(self, change: Callable[[Tensor], Tensor]) -> "Camera":
        """The same camera with every tensor replaced by ``change(tensor)``: devices, indexing, detaching."""

    def map_place(self, change: Callable[[Tensor], Tensor]) -> "Camera":
        """The same camera with what says where the head is replaced by ``change(tensor)``; the lens stays."""
        return self.map(change)


@dataclass(frozen=True)
class WeakPerspectiveCamera(Camera):
    """Scaled orthographic: x = s (x + tx), y = -s (y + ty), depth = 10 - s z.

    Source: DECA (Feng et al., SIGGRAPH 2021), camera [s, tx, ty].

    Attributes:
        scale: NDC units per metre.
        translation: tx and ty, metres, added before scaling.

    Example:
        >>> camera = WeakPerspectiveCamera.from_code(torch.tensor([[8.0, 0.0, 0.0]]))  # half a picture is 1 / 8 m
        >>> camera.project(torch.tensor([[[0.125, 0.0625, 0.0]]]))[0, 0, :2].tolist()
        [1.0, -0.5]
    """

    scale: Float[Tensor, "B"]
    translation: Float[Tensor, "B 2"]

    @classmethod
    def from_code(cls, code: Float[Tensor, "B 3"]) -> "WeakPerspectiveCamera":
        """From [scale, tx, ty]."""
        return cls(code[:, 0], code[:, 1:])

    def project(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        shift = torch.nn.functional.pad(self.translation, (0, 1))  # z is scaled, not translated
        x, y, z = (self.scale[:, None, None] * (points + shift[:, None])).unbind(-1)
        return torch.stack([x, -y, DEPTH_OFFSET - z], dim=-1)

    def matrix(self, image_size: tuple[int, int]) -> Float[Tensor, "B 3 4"]:
        height, width = image_size
        s, (tx, ty) = self.scale, self.translation.unbind(-1)
        zero, one = torch.zeros_like(s), torch.ones_like(s)
        half_w, half_h = width / 2, height / 2
        rows = [
            torch.stack([half_w * s, zero, zero, half_w * s * tx + half_w - 0.5], -1),
            torch.stack([zero, -half_h * s, zero, -half_h * s * ty + half_h - 0.5], -1),
            torch.stack([zero, zero, zero, one], -1),
        ]
        return torch.stack(rows, dim=1)

    def code(self) -> Float[Tensor, "B 3"]:
        return torch.cat([self.scale[:, None], self.translation], dim=1)

    def map(self, change: Callable[[Tensor], Tensor]) -> "WeakPerspectiveCamera":
        return WeakPerspectiveCamera(change(self.scale), change(self.translation))


@dataclass(frozen=True)
class PerspectiveCamera(Camera):
    """Pinhole: camera axes are OpenCV's (x right, y down, z forward), X_cam = diag(1,-1,-1) X + translation.

    ``focal`` and ``centre`` are in units of half the image, per axis, so that they do not depend on resolution:
    a focal length of 1015 px in a 224 px image is 1015/112. x_ndc = focal_x X_cam/Z_cam + centre_x.

    Source: Deep3DFaceRecon (focal 1015 px, distance 10), MGCNet (focal 4700 px), any photo with known intrinsics.

    Attributes:
        focal: Focal lengths in half-widths and half-heights.
        centre: Principal point in NDC; zero is the middle of the image.
        translation: Of the model's origin in camera axes, metres; z > 0 is in front.
    """

    focal: Float[Tensor, "B 2"]
    centre: Float[Tensor, "B 2"]
    translation: Float[Tensor, "B 3"]

    @classmethod
    def from_code(cls, code: Float[Tensor, "B 7"]) -> "PerspectiveCamera":
        """From [focal, centre, translation]."""
        return cls(code[:, :2], code[:, 2:4], code[:, 4:])

    @classmethod
    def from_pixels(
        cls,
        focal_px: Float[Tensor, "B"],
        centre_px: Float[Tensor, "B 2"],
        translation: Float[Tensor, "B 3"],
        image_size: tuple[int, int],
    ) -> "PerspectiveCamera":
        """From OpenCV intrinsics: one focal length and a principal point in pixel-centre coordinates."""
        size = focal_px.new_tensor(image_size[::-1])
        return cls(2 * focal_px[:, None] / size, (2 * centre_px + 1) / size - 1, translation)

    def to_camera_axes(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Model space to OpenCV camera axes, metres."""
        return points * points.new_tensor([1.0, -1.0, -1.0]) + self.translation[:, None]

    def project(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        in_camera = self.to_camera_axes(points)
        depth = in_camera[..., 2:]
        image = self.focal[:, None] * in_camera[..., :2] / depth + self.centre[:, None]
        return torch.cat([image, depth], dim=-1)

    def intrinsics_px(self, image_size: tuple[int, int]) -> Float[Tensor, "B 3 3"]:
        """OpenCV's K for an image of (height, width), pixel-centre coordinates."""
        size = self.focal.new_tensor(image_size[::-1])
        focal, centre = self.focal * size / 2, (self.centre + 1) * size / 2 - 0.5
        zero, one = torch.zeros_like(focal[:, 0]), torch.ones_like(focal[:, 0])
        rows = [
            torch.stack([focal[:, 0], zero, centre[:, 0]], -1),
            torch.stack([zero, focal[:, 1], centre[:, 1]], -1),
            torch.stack([zero, zero, one], -1),
        ]
        return torch.stack(rows, dim=1)

    def matrix(self, image_size: tuple[int, int]) -> Float[Tensor, "B 3 4"]:
        flip = torch.diag(self.focal.new_tensor([1.0, -1.0, -1.0])).expand(len(self.focal), 3, 3)
        return self.intrinsics_px(image_size) @ torch.cat([flip, self.translation[..., None]], dim=-1)

    def code(self) -> Float[Tensor, "B 7"]:
        return torch.cat([self.focal, self.centre, self.translation], dim=1)

    def map(self, change: Callable[[Tensor], Tensor]) -> "PerspectiveCamera":
        return PerspectiveCamera(change(self.focal), change(self.centre), change(self.translation))

    def map_place(self, change: Callable[[Tensor], Tensor]) -> "PerspectiveCamera":
        depth = self.translation[:, 2:]
        aim = change(self.focal * self.translation[:, :2] / depth)  # pictures tell it far better than the depth
        depth = change(depth.log()).exp()
        return PerspectiveCamera(self.focal, self.centre, torch.cat([aim * depth / self.focal, depth], dim=1))
