"""The clip that tells whether a reconstruction is right: original, mesh over it, mesh alone, side by side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from emoca_core.export.overlay import EMPTY, INK, OPACITY, PAPER, lit
from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces import CapturedSequence, ClipFrame, PhotoCamera, Renderer

PANEL_PIXELS = 512 * 512
"""Of one panel, at most: larger frames are reduced."""
_BATCH = 16
"""Frames that are drawn together."""
_STEP = 32
"""Sides of windows are multiples of it, pixels."""
_GAP, _STRIP = 4, 28
"""Between the panels, and below them; pixels."""
_LABELS = ("original", "mesh over it", "mesh")
_WARNING = (190, 90, 20)
_FLIP = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class _Layout:
    """Where the panels are.

    Attributes:
        scale: Panel pixels for a pixel of the frame.
        panel: Height and width of each panel, both even.
    """

    scale: float
    panel: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int]) -> "_Layout":
        """For frames of (height, width)."""
        scale = min(1.0, math.sqrt(PANEL_PIXELS / (size[0] * size[1])))
        height, width = (max(2, round(side * scale / 2) * 2) for side in size)
        return cls(scale, (height, width))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole picture, both even."""
        return self.panel[0] + _STRIP, 3 * self.panel[1] + 2 * _GAP

    def reduce(self, pixels: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
        """A frame as large as a panel."""
        import cv2  # slow to import

        if pixels.shape[:2] == self.panel:
            return pixels
        return np.asarray(cv2.resize(pixels, self.panel[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    def draw(self, pixels: UInt8[ndarray, "H W 3"], head: "_Head | None", status: str) -> UInt8[ndarray, "h w 3"]:
        """The panels of one frame, and what is said of it."""
        sheet = _empty_sheet(self, status).copy()
        original, mixed, alone = self.panels(sheet)
        original[:] = self.reduce(pixels)
        mixed[:] = original
        if head is not None:
            head.paint(mixed, OPACITY)
            head.paint(alone, 1.0)
        return sheet

    def panels(self, sheet: UInt8[ndarray, "H W 3"]) -> list[UInt8[ndarray, "h w 3"]]:
        """Views of a whole picture."""
        height, width = self.panel
        return [sheet[:height, i * (width + _GAP) :][:, :width] for i in range(len(_LABELS))]


@dataclass(frozen=True)
class _Head:
    """A drawn head, and where it is in the panel."""

    top: int
    left: int
    grey: UInt8[ndarray, "h w"]
    mask: UInt8[ndarray, "h w"]

    def paint(self, panel: UInt8[ndarray, "H W 3"], opacity: float) -> None:
        """Draw it over a panel, in place."""
        part = panel[self.top :, self.left :][: len(self.grey), : self.grey.shape[1]]
        cover = (opacity * (256 / 255) * self.mask).astype(np.uint16)[..., None]
        part[:] = np.right_shift(part * (256 - cover) + self.grey[..., None] * cover, 8)


def overlay_frames(
    sequence: CapturedSequence, faces: Int[Tensor, "F 3"], renderer: Renderer, device: torch.device
) -> Iterator[ClipFrame]:
    """Every frame of the clip as three panels; where the person is not seen, without a mesh.

    Args:
        sequence: With cameras.
        faces: Triangles of its meshes.
        renderer: Decides visibility.
        device: Where the renderer works.
    """
    layout = _Layout.of(sequence.clip.size)
    row_of = {number: row for row, number in enumerate(sequence.numbers.tolist())}
    frames = sequence.clip.frames()
    while batch := list(islice(frames, _BATCH)):
        rows = [row_of[frame.number] for frame in batch if frame.number in row_of]
        heads = dict(zip(rows, _heads(sequence, rows, faces, renderer, device, layout), strict=True)) if rows else {}
        for frame in batch:
            row = row_of.get(frame.number)
            sheet = layout.draw(frame.pixels, heads.get(-1 if row is None else row), _status(sequence, row))
            yield ClipFrame(frame.number, frame.time, sheet)


def overlay_size(clip_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the frames that ``overlay_frames`` gives, both even."""
    return _Layout.of(clip_size).size


def _heads(
    sequence: CapturedSequence,
    rows: list[int],
    faces: Int[Tensor, "F 3"],
    renderer: Renderer,
    device: torch.device,
    layout: _Layout,
) -> list[_Head]:
    """The heads of successive rows, drawn together in windows of one size."""
    assert sequence.cameras is not None
    some = slice(rows[0], rows[-1] + 1)
    vertices = sequence.geometry(some).vertices.to(device)
    cameras = sequence.cameras[some]
    pixels, depth = _project(vertices, cameras, layout.scale)
    corners, window = _windows(pixels, layout.panel)
    ndc = 2 * (pixels - torch.from_numpy(corners).float()[:, None, [1, 0]].to(device) + 0.5)
    ndc = ndc / ndc.new_tensor(window[::-1]) - 1
    axes = torch.from_numpy(np.array([_FLIP @ camera.rotation for camera in cameras])).float().to(device)
    normals = vertex_normals(1000 * vertices, faces) @ axes.mT
    with torch.no_grad():
        fragments = renderer.rasterize(torch.cat([ndc, depth[..., None]], dim=-1), faces, window)
        light = renderer.interpolate(fragments, lit(normals.mT[..., None])[..., 0].mT)
        drawn = (255 * torch.cat([light, fragments.mask], dim=1)).round().clamp(0, 255).byte().cpu().numpy()
    return [_Head(*corner, *picture) for corner, picture in zip(corners.tolist(), drawn, strict=True)]


def _project(
    vertices: Float[Tensor, "N V 3"], cameras: Sequence[PhotoCamera], scale: float
) -> tuple[Float[Tensor, "N V 2"], Float[Tensor, "N V"]]:
    """Pixels of the panel, and depth."""
    matrices = torch.from_numpy(np.array([camera.matrix for camera in cameras])).float().to(vertices)
    ahead = [np.append(camera.rotation[2], camera.translation[2]) for camera in cameras]
    rows = torch.cat([matrices, torch.from_numpy(np.array(ahead)).float().to(vertices)[:, None]], dim=1)
    seen = vertices @ rows[:, :, :3].mT + rows[:, None, :, 3]
    return scale * (seen[..., :2] / seen[..., 2:3] + 0.5) - 0.5, seen[..., 3]


def _windows(pixels: Float[Tensor, "N V 2"], panel: tuple[int, int]) -> tuple[Int[ndarray, "N 2"], tuple[int, int]]:
    """Top left corner of each head's window in the panel, and the height and width of all."""
    low, high = pixels.amin(dim=1).cpu().numpy()[:, ::-1], pixels.amax(dim=1).cpu().numpy()[:, ::-1]
    sides = np.ceil((high - low).max(axis=0) / _STEP + 0.25) * _STEP
    window = np.minimum(np.clip(np.nan_to_num(sides, nan=_STEP, posinf=1e6), _STEP, 1e6).astype(np.int64), panel)
    middle = np.nan_to_num((low + high) / 2, posinf=0, neginf=0)
    corners = np.clip(np.rint(middle - window / 2), 0, panel - window).astype(np.int64)
    return corners, (int(window[0]), int(window[1]))


def _status(sequence: CapturedSequence, row: int | None) -> str:
    if row is None:
        return "not seen"
    return ", ".join(sorted(sequence.flags[row] - {"cut"}))


@lru_cache(maxsize=8)
def _empty_sheet(layout: _Layout, status: str) -> UInt8[ndarray, "H W 3"]:
    """The whole picture without what changes, and what is written below the panels."""
    height, width = layout.size
    image = Image.new("RGB", (width, height), PAPER)
    draw, font, middle = ImageDraw.Draw(image), ImageFont.load_default(13), height - _STRIP / 2
    for number, text in enumerate(_LABELS):
        draw.text((8 + number * (layout.panel[1] + _GAP), middle), text, fill=INK, font=font, anchor="lm")
    draw.text((width - 8, middle), status, fill=_WARNING, font=font, anchor="rm")
    sheet = np.array(image)
    layout.panels(sheet)[-1][:] = EMPTY
    return sheet
