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
from emoca_core.interfaces import CV_AXES, CapturedSequence, ClipFrame, PhotoCamera, Renderer

PANEL_PIXELS = 512 * 512
"""Of one panel, at most: larger frames are reduced."""
_BATCH = 16
"""Frames that are drawn together."""
_STEP = 32
"""Sides of windows are multiples of it, pixels."""
_GAP, _STRIP = 4, 28
"""Between the panels, and below them; pixels."""
_BEFORE, _BEHIND = np.array([0.7, 1.0]), np.array([0.7, 0.7])
"""Room around the landmarks, x and y, of the size of the face: left and above, right and below."""
_MOST = 0.7
"""Share of the frame's sides from which on a window is not worth it."""
_WARNING = (190, 90, 20)


@dataclass(frozen=True)
class ClipWindow:
    """The part of the frames that shows the head, the same through the whole clip and of the frames' proportions.

    Attributes:
        left: Pixels of the frame, as all others.
        top: Of the window.
        width: Of the window.
        height: Of the window.
    """

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(cls, landmarks: Float[ndarray, "N 68 2"], size: tuple[int, int]) -> "ClipWindow":
        """Where a head goes in frames of (height, width); all of them, where that is most of the frame."""
        low, high = landmarks.min(axis=1), landmarks.max(axis=1)
        face = float(np.median((high - low).max(axis=1)))
        (left, top), (right, bottom) = low.min(axis=0) - face * _BEFORE, high.max(axis=0) + face * _BEHIND
        share = max((right - left) / size[1], (bottom - top) / size[0])
        if not share < _MOST:
            return cls(0, 0, size[1], size[0])
        height, width = (max(2, round(side * share)) for side in size)
        corner = np.array([left + right - width, top + bottom - height]) / 2
        x, y = np.clip(np.rint(corner), 0, [size[1] - width, size[0] - height]).astype(int).tolist()
        return cls(x, y, width, height)


@dataclass(frozen=True)
class Layout:
    """Where the panels are, and what they show.

    Attributes:
        panel: Height and width of each panel, both even.
        window: What all but the first show of the frame.
        labels: What is written below each panel.
    """

    panel: tuple[int, int]
    window: ClipWindow
    labels: tuple[str, ...]

    @property
    def pitch(self) -> int:
        """From the left side of one panel to that of the next, pixels."""
        return self.panel[1] + _GAP

    @classmethod
    def of(cls, sequence: CapturedSequence) -> "Layout":
        """For a clip."""
        size = sequence.clip.size
        scale = min(1.0, math.sqrt(PANEL_PIXELS / (size[0] * size[1])))
        height, width = (max(2, round(side * scale / 2) * 2) for side in size)
        return cls((height, width), ClipWindow.around(sequence.landmarks, size), sequence.panels)

    @property
    def scale(self) -> Float[ndarray, "2"]:
        """Panel pixels for a pixel of the window, x and y."""
        return np.array([self.panel[1] / self.window.width, self.panel[0] / self.window.height])

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole picture, both even."""
        return self.panel[0] + _STRIP, (len(self.labels) - 1) * self.pitch + self.panel[1]

    def draw(self, pixels: UInt8[ndarray, "H W 3"], head: "_Head | None", status: str) -> UInt8[ndarray, "h w 3"]:
        """The panels of one frame, and what is said of it."""
        sheet, window = self.empty(status), self.window
        original, mixed, alone = self.panels(sheet)
        part = pixels[window.top :, window.left :][: window.height, : window.width]
        original[:] = self._fit(pixels)
        mixed[:] = original if part.shape == pixels.shape else self._fit(part)
        if head is not None:
            head.paint(mixed, OPACITY)
            head.paint(alone, 1.0)
        return sheet

    def empty(self, status: str = "") -> UInt8[ndarray, "H W 3"]:
        """The whole picture without what the panels show; ``status`` is written below them."""
        return _empty_sheet(self, status).copy()

    def _fit(self, pixels: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
        """A picture as large as a panel."""
        import cv2  # slow to import

        if pixels.shape[:2] == self.panel:
            return pixels
        method = cv2.INTER_AREA if pixels.shape[0] > self.panel[0] else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(pixels, self.panel[::-1], interpolation=method), np.uint8)

    def panels(self, sheet: UInt8[ndarray, "H W 3"]) -> list[UInt8[ndarray, "h w 3"]]:
        """Views of a whole picture."""
        height, width = self.panel
        return [sheet[:height, i * self.pitch :][:, :width] for i in range(len(self.labels))]


@dataclass(frozen=True)
class _Head:
    """A drawn head, and where it is in the panel.

    Attributes:
        top: Of its window, pixels of the panel.
        left: Of its window.
        grey: Zero where it does not cover, and mixed with that at its edge.
        mask: How much it covers, 0 to 255.
    """

    top: int
    left: int
    grey: UInt8[ndarray, "h w"]
    mask: UInt8[ndarray, "h w"]

    @classmethod
    def of(cls, corner: Int[ndarray, "2"], drawn: UInt8[ndarray, "2 h w"]) -> "_Head":
        """With a soft edge: drawing it larger and reducing it would take five times as long."""
        import cv2

        grey, mask = drawn
        soft = cv2.blur(mask, (3, 3))
        shown = np.where(soft == 255, grey, cv2.blur(grey * (mask > 0), (3, 3)))
        return cls(int(corner[0]), int(corner[1]), shown, np.asarray(soft, np.uint8))

    def paint(self, panel: UInt8[ndarray, "H W 3"], opacity: float) -> None:
        """Draw it over a panel, in place."""
        import cv2

        part = panel[self.top :, self.left :][: len(self.grey), : self.grey.shape[1]]
        left = cv2.merge([255 - cv2.convertScaleAbs(self.mask, alpha=opacity)] * 3)
        added = cv2.merge([cv2.convertScaleAbs(self.grey, alpha=opacity)] * 3)
        part[:] = cv2.add(cv2.multiply(part, left, scale=1 / 255), added)


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
    layout = Layout.of(sequence)
    row_of = {number: row for row, number in enumerate(sequence.numbers.tolist())}
    frames = sequence.clip.frames()
    while batch := list(islice(frames, _BATCH)):
        rows = [row_of[frame.number] for frame in batch if frame.number in row_of]
        heads = dict(zip(rows, _heads(sequence, rows, faces, renderer, device, layout), strict=True)) if rows else {}
        for frame in batch:
            row = row_of.get(frame.number)
            sheet = layout.draw(frame.pixels, heads.get(-1 if row is None else row), _status(sequence, row))
            yield ClipFrame(frame.number, frame.time, sheet)


def _heads(
    sequence: CapturedSequence,
    rows: list[int],
    faces: Int[Tensor, "F 3"],
    renderer: Renderer,
    device: torch.device,
    layout: Layout,
) -> list[_Head]:
    """The heads of successive rows, drawn together in windows of one size."""
    assert sequence.cameras is not None
    some = slice(rows[0], rows[-1] + 1)
    vertices = sequence.geometry(some).vertices.to(device)
    cameras = sequence.cameras[some]
    pixels, depth = _project(vertices, cameras, layout)
    corners, window = _windows(pixels, layout.panel)
    ndc = 2 * (pixels - torch.from_numpy(corners).float()[:, None, [1, 0]].to(device) + 0.5)
    ndc = ndc / ndc.new_tensor(window[::-1]) - 1
    axes = torch.from_numpy(np.array([CV_AXES @ camera.rotation for camera in cameras])).float().to(device)
    normals = vertex_normals(1000 * vertices, faces) @ axes.mT
    with torch.no_grad():
        fragments = renderer.rasterize(torch.cat([ndc, depth[..., None]], dim=-1), faces, window)
        light = renderer.interpolate(fragments, lit(normals.mT[..., None])[..., 0].mT)
        drawn = (255 * torch.cat([light, fragments.mask], dim=1)).round().clamp(0, 255).byte().cpu().numpy()
    return [_Head.of(corner, picture) for corner, picture in zip(corners, drawn, strict=True)]


def _project(
    vertices: Float[Tensor, "N V 3"], cameras: Sequence[PhotoCamera], layout: Layout
) -> tuple[Float[Tensor, "N V 2"], Float[Tensor, "N V"]]:
    """Pixels of the panel, and depth."""
    matrices = torch.from_numpy(np.array([camera.matrix for camera in cameras])).float().to(vertices)
    ahead = [np.append(camera.rotation[2], camera.translation[2]) for camera in cameras]
    rows = torch.cat([matrices, torch.from_numpy(np.array(ahead)).float().to(vertices)[:, None]], dim=1)
    seen = vertices @ rows[:, :, :3].mT + rows[:, None, :, 3]
    corner = seen.new_tensor([layout.window.left, layout.window.top])
    scale = torch.from_numpy(layout.scale).to(seen)
    return scale * (seen[..., :2] / seen[..., 2:3] - corner + 0.5) - 0.5, seen[..., 3]


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
def _empty_sheet(layout: Layout, status: str) -> UInt8[ndarray, "H W 3"]:
    """The whole picture without what changes, and what is written below the panels."""
    height, width = layout.size
    image = Image.new("RGB", (width, height), PAPER)
    draw, font, middle = ImageDraw.Draw(image), ImageFont.load_default(13), height - _STRIP / 2
    for number, text in enumerate(layout.labels):
        draw.text((8 + number * (layout.panel[1] + _GAP), middle), text, fill=INK, font=font, anchor="lm")
    draw.text((width - 8, middle), status, fill=_WARNING, font=font, anchor="rm")
    sheet = np.array(image)
    for panel in layout.panels(sheet):
        panel[:] = EMPTY
    return sheet
