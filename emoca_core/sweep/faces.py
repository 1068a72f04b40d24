"""The picture of a sweep: rows are variants, columns are faces, as in the figures of the paper."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from emoca_core.errors import EmocaError
from emoca_core.files import atomic_write
from emoca_core.images.crops import SHARED_CROP, crops_to_batch
from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import FaceCrop, FaceDataset, Landmarker
from emoca_core.method import Method
from emoca_core.rendering.detail import detail_normals
from emoca_core.rendering.shape import render_shape
from emoca_core.train.face_batches import collate_face_batch

SIDE = 160
"""Of one cell, pixels."""
_LABEL, _GAP, _FONT = 150, 3, 14
_PAPER, _INK = (255, 255, 255), (60, 60, 66)


def validation_faces(faces: FaceDataset, count: int) -> FaceCrop:
    """Some faces of a data set, evenly spread over it."""
    count = min(count, len(faces))
    rows = [index * len(faces) // count for index in range(count)]
    return collate_face_batch([faces[row] for row in rows]).crop


def photo_faces(paths: Sequence[str | Path], landmarker: Landmarker) -> FaceCrop:
    """The largest face of each photo, cut by the rule that all methods share.

    Raises:
        EmocaError: No photo shows a face.
    """
    photos = [read_photo(path) for path in find_photos(paths)]
    seen = [(photo, found[0]) for photo in photos if (found := landmarker.detect(photo.pixels))]
    if not seen:
        raise EmocaError(f"none of the {len(photos)} photos shows a face")
    crops = [SHARED_CROP(photo.pixels, detection) for photo, detection in seen]
    return crops_to_batch(crops, [detection for _, detection in seen], [photo.size for photo, _ in seen])


@torch.no_grad()
def meshes_over(method: Method, crop: FaceCrop) -> Float[Tensor, "B 3 H W"]:
    """The captured meshes, wrinkles included, over their photos.

    Raises:
        EmocaError: The method estimates no camera.
    """
    crop = crop.map(lambda tensor: tensor.to(method.device))
    parameters = method.encode(crop)
    if parameters.camera is None:
        raise EmocaError(f"recipe '{method.name}' estimates no camera: its meshes cannot be drawn over photos")
    geometry, normals = method.face_model(parameters), None
    if (model := method.detail) is not None:
        displacement, uv_space = model.decode(parameters), method.uv_space(model)
        normals = detail_normals(
            uv_space, geometry.vertices, displacement, model.mask, model.fixed_displacement, blend=True
        )
    return render_shape(
        method.renderer, method.face_model, geometry, parameters.camera, crop.size, crop.image, normals
    ).cpu()


def write_faces(crop: FaceCrop, rows: Mapping[str, Callable[[], Method]], file: Path) -> None:
    """Draw the photos and, below, what each variant captured.

    Args:
        crop: The photos.
        rows: What loads the method of each variant; one is loaded at a time.
        file: PNG to write.
    """
    pictures = {"input": crop.image} | {name: meshes_over(load(), crop) for name, load in rows.items()}
    count, step = len(crop), SIDE + _GAP
    sheet = Image.new("RGB", (_LABEL + count * step, len(pictures) * step), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for row, (name, images) in enumerate(pictures.items()):
        draw.multiline_text(
            (_LABEL / 2, row * step + SIDE / 2),
            "\n".join(textwrap.wrap(name, 18)),
            fill=_INK,
            font=font,
            anchor="mm",
            align="center",
        )
        for column, pixels in enumerate(_cells(images)):
            sheet.paste(Image.fromarray(pixels), (_LABEL + column * step, row * step))
    with atomic_write(file) as temporary:
        sheet.save(temporary)


def _cells(images: Float[Tensor, "B 3 H W"]) -> UInt8[ndarray, "B S S 3"]:
    resized = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    pixels: UInt8[ndarray, "B S S 3"] = (
        (resized.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    )
    return pixels
