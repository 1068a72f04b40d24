"""One picture that tells whether a reconstruction is right: photo, landmarks, mesh over the photo, mesh alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from emoca_core.export.mesh import unit_normals
from emoca_core.geometry.lighting import LAMPS, directional_irradiance
from emoca_core.images.warp import square_to_image
from emoca_core.interfaces import CV_AXES, FaceMesh, Fragments, PhotoCamera, Renderer
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
_LARGER = 3
"""How many times larger landmarks are drawn before they are reduced to the panel."""
_ROOM = 4
"""Around the landmarks, for the strokes; pixels."""
Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Label = tuple[str, Color]
PAPER, INK, EMPTY = (255, 255, 255), (90, 90, 96), (236, 237, 240)
_FITTED, _DETECTED = (64, 224, 170), (255, 166, 64)
OPACITY = 0.8
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

    def cut(self, photo: UInt8[ndarray, "H W 3"]) -> Image.Image:
        """The photo under the window, light grey where the window reaches beyond it."""
        scale, corner = self.panel_to_photo[0, 0], self.panel_to_photo[:2, 2] + 0.5 - self.panel_to_photo[0, 0] / 2
        size = np.array([photo.shape[1], photo.shape[0]])
        first = np.clip(np.ceil(-corner / scale), 0, PANEL).astype(int)  # panel pixels wholly inside the photo
        last = np.clip(np.floor((size - corner) / scale), 0, PANEL).astype(int)
        shown = Image.new("RGB", (PANEL, PANEL), EMPTY)
        if (last > first).all():
            low, high = corner + scale * first, corner + scale * last
            x, y = np.floor(low).astype(int)  # of a large photo, only this part is copied
            part = Image.fromarray(photo[y : int(np.ceil(high[1])), x : int(np.ceil(high[0]))])
            box = tuple(np.clip(np.concatenate([low - [x, y], high - [x, y]]), 0, 2 * part.size).tolist())
            resized = part.resize(tuple((last - first).tolist()), Image.Resampling.BILINEAR, box)
            shown.paste(resized, tuple(first.tolist()))
        return shown


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
    mixed = Image.composite(grey, background, mask.point(lambda value: round(OPACITY * value)))
    alone = _on_empty(grey, mask)
    shown = detected.get("ibug68")
    marked = _draw_landmarks(background, window.to_panel(fitted), None if shown is None else window.to_panel(shown))
    panels = [background, marked, mixed, alone]
    legend = [("landmarks", INK), ("fitted", _FITTED), *([] if shown is None else [("detected", _DETECTED)])]
    return _lay_out(panels, [[("photo", INK)], legend, [("mesh over photo", INK)], [("mesh", INK)]], caption)


def grey_picture(
    mesh: FaceMesh,
    camera: PhotoCamera,
    window: Window,
    renderer: Renderer,
    device: torch.device,
    detail_normals: Float[torch.Tensor, "1 3 T T"] | None = None,
) -> Image.Image:
    """The grey mesh alone, as a camera sees it through a window; the arguments are those of ``overlay_picture``."""
    return _on_empty(*_render(mesh, camera, window, renderer, device, detail_normals))


def _on_empty(grey: Image.Image, mask: Image.Image) -> Image.Image:
    alone = Image.new("RGB", grey.size, EMPTY)
    alone.paste(grey, mask=mask)
    return alone


def _render(
    mesh: FaceMesh,
    camera: PhotoCamera,
    window: Window,
    renderer: Renderer,
    device: torch.device,
    detail_normals: Float[torch.Tensor, "1 3 T T"] | None,
) -> tuple[Image.Image, Image.Image]:
    """The grey mesh, and how much of each pixel it covers."""
    import cv2

    side = PANEL * _SUPERSAMPLING
    ndc = (2 * window.to_panel(camera.project(mesh.vertices)) + 1) / PANEL - 1
    projected = _tensor(np.column_stack([ndc, camera.depth(mesh.vertices)]), device)
    # turned into the camera's axes (y up, z towards it), so that the lamps stay with the viewer
    axes = CV_AXES @ camera.rotation
    normals = _tensor(unit_normals(mesh.vertices, mesh.faces) @ axes.T, device)
    with torch.no_grad():
        fragments = renderer.rasterize(projected, torch.from_numpy(mesh.faces).to(device), (side, side))
        if detail_normals is None:  # the mesh is finer than it seems: light of its vertices will do
            light = renderer.interpolate(fragments, lit(normals.mT[..., None])[..., 0].mT)
        else:
            turned = torch.einsum("ij,bjhw->bihw", torch.from_numpy(axes).float().to(device), detail_normals.to(device))
            light = lit(_with_detail(renderer.interpolate(fragments, normals), renderer, fragments, mesh, turned))
            light = light * fragments.mask
    pictures = (picture[0, 0].cpu().numpy() for picture in (light, fragments.mask))  # both zero beside the face
    covered, mask = (cv2.resize(picture, (PANEL, PANEL), interpolation=cv2.INTER_AREA) for picture in pictures)
    grey = covered / np.maximum(mask, 1e-6)  # the average over the covered part of each pixel
    return _to_image(grey).convert("RGB"), _to_image(mask)


def lit(normals: Float[torch.Tensor, "B 3 h w"]) -> Float[torch.Tensor, "B 1 h w"]:
    """Brightness of grey surfaces in [0, 1]; normals need not have unit length."""
    unit = normals * normals.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
    return (GREY * directional_irradiance(unit, unit.new_tensor(LAMPS))).clamp(0, 1)


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
    shown = fitted if detected is None else np.concatenate([fitted, detected])
    low, high = np.floor(shown.min(axis=0)) - _ROOM, np.ceil(shown.max(axis=0)) + _ROOM
    left, upper, right, lower = np.clip([*low, *high], [0, 0, 1, 1], [PANEL - 1, PANEL - 1, PANEL, PANEL]).astype(int)
    part = panel.crop((left, upper, right, lower))  # of the panel only this is drawn on
    lines = [_enlarged(fitted[indices] - [left, upper]) for indices in IBUG68.values()]
    closed = [[*line, line[0]] if name in _CLOSED else line for name, line in zip(IBUG68, lines, strict=True)]
    _paint(part, _FITTED, lines=closed)
    if detected is not None:
        _paint(part, _DETECTED, points=_enlarged(detected - [left, upper]), radius=5)
    _paint(part, _FITTED, points=_enlarged(fitted - [left, upper]), radius=6)
    marked = panel.copy()
    marked.paste(part, (left, upper))
    return marked


def _paint(
    panel: Image.Image, color: Color, lines: Sequence[Points] = (), points: Points = (), radius: int = 0
) -> None:
    """Draw smoothly: a stencil of the larger size is reduced to that of the panel."""
    stencil = Image.new("L", (_LARGER * panel.width, _LARGER * panel.height))
    draw = ImageDraw.Draw(stencil)
    for line in lines:
        draw.line(list(line), fill=255, width=4, joint="curve")
    for x, y in points:
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    panel.paste(color, mask=stencil.reduce(_LARGER))


def _enlarged(points: Float[ndarray, "N 2"]) -> Points:
    return [(_LARGER * x + 1, _LARGER * y + 1) for x, y in points.tolist()]  # from pixel centre to pixel centre


def _lay_out(panels: Sequence[Image.Image], labels: Sequence[Sequence[Label]], caption: str) -> Image.Image:
    width = 2 * _BORDER + len(panels) * PANEL + (len(panels) - 1) * _GAP
    sheet = Image.new("RGB", (width, _BORDER + PANEL + _CAPTION), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    baseline = _BORDER + PANEL + _CAPTION / 2
    for number, (panel, parts) in enumerate(zip(panels, labels, strict=True)):
        x: float = _BORDER + number * (PANEL + _GAP)
        sheet.paste(panel, (int(x), _BORDER))
        for text, color in parts:
            if color != INK:  # a colour of the legend: a dot before its name
                draw.ellipse([x, baseline - 3, x + 6, baseline + 3], fill=color)
                x += 11
            draw.text((x, baseline), text, fill=INK, font=font, anchor="lm")
            x += draw.textlength(text, font=font) + 14
    draw.text((width - _BORDER, baseline), caption, fill=INK, font=font, anchor="rm")
    return sheet


def _tensor(values: Float[ndarray, "N D"], device: torch.device) -> Float[torch.Tensor, "1 N D"]:
    return torch.from_numpy(values.astype(np.float32))[None].to(device)


def _to_image(values: Float[ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(np.rint(255 * values).clip(0, 255).astype(np.uint8))
