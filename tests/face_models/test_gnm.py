"""GNM Head through ``body-models``, on a synthetic file in the format that package documents."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

pytest.importorskip("body_models", reason="the extra 'gnm' is not installed")

from emoca_core.errors import MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing import check_component
from emoca_plugins.face_models.gnm import GnmHead, ibug_order

RADIUS = 0.1
SIDES = 12


def published() -> dict[str, np.ndarray]:
    """A bumpy sphere with every entry of ``gnm_head.npz`` that is read."""
    random = np.random.default_rng(0)
    latitude = np.linspace(-1.2, 1.2, SIDES)[:, None]
    longitude = (np.arange(SIDES) / SIDES * 2 * np.pi)[None]
    latitude, longitude = np.broadcast_arrays(latitude, longitude)
    points = [np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)]
    vertices = np.stack(points, -1).reshape(-1, 3) * RADIUS
    corner = np.arange(SIDES**2).reshape(SIDES, SIDES)
    right = np.roll(corner, -1, axis=1)
    lower, upper = [corner[:-1], right[:-1], corner[1:]], [right[:-1], right[1:], corner[1:]]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in (lower, upper)])
    count = len(vertices)
    groups = np.zeros((2, count))
    groups[0], groups[1, triangles[7]] = 1, 1
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": vertices,
        "vertex_identity_basis": random.normal(scale=2e-4, size=(253, count, 3)),
        "expression_basis": random.normal(scale=2e-4, size=(383, count, 3)),
        "skinning_weights": random.dirichlet(np.ones(4), size=count).T,
        "pose_correctives_regressor": random.normal(scale=1e-3, size=(36, count * 3)),
        "triangles": triangles,
        "template_joint_positions": np.array([[0, -1, 0], [0, -0.4, 0], [0.3, 0.3, 0.7], [-0.3, 0.3, 0.7]]) * RADIUS,
        "joint_identity_basis": random.normal(scale=2e-4, size=(253, 4, 3)),
        "joint_parent_indices": np.array([-1, 0, 1, 1]),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "identity_names": np.array([f"head_{k}" for k in range(253)]),
        "expression_names": np.array([f"lower_face_region_{k}" for k in range(383)]),
        "vertex_group_names": np.array(["skin", "eye_exteriors"]),
        "vertex_groups": groups,
    }


def landmark_rows(vertices: np.ndarray) -> np.ndarray:
    """68 rows ``i0 w0 i1 w1 i2 w2`` near a schematic face."""
    random = np.random.default_rng(1)
    points = frontal_landmarks().numpy() * [0.8 * RADIUS, -0.8 * RADIUS]
    depth = np.sqrt(np.maximum(RADIUS**2 - (points**2).sum(1, keepdims=True), 0))
    nearest = np.linalg.norm(vertices[:, None] - np.hstack([points, depth]), axis=-1).argsort(0)[:3].T
    rows = np.empty((68, 6))
    rows[:, 0::2] = nearest
    rows[:, 1::2] = np.sort(random.dirichlet(np.ones(3) * 3, size=68))[:, ::-1]
    return rows


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch) -> dict[str, np.ndarray]:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = published()
    np.savez(tmp_path / "gnm_head.npz", **arrays)
    rows = landmark_rows(arrays["template_vertex_positions"])
    lines = [" ".join(f"{v:.0f}" if k % 2 == 0 else f"{v:.8f}" for k, v in enumerate(row)) for row in rows]
    (tmp_path / "head_sparse_68.txt").write_text("\n".join(lines) + "\n")
    added = list(add_files([tmp_path / "gnm_head.npz", tmp_path / "head_sparse_68.txt"]))
    assert [one.record.name for one in added] == ["gnm_head", "gnm_landmarks"]
    return {**arrays, "rows": rows}


def random_code(batch: int) -> FaceParameters:
    generator = torch.Generator().manual_seed(0)
    sizes = {"shape": 253, "expression": 383, "global_pose": 3, "neck_pose": 3, "eye_pose": 6}
    scale = {"shape": 1.0, "expression": 1.0}
    return FaceParameters(
        **{n: torch.randn(batch, size, generator=generator) * scale.get(n, 0.3) for n, size in sizes.items()}
    )


def naive_gnm(arrays: dict[str, np.ndarray], code: FaceParameters, k: int) -> np.ndarray:
    """One face in float64: linear blendshapes, correctives of all four joints, skinning, then the global turn."""
    shape, expression = code.shape[k].double().numpy(), code.expression[k].double().numpy()
    rest = arrays["template_vertex_positions"] + np.tensordot(shape, arrays["vertex_identity_basis"], 1)
    rest = rest + np.tensordot(expression, arrays["expression_basis"], 1)
    joints = arrays["template_joint_positions"] + np.tensordot(shape, arrays["joint_identity_basis"], 1)
    vectors = np.concatenate([np.zeros(3), code.neck_pose[k].numpy(), code.eye_pose[k].numpy()]).reshape(4, 3)
    rotations = Rotation.from_rotvec(vectors.astype(float)).as_matrix()
    bend = (rotations - np.eye(3)).reshape(-1)
    rest = rest + (bend @ arrays["pose_correctives_regressor"]).reshape(-1, 3)
    world: list[np.ndarray] = []
    for joint, parent in enumerate(arrays["joint_parent_indices"]):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    posed = np.zeros_like(rest)
    for weights, transform, joint in zip(arrays["skinning_weights"], world, joints, strict=True):
        posed += weights[:, None] * ((rest - joint) @ transform[:3, :3].T + transform[:3, 3])
    turn = Rotation.from_rotvec(code.global_pose[k].double().numpy()).as_matrix()
    return (posed - joints[0]) @ turn.T + joints[0]


def test_float32_agrees_with_the_naive_twin(arrays):
    model, code = GnmHead(), random_code(3)
    geometry = model(code)
    indices, weights = arrays["rows"][:, 0::2].astype(int), arrays["rows"][:, 1::2]
    order = ibug_order((arrays["template_vertex_positions"][indices] * weights[..., None]).sum(1))
    for k in range(3):
        expected = naive_gnm(arrays, code, k)
        assert np.abs(geometry.vertices[k].numpy() - expected).max() < 3e-7  # metres; 600 terms in float32
        points = (expected[indices] * weights[..., None]).sum(1)[order]
        assert np.abs(geometry.landmarks["ibug68"][k].numpy() - points).max() < 3e-7


def test_cornea_is_left_out(arrays):
    model = GnmHead()
    assert len(model.faces) == len(arrays["triangles"]) - 1
    assert arrays["triangles"][7].tolist() not in model.faces.tolist()
    assert model.vertex_masks["eye_exteriors"].sum() == 3


def test_ibug_order_mends_a_reversed_jaw_and_mirrored_sides():
    points = np.hstack([frontal_landmarks().numpy() * [1, -1], np.ones((68, 1))])
    assert np.array_equal(ibug_order(points), np.arange(68))
    jumbled = np.arange(68)
    jumbled[2:7] = jumbled[2:7][::-1]
    assert np.array_equal(points[jumbled][ibug_order(points[jumbled])], points)
    mirrored = points * [-1, 1, 1]  # numbered from the subject's left ear
    assert (mirrored[ibug_order(mirrored)][36:42, 0] < 0).all()
    assert (mirrored[ibug_order(mirrored)][0:8, 0] < 0).all()


def test_names_of_coefficients(arrays):
    model = GnmHead()
    assert model.shape_names[:2] == ("head_0", "head_1")
    assert len(model.expression_names) == 383


def test_given_files_and_gradients(arrays, tmp_path):
    params = GnmHead.Params(model=tmp_path / "gnm_head.npz", landmarks=tmp_path / "head_sparse_68.txt")
    model = GnmHead(params).double()
    names = ["shape", "expression", "global_pose", "neck_pose", "eye_pose"]
    blocks = [block.double().requires_grad_() for block in random_code(2).blocks().values()]

    def run(*values: torch.Tensor) -> torch.Tensor:
        return model(FaceParameters(**dict(zip(names, values, strict=True)))).vertices[:, ::11]

    assert torch.autograd.gradcheck(run, blocks, fast_mode=True)


def test_missing_files_are_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        GnmHead()
    assert "gnm_head.npz" in str(caught.value) and "head_sparse_68.txt" in str(caught.value)


def test_conformance(arrays):
    check_component("face_model", "gnm")
