"""Pictures of an optimisation in the layout of the paper: faces in grey and in colour, and what is thought of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from emoca_core.errors import RecipeError
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, FaceParameters
from emoca_core.method import Method
from emoca_core.optimisation.pair import crop_of
from emoca_core.rendering.shape import render_shape

SIDE = 200
"""Of one cell, pixels."""
_GAP, _HEAD, _FONT = 4, 26, 15
_PAPER, _INK, _SOFT, _WARN = (255, 255, 255), (30, 30, 34), (110, 110, 118), (161, 92, 0)

Faces = tuple[UInt8[ndarray, "B S S 3"], UInt8[ndarray, "B S S 3"]]
"""Faces as a grey mesh, and as the method renders them."""


@dataclass(frozen=True)
class Row:
    """One start, or one judge.

    Attributes:
        name: What it is called.
        first: The face before the first step: a batch of one.
        best: The face with the least energy.
        before: What is thought of the first, in short lines.
        after: What is thought of the best.
        warning: A line that stands out; empty where there is nothing to warn of.
    """

    name: str
    first: FaceParameters
    best: FaceParameters
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    warning: str = ""


@torch.no_grad()
def grey_and_coloured(method: Method, code: FaceParameters, side: int, background: float = 1.0) -> Faces:
    """Draw faces in both ways, over an even grey of this brightness.

    Raises:
        RecipeError: The code has no camera.
    """
    code = code.map(lambda tensor: tensor.to(method.device))
    if code.camera is None:
        raise RecipeError(f"recipe '{method.name}' estimates no camera: its faces cannot be drawn")
    large = 2 * side
    geometry = method.face_model(code)
    behind = geometry.vertices.new_full((len(code), 3, large, large), background)
    grey = render_shape(method.renderer, method.face_model, geometry, code.camera, (large, large), behind)
    rendering = method.render(geometry, code, (large, large))
    assert rendering is not None
    colour = rendering.image * rendering.mask + behind * (1 - rendering.mask)
    return pixels_of(grey, side), pixels_of(colour, side)


def pixels_of(image: Float[Tensor, "B 3 H W"], side: int) -> UInt8[ndarray, "B S S 3"]:
    """Pictures of any size as bytes of one size."""
    small = F.interpolate(image.detach().cpu(), size=(side, side), mode="bilinear", antialias=True)
    bytes_ = (small.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    pixels: UInt8[ndarray, "B S S 3"] = bytes_.contiguous().numpy()
    return pixels


def photo_cell(method: Method, face: CapturedFace, side: int = SIDE) -> UInt8[ndarray, "S S 3"]:
    """A face as it was cut out of its photo."""
    return pixels_of(crop_of(method, face).image, side)[0]


def draw_sheet(method: Method, source: CapturedFace, target: CapturedFace, rows: Sequence[Row], path: Path) -> None:
    """Write the layout of figures 3 and 4: both photos with their faces, then a row for each start or judge.

    Raises:
        OSError: The file cannot be written.

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, figures 3 and 4.
    """
    sheet = Image.new("RGB", (6 * (SIDE + _GAP) + _GAP, (1 + len(rows)) * (SIDE + _GAP + _HEAD)), _PAPER)
    for column, (name, face) in enumerate((("source", source), ("target", target))):
        faces = grey_and_coloured(method, face.parameters, SIDE)
        _place(sheet, 0, 3 * column, photo_cell(method, face), name)
        _place_both(sheet, 0, 3 * column, faces, 0, name)
    for number, row in enumerate(rows, 1):
        faces = grey_and_coloured(method, FaceParameters.cat([row.first, row.best]), SIDE)
        _write(sheet, number, 0, row.name, row.before)
        _place_both(sheet, number, 0, faces, 0, "start")
        _write(sheet, number, 3, "", row.after, row.warning)
        _place_both(sheet, number, 3, faces, 1, "result")
    with atomic_write(path) as temporary:
        sheet.save(temporary)


def _corner(row: int, column: int) -> tuple[int, int]:
    """Left and top of a cell, below its caption."""
    return column * (SIDE + _GAP) + _GAP * (column >= 3), row * (SIDE + _GAP + _HEAD) + _HEAD


def _place(sheet: Image.Image, row: int, column: int, pixels: UInt8[ndarray, "S S 3"], caption: str) -> None:
    x, y = _corner(row, column)
    place, font = (x + SIDE / 2, y - _HEAD / 2), ImageFont.load_default(_FONT)
    ImageDraw.Draw(sheet).text(place, caption, fill=_SOFT, font=font, anchor="mm")
    sheet.paste(Image.fromarray(pixels), (x, y))


def _place_both(sheet: Image.Image, row: int, column: int, faces: Faces, index: int, name: str) -> None:
    """Shape and rendering beside a photo, or beside what is thought of them."""
    for offset, (pixels, what) in enumerate(zip(faces, ("shape", "rendered"), strict=True), 1):
        _place(sheet, row, column + offset, pixels[index], f"{name}, {what}")


def _write(sheet: Image.Image, row: int, column: int, name: str, lines: Sequence[str], warning: str = "") -> None:
    """Lines of text in place of a picture, the warning below."""
    (x, y), draw, font = _corner(row, column), ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    coloured = [(name, _INK), *((line, _SOFT) for line in lines), (warning, _WARN)]
    for number, (text, colour) in enumerate(coloured):
        draw.text((x + 8, y + 8 + 22 * number), text, fill=colour, font=font)


def side_by_side(cells: Sequence[UInt8[ndarray, "S S 3"]]) -> UInt8[ndarray, "S W 3"]:
    """Pictures of one size in a row."""
    return np.concatenate(cells, axis=1)
