"""One picture that tells whether a reconstruction is right: photo, landmarks, mesh over the photo, mesh alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from emoca_core.export.camera import PhotoCamera
from emoca_core.export.mesh import FaceMesh, unit_normals
from emoca_core.geometry.lighting import LAMPS, directional_irradiance
from emoca_core.images.warp import square_to_image, warp
from emoca_core.interfaces import Fragments, Renderer
from emoca_core.rendering.face import interpolate_uv
from emoca_core.rendering.shape import GREY
from emoca_core.rendering.topology import MeshTopology, sample_texture
from emoca_core.vocabulary.landmark_sets import IBUG68

PANEL = 480
"""Side of each of the four panels, pixels."""

_SUPERSAMPLING = 2
_MARGIN = 0.07
"""Room around the mesh, as a fraction of its larger side."""
_GAP, _BORDER, _CAPTION = 8, 12, 30
Color = tuple[int, int, int]
Label = tuple[str, Color]
_PAPER, _INK, _EMPTY = (255, 255, 255), (90, 90, 96), (236, 237, 240)
_FITTED, _DETECTED = (64, 224, 170), (255, 166, 64)
_OPACITY = 0.8
_FAINT = 0.1
"""Shorter normals than this are mostly those of texels without surface."""
_CLOSED = frozenset({"right_eye", "left_eye", "outer_lips", "inner_lips"})


@dataclass(frozen=True)
class Window:
    """A square of a photo, shown as ``PANEL`` x ``PANEL`` pixels.

    Attributes:
        panel_to_photo: Pixel-centre coordinates of the panel to those of the photo.
    """

    panel_to_photo: Float[ndarray, "3 3"]

    @classmethod
    def around(cls, points: Float[ndarray, "N 2"]) -> "Window":
        """The square that shows all points with some room around them."""
        low, high = points.min(axis=0), points.max(axis=0)
        side = max(float((high - low).max()) * (1 + 2 * _MARGIN), 2.0)
        return cls(square_to_image((low + high) / 2, side, PANEL))

    def to_panel(self, points: Float[ndarray, "N 2"]) -> Float[ndarray, "N 2"]:
        """Photo pixels to panel pixels."""
        inverse = np.linalg.inv(self.panel_to_photo)
        return np.asarray(points @ inverse[:2, :2].T + inverse[:2, 2])

    def cut(self, photo: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "h w 3"]:
        """The photo under the window, RGB in [0, 255]; light grey beyond its borders."""
        shown = warp(photo, self.panel_to_photo, PANEL, border="replicate", antialias=True)
        axis = np.arange(PANEL)
        x, y = (axis * self.panel_to_photo[i, i] + self.panel_to_photo[i, 2] for i in (0, 1))
        height, width = photo.shape[:2]
        inside = ((y > -0.5) & (y < height - 0.5))[:, None] & ((x > -0.5) & (x < width - 0.5))
        return np.where(inside[..., None], shown, np.array(_EMPTY, dtype=np.float32))


def overlay_picture(
    photo: UInt8[ndarray, "H W 3"],
    camera: PhotoCamera,
    mesh: FaceMesh,
    fitted: Float[ndarray, "68 2"],
    detected: Mapping[str, Float[ndarray, "_ 2"]],
    renderer: Renderer,
    device: torch.device,
    caption: str = "",
    detail_normals: Float[torch.Tensor, "1 3 T T"] | None = None,
) -> Image.Image:
    """Draw photo | landmarks | mesh over the photo | mesh alone, around the face.

    Args:
        photo: The whole photo, RGB.
        camera: The photo's camera.
        mesh: The face.
        fitted: The 68 landmarks of the mesh, photo pixels.
        detected: Detected landmarks by set name, photo pixels.
        renderer: Decides visibility.
        device: Where the renderer works.
        caption: Written small under the picture, at the right.
        detail_normals: Model-space normals in UV space that replace the mesh's own, to show wrinkles.
    """
    window = Window.around(np.vstack([camera.project(mesh.vertices), fitted]))
    background = window.cut(photo)
    grey, mask = _render(mesh, camera, window, renderer, device, detail_normals)
    mixed = background * (1 - _OPACITY * mask) + grey * _OPACITY * mask
    alone = np.full_like(background, _EMPTY[0]) * (1 - mask) + grey * mask
    panels = [_to_image(background), _to_image(background), _to_image(mixed), _to_image(alone)]
    shown = detected.get("ibug68")
    panels[1] = _draw_landmarks(panels[1], window.to_panel(fitted), None if shown is None else window.to_panel(shown))
    legend = [("landmarks", _INK), ("fitted", _FITTED), *([] if shown is None else [("detected", _DETECTED)])]
    return _lay_out(panels, [[("photo", _INK)], legend, [("mesh over photo", _INK)], [("mesh", _INK)]], caption)


def _render(
    mesh: FaceMesh,
    camera: PhotoCamera,
    window: Window,
    renderer: Renderer,
    device: torch.device,
    detail_normals: Float[torch.Tensor, "1 3 T T"] | None,
) -> tuple[Float[ndarray, "h w 3"], Float[ndarray, "h w 1"]]:
    """The grey mesh, RGB in [0, 255], and how much of each pixel it covers."""
    side = PANEL * _SUPERSAMPLING
    ndc = (2 * window.to_panel(camera.project(mesh.vertices)) + 1) / PANEL - 1
    projected = _tensor(np.column_stack([ndc, camera.depth(mesh.vertices)]), device)
    # turned into the camera's axes (y up, z towards it), so that the lamps stay with the viewer
    axes = torch.from_numpy(np.diag([1.0, -1.0, -1.0]) @ camera.rotation).float().to(device)
    normals = _tensor(unit_normals(mesh.vertices, mesh.faces), device)
    with torch.no_grad():
        fragments = renderer.rasterize(projected, torch.from_numpy(mesh.faces).to(device), (side, side))
        pictured = renderer.interpolate(fragments, normals)
        if detail_normals is not None:
            pictured = _with_detail(pictured, renderer, fragments, mesh, detail_normals.to(device))
        pictured = torch.nn.functional.normalize(torch.einsum("ij,bjhw->bihw", axes, pictured), dim=1)
        light = directional_irradiance(pictured, pictured.new_tensor(LAMPS))
        image = (255 * GREY * light * fragments.mask).expand(-1, 3, -1, -1).clamp(0, 255)
        image, mask = (torch.nn.functional.avg_pool2d(x, _SUPERSAMPLING) for x in (image, fragments.mask))
    image = image / mask.clamp_min(1e-6)  # the average over the covered part
    return image[0].permute(1, 2, 0).cpu().numpy(), mask[0].permute(1, 2, 0).cpu().numpy()


def _with_detail(
    coarse: Float[torch.Tensor, "1 3 h w"],
    renderer: Renderer,
    fragments: Fragments,
    mesh: FaceMesh,
    detail_normals: Float[torch.Tensor, "1 3 T T"],
) -> Float[torch.Tensor, "1 3 h w"]:
    """Normals read from the map; the coarse ones where it has none."""
    if mesh.uv is None or mesh.uv_faces is None:
        return coarse
    parts = (mesh.faces.astype(np.int64), mesh.uv.astype(np.float32), mesh.uv_faces.astype(np.int64))
    topology = MeshTopology(*(torch.from_numpy(part).to(coarse.device) for part in parts))
    fine = sample_texture(detail_normals, interpolate_uv(renderer, fragments, topology))
    return torch.where(fine.norm(dim=1, keepdim=True) > _FAINT, fine, coarse)


def _draw_landmarks(
    panel: Image.Image, fitted: Float[ndarray, "68 2"], detected: Float[ndarray, "68 2"] | None
) -> Image.Image:
    large = panel.resize((panel.width * 3, panel.height * 3), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    for name, indices in IBUG68.items():
        line = _enlarged(fitted[indices])
        draw.line([*line, line[0]] if name in _CLOSED else line, fill=_FITTED, width=4, joint="curve")
    if detected is not None:
        _draw_dots(draw, detected, _DETECTED, radius=5)
    _draw_dots(draw, fitted, _FITTED, radius=6)
    return large.resize(panel.size, Image.Resampling.LANCZOS)


def _draw_dots(draw: ImageDraw.ImageDraw, points: Float[ndarray, "N 2"], color: Color, radius: int) -> None:
    for x, y in _enlarged(points):
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)


def _enlarged(points: Float[ndarray, "N 2"]) -> list[tuple[float, float]]:
    return [(3 * x + 1, 3 * y + 1) for x, y in points.tolist()]  # pixel centres of a three times larger panel


def _lay_out(panels: Sequence[Image.Image], labels: Sequence[Sequence[Label]], caption: str) -> Image.Image:
    width = 2 * _BORDER + len(panels) * PANEL + (len(panels) - 1) * _GAP
    sheet = Image.new("RGB", (width, _BORDER + PANEL + _CAPTION), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    baseline = _BORDER + PANEL + _CAPTION / 2
    for number, (panel, parts) in enumerate(zip(panels, labels, strict=True)):
        x: float = _BORDER + number * (PANEL + _GAP)
        sheet.paste(panel, (int(x), _BORDER))
        for text, color in parts:
            if color != _INK:  # a colour of the legend: a dot before its name
                draw.ellipse([x, baseline - 3, x + 6, baseline + 3], fill=color)
                x += 11
            draw.text((x, baseline), text, fill=_INK, font=font, anchor="lm")
            x += draw.textlength(text, font=font) + 14
    draw.text((width - _BORDER, baseline), caption, fill=_INK, font=font, anchor="rm")
    return sheet


def _tensor(values: Float[ndarray, "N D"], device: torch.device) -> Float[torch.Tensor, "1 N D"]:
    return torch.from_numpy(values.astype(np.float32))[None].to(device)


def _to_image(values: Float[ndarray, "h w 3"]) -> Image.Image:
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))
