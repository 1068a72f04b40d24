"""How faces are changed while networks learn: crops, light and picture quality as photos differ in them."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core.images.jpeg import jpeg_compressed
from emoca_core.interfaces import FaceSample
from emoca_core.registry.spec import SettingsModel

Share = Annotated[float, Field(ge=0, le=1)]
LEAST_RESOLUTION = 0.3
JPEG_QUALITIES = (15, 85)
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
LARGEST_HOLE = 0.4


class PictureChanges(SettingsModel):
    """Light and picture quality."""

    brightness: Share = 0.0
    """Largest change of all pixels, of the whole range."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Differences to the mean are up to this share larger or smaller."""
    grey: Share = 0.0
    """Share of faces without colour."""
    blur: Share = 0.0
    """Share of faces that lose resolution, down to three tenths of it."""
    jpeg: Share = 0.0
    """Share of faces that are compressed, with a quality of 15 to 85."""
    erase: Share = 0.0
    """Share of faces of which a grey rectangle hides a part, up to 0.4 of either side."""


class FaceChanges(PictureChanges):
    """What leaves a face's code as it is, but for its camera; none by default."""

    scale: float = Field(default=0.0, ge=0, lt=1)
    """Faces are up to this share larger or smaller."""
    shift: Share = 0.0
    """And shifted up to this share of the picture's side."""


class AugmentationSettings(PictureChanges):
    """By default the published augmentation of the emotion networks: scale and shift; the mirror is ours.

    Source: EMOCA (affine augmentation of its emotion recognition data).
    """

    scale: float = Field(default=0.2, ge=0, lt=1)
    """Faces are up to this share larger or smaller."""
    shift: Share = 0.1
    """And shifted up to this share of the picture's side."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """And rotated up to so many degrees."""
    mirror: bool = True
    """Mirror every other face; emotions have no side."""
    fill: Literal["zeros", "border"] = "zeros"
    """What is seen outside of the picture: black, or the nearest pixel."""


def augment_face(sample: FaceSample, generator: torch.Generator, settings: AugmentationSettings) -> FaceSample:
    """A face as another photo might show it; its labels stay, its landmarks, mask and true geometry are left out.

    Args:
        sample: The face.
        generator: The only source of randomness.
        settings: How much of what.
    """
    draws = torch.rand(18, generator=generator).tolist()
    affine = _affine(draws[:5], settings.scale, settings.shift, settings.rotate, settings.mirror)
    image = _moved(sample.image, affine, settings.fill)
    image = _as_taken(image, draws, settings)
    return replace(sample, image=image.contiguous(), landmarks=None, mask=None, parameters=None, geometry=None)


def change_face(sample: FaceSample, generator: torch.Generator, settings: FaceChanges) -> FaceSample:
    """A face as another photo might show it, with its landmarks, mask, code and mesh; its camera is left out.

    Args:
        sample: The face.
        generator: The only source of randomness.
        settings: How much of what.
    """
    draws = torch.rand(18, generator=generator).tolist()
    image, points, mask, code = sample.image, sample.landmarks, sample.mask, sample.parameters
    if settings.scale or settings.shift:
        affine = _affine(draws[:5], settings.scale, settings.shift)
        image = _moved(image, affine, "border")
        mask = None if mask is None else _moved(mask, affine, "zeros")
        points = None if points is None else (points - affine[:, 2]) @ torch.linalg.inv(affine[:, :2]).mT
        code = None if code is None else code.replace(camera=None)
    image = _as_taken(image, draws, settings)
    return replace(sample, image=image.contiguous(), landmarks=points, mask=mask, parameters=code)


def _as_taken(image: Float[Tensor, "3 H W"], draws: list[float], settings: PictureChanges) -> Float[Tensor, "3 H W"]:
    """In another light and quality."""
    if settings.contrast or settings.brightness:
        gain, lift = 1 + settings.contrast * _sided(draws[5]), settings.brightness * _sided(draws[6])
        mean = image.mean()
        image = ((image - mean) * gain + mean + lift).clamp(0, 1)
    if draws[7] < settings.grey:
        image = (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True).expand(3, -1, -1)
    if draws[8] < settings.blur:
        image = _coarsened(image, LEAST_RESOLUTION + (1 - LEAST_RESOLUTION) * draws[9])
    if draws[10] < settings.jpeg:
        image = jpeg_compressed(image, round(JPEG_QUALITIES[0] + (JPEG_QUALITIES[1] - JPEG_QUALITIES[0]) * draws[11]))
    if draws[12] < settings.erase:
        image = _hidden(image, draws[13:])
    return image


def _sided(draw: float) -> float:
    return 2 * draw - 1


def _affine(
    draws: list[float], scale: float, shift: float, rotate: float = 0.0, mirror: bool = False
) -> Float[Tensor, "2 3"]:
    """Places in the new picture to places in the old one, NDC."""
    zoom = 1 / (1 + scale * _sided(draws[0]))
    angle = math.radians(rotate) * _sided(draws[4])
    side = -1.0 if mirror and draws[3] < 0.5 else 1.0
    x, y = (2 * shift * _sided(draw) for draw in draws[1:3])
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    return torch.tensor([[cosine * side, -sine, x], [sine * side, cosine, y]])


def _moved(image: Float[Tensor, "C H W"], affine: Float[Tensor, "2 3"], fill: str) -> Float[Tensor, "C H W"]:
    grid = F.affine_grid(affine.to(image)[None], [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode=fill, align_corners=False)[0]


def _coarsened(image: Float[Tensor, "3 H W"], share: float) -> Float[Tensor, "3 H W"]:
    height, width = image.shape[-2:]
    small = F.interpolate(
        image[None], (max(1, round(height * share)), max(1, round(width * share))), mode="bilinear", antialias=True
    )
    return F.interpolate(small, (height, width), mode="bilinear")[0]


def _hidden(image: Float[Tensor, "3 H W"], draws: list[float]) -> Float[Tensor, "3 H W"]:
    height, width = image.shape[-2:]
    tall, wide = (
        max(1, round(LARGEST_HOLE * draw * side)) for draw, side in zip(draws[:2], (height, width), strict=True)
    )
    top, left = int(draws[2] * (height - tall)), int(draws[3] * (width - wide))
    result = image.clone()
    result[:, top : top + tall, left : left + wide] = draws[4]
    return result
