"""Which triangle a pixel sees: every kernel against a z-buffer in exact rational arithmetic, and hard cases."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emoca_core.errors import ParamsError

from .scenes import Scene, make_scene, zbuffer

RULES = ("strict", "top_left")
NAN, INF = float("nan"), float("inf")


def naive_triangles(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], fill_rule: str, pytorch3d: bool = False
) -> np.ndarray:
    """A z-buffer by the book, in rational numbers: no fixed point, no boxes, no increments. Only snapping is shared."""
    height, width = size
    snapped = [
        [
            Fraction(round((float(value) + 1) * side / 2 * 65536 - 32768), 65536)
            for value, side in zip(v, size[::-1], strict=True)
        ]
        for v in vertices[:, :2].double()
    ]
    seen, nearest = np.full(size, -1), np.full(size, np.inf)
    for index, face in enumerate(faces.tolist()):
        corners, depths = [snapped[v] for v in face], [Fraction(float(vertices[v, 2])) for v in face]
        area = cross(corners[0], corners[1], corners[2])
        # PyTorch3D: the areas of the parts over (twice the signed area + 1e-8), in NDC, clockwise positive
        doubled = -area * 4 / (height * width)
        ratio = doubled / (doubled + Fraction(1, 10**8)) if pytorch3d else Fraction(1)
        if area < 0:
            corners[1:], depths[1:], area = corners[:0:-1], depths[:0:-1], -area
        if area == 0:
            continue
        for row in range(height):
            for column in range(width):
                pixel = [Fraction(column), Fraction(row)]
                edges = [(corners[(k + 1) % 3], corners[(k + 2) % 3]) for k in range(3)]
                parts = [cross(start, end, pixel) for start, end in edges]
                if not all(owns(part, *edge, fill_rule) for part, edge in zip(parts, edges, strict=True)):
                    continue
                depth = np.float32(ratio * sum(p * z for p, z in zip(parts, depths, strict=True)) / area)
                if depth < nearest[row, column]:
                    nearest[row, column], seen[row, column] = depth, index
    return seen


def cross(a: list[Fraction], b: list[Fraction], c: list[Fraction]) -> Fraction:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def owns(part: Fraction, start: list[Fraction], end: list[Fraction], fill_rule: str) -> bool:
    if part != 0 or fill_rule == "strict":
        return part > 0
    return end[1] < start[1] or (end[1] == start[1] and end[0] > start[0])


@pytest.mark.parametrize("fill_rule", RULES)
@pytest.mark.parametrize("kernel", ["numba", "torch"])
@pytest.mark.parametrize("seed", range(3))
def test_against_rational_arithmetic(kernel: str, fill_rule: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(1, 14, 3, generator=generator) * torch.tensor([2.4, 2.4, 3]) - torch.tensor([1.2, 1.2, -1])
    faces = torch.stack([torch.randperm(14, generator=generator)[:3] for _ in range(16)])
    size = (9, 13)
    expected = naive_triangles(vertices[0], faces, size, fill_rule)
    assert np.array_equal(zbuffer(kernel, fill_rule).rasterize(vertices, faces, size).triangles[0].numpy(), expected)


@pytest.mark.parametrize("kernel", ["numba", "torch"])
@pytest.mark.parametrize("seed", range(2))
def test_depth_as_pytorch3d_compares_it(kernel: str, seed: int) -> None:
    """Small triangles, in both windings, just before and behind a large one: the epsilon decides who is seen."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size = (9, 13)
    large = torch.tensor([[-3.0, -3, 2], [3, -3, 2], [0, 4, 2]])
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], -1).reshape(-1, 1, 2).float()
    around = torch.tensor([[-1.0, -1], [1, -1], [0, 1]]) * 10 ** (
        -3.5 + torch.rand(len(centre), 1, 1, generator=generator)
    )
    near = 2 + 0.05 * (torch.rand(len(centre), 1, 1, generator=generator) - 0.5).expand(-1, 3, -1)
    small = torch.cat([centre + around, near], -1)
    vertices = torch.cat([large[None], small]).reshape(1, -1, 3)
    faces = torch.arange(vertices.shape[1]).reshape(-1, 3)
    faces[2::2] = faces[2::2].flip(1)
    exact, theirs = (
        zbuffer(kernel, depth=depth).rasterize(vertices, faces, size).triangles[0].numpy()
        for depth in ("exact", "pytorch3d")
    )
    assert (exact != theirs).sum() > 5  # or the rule would not be seen
    assert np.array_equal(exact, naive_triangles(vertices[0], faces, size, "strict"))
    assert np.array_equal(theirs, naive_triangles(vertices[0], faces, size, "strict", pytorch3d=True))


@pytest.mark.parametrize("fill_rule", RULES)
@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_edges_through_pixel_centres(kernel: str, fill_rule: str) -> None:
    # all vertices of this lattice are pixel centres: the worst case for the rule
    columns = torch.arange(5, dtype=torch.float64) * 2 + 1
    centres = -1 + (2 * columns + 1) / 12
    x, y = torch.meshgrid(centres, centres, indexing="xy")
    vertices = torch.stack([x, y, torch.full_like(x, 3)], -1).reshape(1, -1, 3).float()
    corner = (torch.arange(4)[:, None] * 5 + torch.arange(4)).flatten()
    faces = torch.cat(
        [torch.stack([corner, corner + 1, corner + 5], -1), torch.stack([corner + 1, corner + 6, corner + 5], -1)]
    )
    seen = zbuffer(kernel, fill_rule).rasterize(vertices, faces, (12, 12)).triangles[0].numpy()
    assert np.array_equal(seen, naive_triangles(vertices[0], faces, (12, 12), fill_rule))
    half_open = np.zeros((12, 12), bool)
    half_open[1:9, 1:9] = True
    if fill_rule == "top_left":
        assert np.array_equal(seen >= 0, half_open)  # no holes inside, and the border's pixels once
    else:
        assert not (seen[1:10:2] >= 0).any()  # centres on edges belong to nobody


@pytest.mark.parametrize("fill_rule", RULES)
@pytest.mark.parametrize("size", [(96, 96), (61, 130)])
@pytest.mark.parametrize("depth", ["exact", "pytorch3d"])
def test_kernels_agree_bit_by_bit(fill_rule: str, size: tuple[int, int], depth: str) -> None:
    scene = make_scene(3, 40, 60)
    fast, reference = (
        zbuffer(kernel, fill_rule, depth).rasterize(scene.projected, scene.topology.faces, size)
        for kernel in ("numba", "torch")
    )
    # the goal is 99.99 %; integers and one order of rounding make it all of them, ties included
    assert torch.equal(fast.triangles, reference.triangles)
    assert torch.equal(fast.depth, reference.depth)
    assert fast.mask.mean() > 0.2


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_ties_go_to_the_lowest_index(kernel: str) -> None:
    vertices = torch.tensor([[[-0.9, -0.9, 2], [0.9, -0.9, 2], [0.0, 0.9, 2]]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 2], [1, 2, 0]])  # one triangle three times, in both windings
    fragments = zbuffer(kernel).rasterize(vertices, faces, (8, 8))
    assert set(fragments.triangles.unique().tolist()) == {-1, 0}
    assert fragments.depth[fragments.triangles == 0].eq(2).all()


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_nearer_wins_and_empty_is_minus_one(kernel: str) -> None:
    triangle = torch.tensor([[-0.9, -0.9], [0.9, -0.9], [0.0, 0.9]])
    vertices = torch.cat([torch.nn.functional.pad(triangle, (0, 1), value=depth) for depth in (5.0, 4.0)])[None]
    fragments = zbuffer(kernel).rasterize(vertices, torch.arange(6).reshape(2, 3), (8, 8))
    assert set(fragments.triangles.unique().tolist()) == {-1, 1}
    assert fragments.depth[fragments.triangles < 0].eq(-1).all()
    assert torch.equal(fragments.mask[:, 0], (fragments.triangles >= 0).float())


GOOD = ([-0.5, -0.5, 5], [0.5, -0.5, 5], [0.0, 0.5, 5])
BAD = {
    "behind the camera": ([-0.5, -0.5, -1], GOOD[1], GOOD[2]),
    "in the camera's plane": ([-0.5, -0.5, 0], GOOD[1], GOOD[2]),
    "x is NaN": ([NAN, -0.5, 5], GOOD[1], GOOD[2]),
    "y is NaN": (GOOD[0], [0.5, NAN, 5], GOOD[2]),
    "depth is NaN": (GOOD[0], GOOD[1], [0, 0.5, NAN]),
    "x is infinite": ([INF, -0.5, 5], GOOD[1], GOOD[2]),
    "y is infinite": ([0.5, -INF, 5], GOOD[1], GOOD[2]),
    "depth is infinite": (GOOD[0], GOOD[1], [0, 0.5, INF]),
    "a line": ([-0.5, -0.5, 5], [0, 0, 5], [0.5, 0.5, 5]),
    "a point": (GOOD[0], GOOD[0], GOOD[0]),
    "a sliver below the limit": ([0.031, 0.03, 5], [0.031 + 1e-4, 0.03, 5], [0.031, 0.03 + 5e-5, 5]),
    "beyond the guard band": ([-5000, -5000, 5], [5000, -5000, 5], [0, 7000, 5]),
    "off-screen": ([2, 2, 5], [3, 2, 5], [2, 3, 5]),
}


@pytest.mark.parametrize("kernel", ["numba", "torch"])
@pytest.mark.parametrize("name", BAD)
def test_bad_triangles_are_dropped_and_the_others_drawn(kernel: str, name: str) -> None:
    vertices = torch.tensor([[*BAD[name], *([x, y, 7.0] for x, y, _ in GOOD)]])
    alone = zbuffer(kernel).rasterize(torch.tensor([GOOD]), torch.tensor([[0, 1, 2]]), (32, 32))
    both = zbuffer(kernel).rasterize(vertices, torch.arange(6).reshape(2, 3), (32, 32))
    assert (both.triangles == 1).sum() == (alone.triangles == 0).sum() > 0
    assert not (both.triangles == 0).any()


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_triangle_far_larger_than_the_image_is_drawn(kernel: str) -> None:
    vertices = torch.tensor([[[-500.0, -500, 5], [500, -500, 5], [0, 700, 5]]])
    assert zbuffer(kernel).rasterize(vertices, torch.tensor([[0, 1, 2]]), (32, 32)).mask.all()


coordinate = st.one_of(st.floats(-3, 3, width=32), st.sampled_from([NAN, INF, -INF, 0.0, 1e30, -1e30, 1e-30]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=3, max_size=9), st.integers(1, 9))
def test_anything_goes_and_kernels_agree(points: list[tuple[float, float, float]], side: int) -> None:
    vertices = torch.tensor([points])
    faces = torch.combinations(torch.arange(len(points)), 3)[:40]
    fast, reference = (zbuffer(kernel).rasterize(vertices, faces, (side, 9)) for kernel in ("numba", "torch"))
    assert torch.equal(fast.triangles, reference.triangles)
    assert torch.equal(fast.depth, reference.depth)


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_items_of_a_batch_do_not_meet(scene: Scene, kernel: str) -> None:
    together = zbuffer(kernel).rasterize(scene.projected, scene.topology.faces, (40, 40))
    for item in range(2):
        alone = zbuffer(kernel).rasterize(scene.projected[item : item + 1], scene.topology.faces, (40, 40))
        assert torch.equal(together.triangles[item], alone.triangles[0])
        assert torch.equal(together.depth[item], alone.depth[0])


@pytest.mark.parametrize("kernel", ["numba", "torch"])
@pytest.mark.parametrize(("batch", "count"), [(0, 3), (2, 0)])
def test_empty_batches_and_meshes(kernel: str, batch: int, count: int) -> None:
    faces = torch.zeros(count, 3, dtype=torch.int64)
    fragments = zbuffer(kernel).rasterize(torch.ones(batch, 4, 3), faces, (5, 6))
    assert fragments.triangles.shape == (batch, 5, 6)
    assert zbuffer(kernel).interpolate(fragments, torch.ones(batch, 4, 2)).shape == (batch, 2, 5, 6)


def test_float64_and_half_precision(scene: Scene) -> None:
    exact = zbuffer("auto").rasterize(scene.projected.double(), scene.topology.faces, (40, 40))
    single = zbuffer("auto").rasterize(scene.projected, scene.topology.faces, (40, 40))
    assert exact.depth.dtype == torch.float64
    assert (exact.triangles != single.triangles).float().mean() < 1e-4  # vertices differ by a rounding only
    half = zbuffer("auto").rasterize(scene.projected.half(), scene.topology.faces, (40, 40))
    image = zbuffer("auto").interpolate(half, torch.ones(2, scene.vertices.shape[1], 1).half())
    assert image.dtype == torch.float32


@pytest.mark.parametrize("faces", [[[0, 1, 3]], [[0, -1, 2]]])
def test_triangles_without_vertices_are_refused(faces: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="triangles refer to vertices"):
        zbuffer().rasterize(torch.ones(1, 3, 3), torch.tensor(faces), (4, 4))


@pytest.mark.parametrize("size", [(0, 4), (4, 10_000)])
def test_absurd_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="each side must be"):
        zbuffer().rasterize(torch.ones(1, 3, 3), torch.tensor([[0, 1, 2]]), size)


def test_kernel_for_another_device_is_refused(scene: Scene) -> None:
    with pytest.raises(ParamsError, match="runs on cuda, the mesh is on cpu"):
        zbuffer("triton").rasterize(scene.projected, scene.topology.faces, (4, 4))
