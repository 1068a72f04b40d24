"""Crops of several photos as one batch of tensors."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from emoca_core.images.warp import transform_points
from emoca_core.interfaces import CroppedFace, Detection, FaceCrop


def crops_to_batch(
    crops: Sequence[CroppedFace], detections: Sequence[Detection], photo_sizes: Sequence[tuple[int, int]]
) -> FaceCrop:
    """Collect crops of one size; landmarks move from photo pixels into the crop's NDC.

    Args:
        crops: One per face.
        detections: What each crop was cut by. Landmark sets and blendshapes survive if every detection has them.
        photo_sizes: Height and width of each crop's photo.

    Raises:
        ValueError: No crops, crops of different sizes, or lists of different lengths.
    """
    if not crops or not len(crops) == len(detections) == len(photo_sizes):
        raise ValueError(f"{len(crops)} crops, {len(detections)} detections and {len(photo_sizes)} photo sizes")
    if len(sizes := {crop.image.shape for crop in crops}) > 1:
        raise ValueError(f"crops of different sizes cannot form a batch: {sorted(sizes)}")
    names = set.intersection(*(set(detection.landmarks) for detection in detections))
    scores = [detection.blendshapes for detection in detections if detection.blendshapes is not None]
    return FaceCrop(
        image=_pictures([crop.image for crop in crops]),
        landmarks={name: _landmarks_ndc(crops, detections, name) for name in sorted(names)},
        blendshapes=_float32(np.stack(scores)) if len(scores) == len(detections) else None,
        crop_to_image=_float32(np.stack([crop.crop_to_image for crop in crops])),
        photo_size=torch.tensor(photo_sizes, dtype=torch.int64),
    )


def black_crop(size: int, crop_to_image: Float[ndarray, "3 3"]) -> CroppedFace:
    """For those who do not look at pixels: one picture for all crops."""
    return CroppedFace(_black(size), crop_to_image)


@lru_cache(maxsize=4)
def _black(size: int) -> UInt8[ndarray, "S S 3"]:
    return np.broadcast_to(np.uint8(0), (size, size, 3))


def _pictures(images: Sequence[UInt8[ndarray, "H W 3"]]) -> Float[Tensor, "B 3 H W"]:
    """One that stands for all, as black ones do, is kept once."""
    different = images[:1] if all(image is images[0] for image in images) else images
    batch = torch.from_numpy(np.stack(different)).permute(0, 3, 1, 2).float().div_(255)
    return batch.expand(len(images), *batch.shape[1:])


def _landmarks_ndc(crops: Sequence[CroppedFace], detections: Sequence[Detection], name: str) -> Tensor:
    points = [
        transform_points(crop.image_to_crop, detection.landmarks[name])
        for crop, detection in zip(crops, detections, strict=True)
    ]
    height, width = crops[0].image.shape[:2]
    return _float32((2 * np.stack(points) + 1) / (width, height) - 1)


def _float32(array: ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
