"""What a renderer promises: the picture of a readable reference, pixel by pixel."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoca_core.errors import EmocaError
from emoca_core.interfaces import Fragments, Renderer
from emoca_core.testing.common import Subject, check_registered_tensors

IMAGE_SIZE = (18, 24)  # oblong, so that exchanged axes show
EDGE = 1e-3  # barycentric distance to an edge below which a pixel may go to either side
DEPTH_TOLERANCE = 1e-4
VALUE_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
"""float32 against the float64 reference; gradients divide by the area of a triangle and lose a digit."""


@dataclass(frozen=True)
class Scene:
    """Vertices in NDC with depth, and triangles."""

    vertices: Tensor
    faces: Tensor


def sample_scene() -> Scene:
    """Overlapping triangles of both windings in two pictures, and four that must be dropped."""
    vertices = torch.tensor(
        [
            [
                [-0.8, -0.7, 5.0],
                [0.7, -0.5, 6.0],
                [-0.1, 0.85, 4.0],
                [0.9, 0.6, 3.0],
                [-0.6, 0.5, 6.5],
                [0.6, -0.9, 3.0],
            ],
            [
                [-0.6, -0.9, 4.0],
                [0.9, -0.2, 5.0],
                [-0.3, 0.6, 5.0],
                [0.4, 0.9, 3.5],
                [-0.9, 0.1, 4.5],
                [0.2, -0.8, 6.0],
            ],
        ]
    )
    spoilt = torch.tensor(
        [[-1.0, -1.0, -2.0], [1.0, -1.0, -2.0], [0.0, 1.0, -2.0], [float("nan"), 0.0, 1.0], [1e9, 1e9, 1.0]]
    ).expand(2, 5, 3)
    faces = torch.tensor(
        [
            [0, 1, 2],
            [3, 5, 4],  # the other winding
            [6, 7, 8],  # behind the camera
            [3, 4, 9],  # not finite
            [1, 1, 2],  # degenerate
            [10, 10, 10],  # far outside and degenerate
        ]
    )
    return Scene(torch.cat([vertices, spoilt], dim=1), faces)


@dataclass(frozen=True)
class Reference:
    """What each pixel must see, found by looking at every pixel and every triangle.

    Attributes:
        triangles: [B, H, W], -1 where there is none.
        depth: [B, H, W], -1 where there is none.
        clear: [B, H, W], False where rounding may decide: on an edge, or at equal depths.
    """

    triangles: np.ndarray
    depth: np.ndarray
    clear: np.ndarray


def reference_of(scene: Scene, image_size: tuple[int, int]) -> Reference:
    """Visibility in float64, by definition: the nearest usable triangle that covers the centre of the pixel."""
    height, width = image_size
    count = len(scene.vertices)
    triangles = np.full((count, height, width), -1)
    depth, clear = np.full((count, height, width), -1.0), np.full((count, height, width), True)
    for b, row, column in np.ndindex(count, height, width):
        centre = np.array([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1])
        hits = []
        for index, corners in enumerate(scene.vertices[b].double().numpy()[scene.faces.numpy()]):
            weights = _barycentric(corners, centre)
            if weights is None:
                continue
            clear[b, row, column] &= abs(weights.min()) > EDGE
            if weights.min() >= 0:
                hits.append((float(weights @ corners[:, 2]), index))
        if hits:
            depth[b, row, column], triangles[b, row, column] = min(hits)
            nearest = sorted(hits)[:2]
            clear[b, row, column] &= len(nearest) < 2 or nearest[1][0] - nearest[0][0] > DEPTH_TOLERANCE
    return Reference(triangles, depth, clear)


def _barycentric(corners: np.ndarray, point: np.ndarray) -> np.ndarray | None:
    """Weights of the three corners; ``None`` for a triangle that must be dropped."""
    if not np.isfinite(corners).all() or (corners[:, 2] <= 0).any():
        return None
    (ax, ay), (bx, by), (cx, cy) = corners[:, :2]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-12:
        return None
    px, py = point
    first = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
    second = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
    return np.array([first, second, 1 - first - second])


def interpolate_reference(vertices: Tensor, faces: Tensor, triangles: Tensor, attributes: Tensor) -> Tensor:
    """Interpolation of [B, F, 3, D] corner attributes by definition, differentiable, in the precision of its input."""
    count, height, width = triangles.shape
    x = (2 * torch.arange(width, dtype=vertices.dtype) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=vertices.dtype) + 1) / height - 1
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(count, height, width, 2)
    seen = triangles.clamp(min=0)
    batch = torch.arange(count)[:, None, None]
    a, b, c = vertices[batch[..., None], faces[seen]][..., :2].unbind(-2)
    weights = torch.stack([_cross(b - points, c - points), _cross(c - points, a - points)], dim=-1)
    first, second = (weights / _cross(b - a, c - a)[..., None]).unbind(-1)
    corners = attributes[batch, seen]  # [B, H, W, 3, D]
    values = torch.stack([first, second, 1 - first - second], dim=-1)[..., None, :] @ corners
    return (values[..., 0, :] * (triangles >= 0)[..., None]).permute(0, 3, 1, 2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def check(subject: Subject[Renderer]) -> None:
    """Visibility, interpolation, gradients, and independence of the pictures of a batch, on every device it knows."""
    renderer = subject.component
    check_registered_tensors(subject, renderer)
    try:
        check_on(subject, renderer, torch.device("cpu"))
    except EmocaError:  # a renderer for GPUs says so
        if not torch.cuda.is_available():
            raise
    if torch.cuda.is_available():
        check_on(subject, renderer.cuda(), torch.device("cuda"))


def check_on(subject: Subject[Renderer], renderer: Renderer, device: torch.device) -> None:
    """All checks on one device."""
    scene, expected = sample_scene(), reference_of(sample_scene(), IMAGE_SIZE)
    vertices, faces = scene.vertices.to(device), scene.faces.to(device)
    fragments = renderer.rasterize(vertices, faces, IMAGE_SIZE)
    subject.require(isinstance(fragments, Fragments), "rasterize must return Fragments")
    _check_fragments(subject, fragments, expected)
    again = renderer.rasterize(vertices, faces, IMAGE_SIZE)
    subject.require_same(again.triangles, fragments.triangles, 0.0, "must give the same result twice")
    alone = renderer.rasterize(vertices[1:], faces, IMAGE_SIZE)
    subject.require_same(alone.triangles, fragments.triangles[1:], 0.0, "a picture must not depend on the others")
    _check_interpolation(subject, renderer, vertices, faces, fragments)


def _check_fragments(subject: Subject[Renderer], fragments: Fragments, expected: Reference) -> None:
    triangles, depth = fragments.triangles.cpu(), fragments.depth.detach().cpu().double()
    subject.require(
        triangles.shape == expected.triangles.shape, f"triangles must be [B, H, W], are {tuple(triangles.shape)}"
    )
    subject.require(triangles.dtype in (torch.int32, torch.int64), "triangles must be integers")
    clear = torch.from_numpy(expected.clear)
    wrong = (triangles != torch.from_numpy(expected.triangles)) & clear
    subject.require(
        not wrong.any(),
        f"{int(wrong.sum())} pixels see another triangle than the nearest that covers their centre, the first at "
        f"[picture, row, column] = {wrong.nonzero()[:1].tolist()}",
    )
    off = ((depth - torch.from_numpy(expected.depth)).abs() > DEPTH_TOLERANCE * 10) & clear
    subject.require(not off.any(), "depth must be interpolated linearly in the image, -1 where nothing is visible")
    subject.require(
        not fragments.mask.requires_grad and not fragments.depth.requires_grad, "visibility must have no gradient"
    )


def _check_interpolation(
    subject: Subject[Renderer], renderer: Renderer, vertices: Tensor, faces: Tensor, fragments: Fragments
) -> None:
    random = torch.Generator().manual_seed(2)
    seen = fragments.triangles.cpu().long()
    upstream = torch.rand(len(vertices), 4, *IMAGE_SIZE, generator=random)
    own = torch.rand(len(vertices), vertices.shape[1], 4, generator=random)
    loose = torch.rand(len(vertices), 7, 4, generator=random)
    loose_faces = torch.randint(7, faces.shape, generator=random)
    for what, attributes, attribute_faces in (("vertex", own, None), ("corner", loose, loose_faces)):
        index = faces.cpu() if attribute_faces is None else attribute_faces
        expected = _values_and_gradients(
            vertices.cpu().double(),
            attributes.double(),
            upstream.double(),
            lambda v, a, index=index: interpolate_reference(v, faces.cpu(), seen, a[:, index]),  # type: ignore[misc]
        )

        def render(v: Tensor, a: Tensor, own_faces: Tensor | None = attribute_faces) -> Tensor:
            corners = None if own_faces is None else own_faces.to(v.device)
            return renderer.interpolate(renderer.rasterize(v, faces, IMAGE_SIZE), a, corners)

        actual = _values_and_gradients(
            vertices, attributes.to(vertices.device), upstream.to(vertices.device), render, renderer.differentiable
        )
        subject.require_same(actual[0], expected[0], VALUE_TOLERANCE, f"{what} attributes must be linear in the image")
        subject.require(not actual[0][:, :, 0, 0].any(), "the background must be zero")
        if renderer.differentiable:
            promise = f"gradient of {what} attributes with respect to"
            subject.require_same(actual[1], expected[1], GRADIENT_TOLERANCE, f"{promise} the attributes")
            if not renderer.silhouette_gradient:
                subject.require_same(actual[2], expected[2], GRADIENT_TOLERANCE, f"{promise} vertex x and y")


def _values_and_gradients(
    vertices: Tensor,
    attributes: Tensor,
    upstream: Tensor,
    render: Callable[[Tensor, Tensor], Tensor],
    differentiable: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """The picture, and what ``upstream`` sends back to the attributes and to x and y of the vertices."""
    v, a = vertices.clone().requires_grad_(differentiable), attributes.clone().requires_grad_(differentiable)
    picture = render(v, a)
    if not differentiable:
        return picture, torch.empty(0), torch.empty(0)
    to_attributes, to_vertices = torch.autograd.grad((picture * upstream).sum(), (a, v))
    return picture.detach(), to_attributes, to_vertices[..., :2]
