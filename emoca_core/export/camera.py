"""The camera of a whole photo, from the camera of a crop and the crop's place in the photo.

``P_photo = crop_to_image @ P_crop``, split in closed form into intrinsics and a rigid pose. An in-plane rotation of
the crop becomes a roll of the camera, so nothing is approximated. Everything here is float64 NumPy for one face.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.interfaces import CV_AXES, Camera, PerspectiveCamera, PhotoCamera, WeakPerspectiveCamera

ORTHOGRAPHIC_DISTANCE = 1.0
"""Metres between an orthographic camera and the model's origin; any value gives the same picture."""


_ROUNDING = 1e-12
"""Skew relative to the focal length that is the rounding noise of float64."""

_MAX_SKEW = 1e-5
"""Skew relative to the focal length below which it is rounding noise of a float32 crop transform."""


@dataclass(frozen=True)
class GltfCamera:
    """A camera as glTF 2.0 describes it, and the picture that it frames.

    A glTF camera looks through the middle of its picture. Where the face's camera does not (a crop beside the middle
    of the photo with its own principal point), the frame is the photo enlarged on one side until it does: the photo is
    the window ``photo_offset`` + ``photo_size`` of the frame, pixel for pixel.

    Attributes:
        camera: The glTF ``camera`` object.
        matrix: Camera-to-world transform of its node (camera looks along -z, +y up), row by row.
        frame_size: Width and height of the framed picture, pixels; its aspect is the camera's.
        photo_offset: x and y of the photo's left top corner in the frame, pixels.
    """

    camera: dict[str, object]
    matrix: Float[ndarray, "4 4"]
    frame_size: tuple[float, float]
    photo_offset: tuple[float, float]


def crop_camera_to_photo(
    camera: Camera,
    crop_size: tuple[int, int],
    crop_to_image: Float[ndarray, "3 3"],
    photo_size: tuple[int, int],
) -> PhotoCamera:
    """Turn the camera of one crop into the camera of its whole photo, exactly.

    Args:
        camera: Of the crop; a batch of one.
        crop_size: Height and width of the crop, pixels.
        crop_to_image: Crop pixels to photo pixels; affine, not mirrored.
        photo_size: Height and width of the photo, pixels.

    Raises:
        TypeError: A camera of another class than the two of ``emoca_core.interfaces``.
        ValueError: More than one camera, a transform that is not affine or mirrors, or a degenerate camera.

    Source: RQ decomposition of the left 3x3 block of P (Hartley and Zisserman, Multiple View Geometry, 6.2.4); the
    block's last row is (0, 0, 1), so it reduces to one plane rotation.
    """
    if len(camera.code()) != 1:
        raise ValueError(f"one camera at a time, got a batch of {len(camera.code())}")
    return crop_cameras_to_photo(camera, crop_size, np.asarray(crop_to_image)[None], photo_size)[0]


def crop_cameras_to_photo(
    camera: Camera,
    crop_size: tuple[int, int],
    crop_to_image: Float[ndarray, "N 3 3"],
    photo_size: tuple[int, int],
) -> list[PhotoCamera]:
    """``crop_camera_to_photo`` for a batch of cameras, each with its own ``crop_to_image``."""
    camera = camera.map(lambda tensor: tensor.detach().cpu().double())
    if isinstance(camera, PerspectiveCamera):
        inner, shifts = camera.intrinsics_px(crop_size).numpy(), camera.translation.numpy()
        rows = zip(inner, shifts, crop_to_image, strict=True)
        return [_perspective(lens, shift, outer, photo_size) for lens, shift, outer in rows]
    if isinstance(camera, WeakPerspectiveCamera):
        inner = camera.matrix(crop_size).numpy()
        return [_orthographic(lens, outer, photo_size) for lens, outer in zip(inner, crop_to_image, strict=True)]
    raise TypeError(f"cannot export a camera of class {type(camera).__name__}")


@dataclass(frozen=True)
class PhotoCameras(Sequence[PhotoCamera]):
    """The cameras of a clip's frames, held as a few arrays: a fifth of the memory of as many objects.

    Attributes:
        model: See ``PhotoCamera``, as for all others.
        intrinsics: Of each.
        rotations: Of each.
        translations: Of each, metres.
        photo_size: Of the frames.
    """

    model: Literal["perspective", "orthographic"]
    intrinsics: Float[ndarray, "N 3 3"]
    rotations: Float[ndarray, "N 3 3"]
    translations: Float[ndarray, "N 3"]
    photo_size: tuple[int, int]

    @classmethod
    def of(cls, cameras: Iterable[PhotoCamera], count: int) -> "PhotoCameras":
        """From at least one camera.

        Args:
            cameras: Of one model, which see frames of one size.
            count: How many there are.
        """
        lenses, turns, shifts = np.empty((count, 3, 3)), np.empty((count, 3, 3)), np.empty((count, 3))
        for row, camera in enumerate(cameras):
            lenses[row], turns[row], shifts[row] = camera.intrinsics, camera.rotation, camera.translation
        return cls(camera.model, lenses, turns, shifts, camera.photo_size)

    def __len__(self) -> int:
        return len(self.intrinsics)

    @overload
    def __getitem__(self, at: int) -> PhotoCamera: ...
    @overload
    def __getitem__(self, at: slice) -> "PhotoCameras": ...
    def __getitem__(self, at: int | slice) -> "PhotoCamera | PhotoCameras":
        parts = self.intrinsics[at], self.rotations[at], self.translations[at]
        make = PhotoCameras if isinstance(at, slice) else PhotoCamera
        return make(self.model, *parts, self.photo_size)


def camera_to_gltf(camera: PhotoCamera, near: float = 0.01, far: float = 100.0) -> GltfCamera | None:
    """Describe a camera in glTF terms; ``None`` where glTF cannot (a skewed pixel grid).

    Args:
        camera: The camera.
        near: Nearest depth drawn, metres.
        far: Farthest depth drawn, metres.
    """
    (focal_x, skew), focal_y = camera.intrinsics[0, :2], camera.intrinsics[1, 1]
    if abs(skew) > _MAX_SKEW * focal_x:
        return None
    height, width = camera.photo_size
    left, top = camera.intrinsics[:2, 2] + 0.5  # of the principal point, from the photo's corner
    frame_w, frame_h = 2 * max(left, width - left), 2 * max(top, height - top)
    to_world = np.eye(4)
    to_world[:3, :3] = (CV_AXES @ camera.rotation).T
    to_world[:3, 3] = -camera.rotation.T @ camera.translation
    if camera.model == "perspective":
        lens = {
            "yfov": 2 * math.atan(frame_h / (2 * focal_y)),
            "aspectRatio": (frame_w / focal_x) / (frame_h / focal_y),
            "znear": near,
            "zfar": far,
        }
    else:
        lens = {"xmag": frame_w / (2 * focal_x), "ymag": frame_h / (2 * focal_y), "znear": near, "zfar": far}
    return GltfCamera(
        camera={"type": camera.model, camera.model: lens, "name": "photo"},
        matrix=to_world,
        frame_size=(frame_w, frame_h),
        photo_offset=(frame_w / 2 - left, frame_h / 2 - top),
    )


def _perspective(
    inner: Float[ndarray, "3 3"],
    translation: Float[ndarray, "3"],
    crop_to_image: Float[ndarray, "3 3"],
    photo_size: tuple[int, int],
) -> PhotoCamera:
    outer = _affine(crop_to_image) @ inner
    upper, roll = _rq2(outer[:2, :2])
    intrinsics = np.eye(3)
    intrinsics[:2, :2], intrinsics[:2, 2] = upper, outer[:2, 2]
    return PhotoCamera("perspective", intrinsics, roll @ CV_AXES, roll @ translation, photo_size)


def _orthographic(
    inner: Float[ndarray, "3 4"], crop_to_image: Float[ndarray, "3 3"], photo_size: tuple[int, int]
) -> PhotoCamera:
    outer = _affine(crop_to_image) @ inner
    upper, roll = _rq2(outer[:2, :2] @ CV_AXES[:2, :2])
    height, width = photo_size
    intrinsics = np.eye(3)
    # Shifting the camera and shifting the picture are the same: put the axis in the middle of the photo.
    intrinsics[:2, :2], intrinsics[:2, 2] = upper, [(width - 1) / 2, (height - 1) / 2]
    translation = np.append(np.linalg.solve(upper, outer[:2, 3] - intrinsics[:2, 2]), ORTHOGRAPHIC_DISTANCE)
    return PhotoCamera("orthographic", intrinsics, roll @ CV_AXES, translation, photo_size)


def _affine(crop_to_image: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
    transform = np.asarray(crop_to_image, dtype=np.float64)
    if not np.allclose(transform[2], [0, 0, 1]):
        raise ValueError("crop_to_image must be affine: its last row is not (0, 0, 1)")
    return transform


def _rq2(block: Float[ndarray, "2 2"]) -> tuple[Float[ndarray, "2 2"], Float[ndarray, "3 3"]]:
    """Split a 2x2 matrix into upper triangular (positive diagonal) times a rotation, the latter about z in 3D."""
    if not (np.isfinite(block).all() and np.linalg.det(block) > 0):
        raise ValueError("the camera is degenerate, or the crop is mirrored")
    sine, cosine = block[1] / np.hypot(*block[1])
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    upper = block @ rotation[:2, :2].T
    upper[1, 0] = 0.0  # zero but for rounding
    if abs(upper[0, 1]) < _ROUNDING * upper[0, 0]:
        upper[0, 1] = 0.0
    return upper, rotation
