"""The film of a retargeting: the driver, the source's face moving as they do, its shape, and the source's photo."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from emoca_core.export.overlay import EMPTY, lit
from emoca_core.export.overlay_clip import ClipWindow, Layout
from emoca_core.interfaces import CV_AXES, Albedo, Camera, CapturedFace, ClipFrame, FaceParameters, PhotoCamera
from emoca_core.reconstruction.captured_sequence import ReconstructedSequence
from emoca_core.rendering.face import render_face
from emoca_core.retargeting.driving import Pictures

_BATCH = 8
"""Frames that are drawn together."""
_FINER = 2
"""Panels are drawn so many times larger, and reduced."""


@dataclass(frozen=True)
class PanelCamera(Camera):
    """The camera of a photo, seen through a window of it.

    Attributes:
        rows: Projection to homogeneous NDC of the window, and, in the last row, to depth.
    """

    rows: Float[Tensor, "B 4 4"]

    @classmethod
    def of(cls, camera: PhotoCamera, window: ClipWindow) -> "PanelCamera":
        """For all frames: the camera stands still."""
        to_ndc = np.array(
            [
                [2 / window.width, 0, (1 - 2 * window.left) / window.width - 1],
                [0, 2 / window.height, (1 - 2 * window.top) / window.height - 1],
                [0, 0, 1],
            ]
        )
        ahead = np.append(camera.rotation[2], camera.translation[2])
        rows = np.vstack([to_ndc @ camera.matrix, ahead])
        return cls(torch.from_numpy(rows[None]).float())

    def within(self, box: "_Box", size: tuple[int, int]) -> "PanelCamera":
        """Through a part of the window, which is drawn as a panel of (height, width)."""
        (height, width), to_box = size, np.eye(4)
        to_box[0] = [width / box.width, 0, (width - 2 * box.left) / box.width - 1, 0]
        to_box[1] = [0, height / box.height, (height - 2 * box.top) / box.height - 1, 0]
        return PanelCamera(torch.from_numpy(to_box).to(self.rows) @ self.rows)

    def project(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        seen = points @ self.rows[:, :, :3].mT + self.rows[:, None, :, 3]
        return torch.cat([seen[..., :2] / seen[..., 2:3], seen[..., 3:]], dim=-1)

    def matrix(self, image_size: tuple[int, int]) -> Float[Tensor, "B 3 4"]:
        height, width = image_size
        to_pixels = self.rows.new_tensor(
            [[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]]
        )
        return to_pixels @ self.rows[:, :3]

    def code(self) -> Float[Tensor, "B 16"]:
        return self.rows.flatten(1)

    def map(self, change: Callable[[Tensor], Tensor]) -> "PanelCamera":
        return PanelCamera(change(self.rows))


def retargeted_frames(
    sequence: ReconstructedSequence, source_face: CapturedFace, pictures: Pictures | None
) -> Iterator[ClipFrame]:
    """Every frame of the driver as panels, see ``RetargetedSequence.panels``; without a mesh where nobody is seen.

    Args:
        sequence: The source, moving.
        source_face: Their photo, with a camera.
        pictures: Where the driver is seen.
    """
    layout, camera = Layout.of(sequence), source_face.camera
    assert camera is not None
    source = fitted(source_face.photo.pixels, layout.window, layout.panel)
    driver = None if pictures is None else _DriverPanel.of(pictures, layout)
    row_of = {number: row for row, number in enumerate(sequence.numbers.tolist())}
    frames = sequence.clip.frames() if driver is None else driver.frames()
    while batch := list(islice(frames, _BATCH)):
        rows = [row_of[frame.number] for frame in batch if frame.number in row_of]
        heads = drawn_heads(sequence, camera, rows, layout.window, layout.panel) if rows else []
        drawn = dict(zip(rows, heads, strict=True))
        for frame in batch:
            row = row_of.get(frame.number)
            sheet = layout.empty("not seen" if row is None else ", ".join(sorted(sequence.flags[row] - {"cut"})))
            first, retargeted, shape, *others = layout.panels(sheet)
            first[:] = source if driver is None else driver.draw(frame.pixels)
            for other in others:
                other[:] = source
            if row is not None:
                retargeted[:], shape[:] = drawn[row]
            yield ClipFrame(frame.number, frame.time, sheet)


def drawn_heads(
    sequence: ReconstructedSequence, seen_by: PhotoCamera, rows: list[int], window: ClipWindow, size: tuple[int, int]
) -> list[tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W 3"]]]:
    """Some rows with the source's albedo, light and detail, and grey, as the source's camera sees them in a window."""
    method, index = sequence.method, torch.tensor(rows)
    code: FaceParameters = sequence.parameters.map(lambda tensor: tensor[index].to(method.device))
    camera = PanelCamera.of(seen_by, window).map(lambda t: t.expand(len(rows), -1, -1).to(method.device))
    with torch.no_grad():
        geometry = method.face_model(code)
        box = _Box.around(camera.project(geometry.vertices), size)
        person = code.map(lambda tensor: tensor[:1])
        albedo = _repeated(method.face_model.albedo(person), len(rows))
        place, large = camera.within(box, size), (_FINER * box.height, _FINER * box.width)
        picture = render_face(method.renderer, method.face_model, geometry, place, albedo, code.lighting, large)
        if method.detail is not None:
            fine = method.render_detail(picture, geometry, code, method.detail.decode(code))
            picture = picture if fine is None else fine
        axes = torch.from_numpy(CV_AXES @ seen_by.rotation).float().to(method.device)
        assert picture.normals is not None
        grey = lit(torch.einsum("ij,bjhw->bihw", axes, picture.normals)).expand(-1, 3, -1, -1)
        paper = torch.tensor(EMPTY, device=method.device)[:, None, None] / 255
        mask = avg_pool2d(picture.mask, _FINER)
        pair = [
            avg_pool2d(one * picture.mask, _FINER) + paper * (1 - mask) for one in (picture.image.clamp(0, 1), grey)
        ]
        drawn = (255 * torch.stack(pair)).round().byte().permute(1, 0, 3, 4, 2).cpu().numpy()
    sheets = np.empty((len(rows), 2, *size, 3), np.uint8)
    sheets[:] = EMPTY
    sheets[:, :, box.top :, box.left :][:, :, : box.height, : box.width] = drawn
    return [(textured, shape) for textured, shape in sheets]


@dataclass(frozen=True)
class _Box:
    """The part of a panel in which something is drawn, pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def around(cls, points: Float[Tensor, "B N 3"], size: tuple[int, int]) -> "_Box":
        """What holds all points, given in NDC of a panel of (height, width)."""
        sides = points.new_tensor(size[::-1])
        low, high = (
            ((1 + end(points[..., :2], dim=(0, 1))) / 2 * sides).cpu().numpy() for end in (torch.amin, torch.amax)
        )
        left, top = np.clip(np.floor(low) - 1, 0, np.array(size[::-1]) - 1).astype(int).tolist()
        right, bottom = np.clip(np.ceil(high) + 1, [left + 1, top + 1], size[::-1]).astype(int).tolist()
        return cls(top, left, bottom - top, right - left)


def _repeated(albedo: Albedo, count: int) -> Albedo:
    """The same for every frame."""

    def many(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.expand(count, *tensor.shape[1:])

    return Albedo(many(albedo.texture), many(albedo.vertex_colors))


@dataclass(frozen=True)
class _DriverPanel:
    """The driver's frames around their face, fitted into a panel.

    Attributes:
        frames: All of the driver's clip.
        window: What is shown of them.
        panel: Height and width of the panel.
    """

    frames: Callable[[], Iterator[ClipFrame]]
    window: ClipWindow
    panel: tuple[int, int]

    @classmethod
    def of(cls, pictures: Pictures, layout: Layout) -> "_DriverPanel":
        window = ClipWindow.around(pictures.landmarks, pictures.clip.size)
        return cls(pictures.clip.frames, window, layout.panel)

    def draw(self, pixels: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
        return fitted(pixels, self.window, self.panel)


def fitted(pixels: UInt8[ndarray, "H W 3"], window: ClipWindow, size: tuple[int, int]) -> UInt8[ndarray, "h w 3"]:
    """A window of a picture, as large as it can be in a size and in its middle."""
    part = pixels[window.top :, window.left :][: window.height, : window.width]
    scale = min(size[0] / part.shape[0], size[1] / part.shape[1])
    height, width = (max(1, min(limit, round(scale * side))) for limit, side in zip(size, part.shape[:2], strict=True))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = np.empty((*size, 3), np.uint8)
    shown[:] = EMPTY
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    shown[top : top + height, left : left + width] = cv2.resize(part, (width, height), interpolation=method)
    return shown
