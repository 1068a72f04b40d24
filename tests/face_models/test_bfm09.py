"""Deep3DFace's Basel Face Model against the published maths, and built from its original parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from published import GOLDENS

from emoca_core.errors import AssetFormatError
from emoca_core.formats import open_asset
from emoca_core.formats.add import add_files
from emoca_core.geometry.rotations import matrix_to_rotation_vector
from emoca_core.interfaces import FaceParameters, PerspectiveCamera
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing import check_component
from emoca_plugins.face_models.bfm09 import DECIMETRE, Bfm09
from emoca_plugins.face_models.bfm_files import BFM09_FRONT

FOCAL, CENTRE, DISTANCE = 1015.0, 112.0, 10.0
"""Published camera: pixels, pixels, decimetres."""


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDENS / "deep3dface_bfm.npz")


@pytest.fixture
def model_file(golden, tmp_path: Path) -> Path:
    path = tmp_path / "BFM_model_front.mat"
    scipy.io.savemat(path, {name[6:]: golden[name] for name in golden.files if name.startswith("asset.")})
    return path


@pytest.fixture
def model(model_file, tmp_path, monkeypatch) -> Bfm09:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    assert [added.record.name for added in add_files([model_file])] == ["bfm09"]
    return Bfm09()


@pytest.fixture
def code(golden) -> FaceParameters:
    coefficients = torch.from_numpy(golden["coeffs"])
    # published: points @ R with R = (Rz Ry Rx)^T; a rotation vector turns columns
    rotation = torch.from_numpy(golden["rotation"]).mT
    return FaceParameters(
        shape=coefficients[:, :80],
        expression=coefficients[:, 80:144],
        albedo=coefficients[:, 144:224],
        global_pose=matrix_to_rotation_vector(rotation),
    )


def test_published_shape_and_texture(golden, model, code):
    shape = model(code.replace(global_pose=None)).vertices.numpy() / DECIMETRE
    assert np.abs(shape - golden["shape"]).max() < 3e-6  # decimetres; 144 terms in float32, values to 1.5
    colors = model.albedo(code).vertex_colors.numpy()
    assert np.abs(colors - golden["texture"]).max() < 2e-6
    assert np.array_equal(model.faces.numpy() + 1, golden["asset.tri"])
    assert np.array_equal(model.vertex_masks["skin"].numpy(), golden["asset.skinmask"][0] > 0)


def test_published_camera_and_landmarks(golden, model, code):
    trans = torch.from_numpy(golden["coeffs"][:, 254:257])
    translation = torch.stack([trans[:, 0], -trans[:, 1], DISTANCE - trans[:, 2]], 1) * DECIMETRE
    size = torch.tensor([FOCAL / CENTRE])
    camera = PerspectiveCamera(size.expand(3, 2), torch.zeros(3, 2), translation)
    geometry = model(code)
    in_camera = camera.to_camera_axes(geometry.vertices).numpy() / DECIMETRE * [1, -1, 1]  # published y points up
    assert np.abs(in_camera - golden["vertex_cam"]).max() < 1e-5  # decimetres, depths of 10: float32 steps of 1e-6
    image = camera.project(geometry.landmarks["ibug68"])[..., :2].numpy()
    pixels = CENTRE + CENTRE * image * [1, -1]
    assert np.abs(pixels - golden["lm68"]).max() < 5e-4  # pixels up to 224


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def test_published_normals_and_colours(golden, model, code):
    """Spherical harmonics as published (band order, constants, +0.8), written out here once more."""
    vertices = model(code.replace(global_pose=None)).vertices.numpy().astype(np.float64)
    a, b, c = (vertices[:, model.faces[:, corner]] for corner in range(3))
    triangles = np.pad(unit(np.cross(b - a, c - a)), ((0, 0), (0, 1), (0, 0)))  # the filler of the table is a zero row
    normals = unit(triangles[:, golden["asset.point_buf"].astype(int) - 1].sum(2))  # at most eight around a vertex
    assert np.abs(normals - golden["norm"]).max() < 1e-5  # unit vectors of small triangles
    nx, ny, nz = np.moveaxis(normals @ golden["rotation"], -1, 0)
    a = np.array([np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8)])
    c = np.array([1 / np.sqrt(4 * np.pi), np.sqrt(3 / (4 * np.pi)), 3 * np.sqrt(5 / (12 * np.pi))])
    (k0, k1, k2), one = a * c, np.ones_like(nx)
    basis = np.stack(
        [
            *(k0 * one, -k1 * ny, k1 * nz, -k1 * nx),
            *(k2 * nx * ny, -k2 * ny * nz, 0.5 * k2 / np.sqrt(3) * (3 * nz**2 - 1)),
            *(-k2 * nx * nz, 0.5 * k2 * (nx**2 - ny**2)),
        ],
        -1,
    )
    gamma = golden["coeffs"][:, 227:254].reshape(-1, 3, 9) + np.eye(9)[0] * 0.8
    colours = model.albedo(code).vertex_colors.numpy() * (basis @ gamma.transpose(0, 2, 1))
    assert np.abs(colours - golden["color"]).max() < 1e-5


def test_float32_agrees_with_a_float64_twin(golden, model, code):
    mean = golden["asset.meanshape"].astype(float).reshape(-1, 3)
    for k in range(len(code)):
        offset = golden["asset.idBase"].astype(float) @ code.shape[k].double().numpy()
        offset += golden["asset.exBase"].astype(float) @ code.expression[k].double().numpy()
        points = (mean - mean.mean(0) + offset.reshape(-1, 3)) @ golden["rotation"][k].astype(float)
        vertices = model(code).vertices[k].numpy()
        assert np.abs(vertices - points * DECIMETRE).max() < 5e-7  # metres; 0.15 m and 144 terms in float32
        landmarks = points[golden["asset.keypoints"][0].astype(int) - 1] * DECIMETRE
        assert np.abs(model(code).landmarks["ibug68"][k].numpy() - landmarks).max() < 5e-7


def test_gradients(model_file):
    model = Bfm09(Bfm09.Params(model=model_file, shape_size=3, expression_size=2, albedo_size=2)).double()
    blocks = [torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (3, 2, 2, 3)]

    def run(shape: torch.Tensor, expression: torch.Tensor, albedo: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        code = FaceParameters(shape=shape, expression=expression, albedo=albedo, global_pose=pose)
        return torch.cat([model(code).vertices[:, ::20], model.albedo(code).vertex_colors[:, ::20]], 1)

    assert torch.autograd.gradcheck(run, blocks, fast_mode=True)


# ------------------------------------------------------------------------------------------ a face, and its parts


def write_original_parts(folder: Path) -> dict[str, np.ndarray]:
    """The six files that the published model is built from, of a small face: 14x12 grid, 12x12 of it with
    expressions, 11x11 of that in front."""
    random = np.random.default_rng(3)
    rows, columns, front = 14, 12, 11
    y, x = np.mgrid[1 : -1 : rows * 1j, -1 : 1 : columns * 1j]
    depth = 0.8 - 0.5 * x**2 - 0.3 * y**2
    mean = np.stack([x, y, depth], -1).reshape(-1, 1) * 1e5
    grid = np.arange(rows * columns).reshape(rows, columns)
    trimmed = grid[1:13].ravel()
    on_expression = np.arange(144).reshape(12, 12)[:front, :front].ravel()
    corner = np.arange(front**2).reshape(front, front)
    quads = [corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]]
    a, b, c, d = (quad.ravel() for quad in quads)
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, d], 1)])
    buffer = np.full((front**2, 8), len(triangles))
    for vertex in range(front**2):
        around = np.flatnonzero((triangles == vertex).any(1))
        buffer[vertex, : len(around)] = around
    data = {
        "basel": {
            "shapeMU": mean,
            "shapePC": random.normal(size=(mean.size, 99)),
            "shapeEV": random.uniform(1e2, 1e3, (99, 1)),
            "texMU": random.uniform(50, 200, (mean.size, 1)),
            "texPC": random.normal(size=(mean.size, 99)),
            "texEV": random.uniform(1, 9, (99, 1)),
            "tl": np.ones((5, 3)),
        },
        "info": {
            "tri": triangles + 1,
            "point_buf": buffer + 1,
            "keypoints": random.integers(1, front**2, (1, 68)),
            "tri_mask2": np.ones((4, 3)),
            "frontmask2_idx": np.arange(1, 40)[:, None],
            "skinmask": np.ones((1, front**2)),
        },
        "front": {"idx": on_expression[:, None] + 1},
        "trim": {"trimIndex": (trimmed[:, None] + 1).astype(np.uint16)},
    }
    for name, content in data.items():
        scipy.io.savemat(folder / f"{name}.mat", content)
    components = random.normal(size=(79, 3 * 144)).astype(np.float32)
    deviations = random.uniform(1e2, 1e3, 79)
    with open(folder / "basis.bin", "wb") as file:
        file.write(np.int32(79).tobytes() + np.zeros(3 * 144, np.float32).tobytes() + components.tobytes())
    (folder / "sigma.txt").write_text(" ".join(map(str, deviations)))
    flat = {f"{file}.{name}": array for file, content in data.items() for name, array in content.items()}
    return {**flat, "components": components, "deviations": deviations, "trimmed": trimmed, "front": on_expression}


def test_built_from_the_original_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    parts = tmp_path / "parts"
    parts.mkdir()
    source = write_original_parts(parts)
    results = list(add_files(sorted(parts.iterdir())))
    assert [added.problem for added in results] == [None, None]
    assert [added.record.name for added in results] == ["bfm_expression_index", "bfm09"]
    assert results[1].record.origin.count("+") == 5
    built = open_asset(tmp_path / "assets" / "bfm09.npz", BFM09_FRONT)
    picked = source["trimmed"][source["front"]]
    for k in (0, 7, 120):  # vertex by vertex, as the publication describes the model
        rows = slice(3 * picked[k], 3 * picked[k] + 3)
        shape = source["basel.shapePC"][rows, :80] * source["basel.shapeEV"][:80, 0] / 1e5
        assert np.allclose(built.array("shape_basis")[3 * k : 3 * k + 3], shape, rtol=1e-12)
        texture = source["basel.texPC"][rows, :80] * source["basel.texEV"][:80, 0]
        assert np.allclose(built.array("albedo_basis")[3 * k : 3 * k + 3], texture, rtol=1e-12)
        vertex = 3 * source["front"][k]
        motion = source["components"][:64, vertex : vertex + 3].T.astype(float) * source["deviations"][:64] / 1e5
        assert np.allclose(built.array("expression_basis")[3 * k : 3 * k + 3], motion, rtol=1e-12)
    mean = source["basel.shapeMU"].reshape(-1, 3)[picked] / 1e5
    assert np.allclose(built.array("mean_shape"), mean - mean.mean(0))


def test_a_part_alone_says_what_else_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    write_original_parts(tmp_path)
    results = list(add_files([tmp_path / "basel.mat", tmp_path / "basis.bin"]))
    assert [added.record for added in results] == [None]
    for name in ("std_exp.txt", "BFM_front_idx.mat", "BFM_exp_idx.mat", "facemodel_info.mat"):
        assert name in results[0].problem
    assert not (tmp_path / "assets").exists()


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    content = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    scipy.io.savemat(path, {**content, **change(content)})


def test_turned_triangles_are_turned_back(model_file, golden):
    rewrite(model_file, lambda content: {"tri": content["tri"][:, ::-1]})
    assert np.array_equal(Bfm09(Bfm09.Params(model=model_file)).faces.numpy() + 1, golden["asset.tri"])


def test_too_few_components(model_file):
    content = scipy.io.loadmat(model_file)
    scipy.io.savemat(
        model_file, {**{k: v for k, v in content.items() if k[0] != "_"}, "exBase": content["exBase"][:, :9]}
    )
    with pytest.raises(AssetFormatError, match="has 9 expression components, 64 are asked for"):
        Bfm09(Bfm09.Params(model=model_file))


def test_conformance(model, model_file, golden):
    """The golden asset's landmarks are scattered; put them where a face has them, for the check of the axes."""

    def place(content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mean = content["meanshape"].reshape(-1, 3)
        wanted = frontal_landmarks().numpy() * [1, -1]
        nearest = np.linalg.norm(mean[:, None, :2] - wanted, axis=-1).argmin(0)
        return {"keypoints": nearest[None] + 1}

    rewrite(model_file, place)
    check_component("face_model", "bfm09", {"model": str(model_file)})
