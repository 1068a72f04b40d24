"""One photo, and the camera that sees a face in it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

CV_AXES = np.diag([1.0, -1.0, -1.0])
"""Axes of OpenCV's cameras (y down, z ahead) to those of models and of glTF (y up, z towards the viewer), and back."""
LONG_FOCAL_DISTANCE = 10.0
"""Metres; how far the pinhole camera stands that stands in for an orthographic one."""


@dataclass(frozen=True)
class Photo:
    """One photo, upright, 8 bits, RGB.

    Attributes:
        pixels: RGB.
        path: Where it came from.
        sha256: Of the file.
        notes: What was done to it on the way, for the record: rotation, transparency, depth, first of several frames.
    """

    pixels: UInt8[ndarray, "H W 3"]
    path: Path
    sha256: str
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class PhotoCamera:
    """One face's camera in the pixels of its whole photo.

    ``X_cam = R X + t`` in OpenCV axes (x right, y down, z ahead). Perspective: ``[u v 1] ~ K X_cam``. Orthographic:
    ``[u v 1] = K [x_cam y_cam 1]``, with K in pixels per metre.

    Attributes:
        model: Which of the two.
        intrinsics: K. Pixel coordinates have integers at pixel centres.
        rotation: R, a proper rotation.
        translation: t, metres.
        photo_size: Height and width, pixels.
    """

    model: Literal["perspective", "orthographic"]
    intrinsics: Float[ndarray, "3 3"]
    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, "3"]
    photo_size: tuple[int, int]

    @property
    def matrix(self) -> Float[ndarray, "3 4"]:
        """P, from model space to homogeneous photo pixels."""
        pose = np.column_stack([self.rotation, self.translation])
        if self.model == "orthographic":
            pose[2] = [0, 0, 0, 1]
        return np.asarray(self.intrinsics @ pose)

    def project(self, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N 2"]:
        """Model-space points, metres, to photo pixels."""
        homogeneous = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])

    def depth(self, points: Float[ndarray, "N 3"]) -> Float[ndarray, "N"]:
        """Distance along the optical axis, metres."""
        return np.asarray(points @ self.rotation[2] + self.translation[2])

    def long_focal_equivalent(self) -> "PhotoCamera":
        """A pinhole camera 10 m away that shows nearly the picture of an orthographic one.

        Its principal point is where the model's origin lands, and planes through the origin keep their size. A point
        ``dz`` behind that plane moves towards the principal point by ``dz / 10 m`` of its distance from it: a head
        (``dz`` up to 0.1 m) 400 px high is off by at most 2 px.
        """
        if self.model == "perspective":
            return self
        focal = self.intrinsics[:2, :2] * LONG_FOCAL_DISTANCE
        intrinsics = np.eye(3)
        intrinsics[:2, :2] = focal
        intrinsics[:2, 2] = self.project(np.zeros((1, 3)))[0]
        translation = np.array([0.0, 0.0, LONG_FOCAL_DISTANCE])
        return PhotoCamera("perspective", intrinsics, self.rotation, translation, self.photo_size)
