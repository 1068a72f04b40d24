"""ICT FaceKit from a clone of its repository: here a small one with the published vertex numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing import check_component
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.face_models.head_files import ICT_EXPRESSIONS, NEUTRAL
from emoca_plugins.face_models.ict_facekit import ATLAS_SIDE, HELPERS, LANDMARKS, PARTS, IctFaceKit

VERTICES = 26719
IDENTITIES = 3


def lines_of(vertices: np.ndarray) -> list[str]:
    return ["v {:.6f} {:.6f} {:.6f}".format(*point) for point in vertices.tolist()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A clone with all vertices, but few triangles, three identities and displacements of a few vertices."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("ict") / "ICT-FaceKit" / "FaceXModel"
    folder.mkdir(parents=True)
    points = random.normal(size=(VERTICES, 3))
    neutral = points / np.linalg.norm(points, axis=1, keepdims=True) * 12  # centimetres
    face = np.hstack([frontal_landmarks().numpy() * [9, -9], np.full((68, 1), 8.0)])
    face[:, 2] = np.sqrt(144 - (face[:, :2] ** 2).sum(1))
    neutral[list(LANDMARKS)] = face
    spikes = [first for first, _ in PARTS.values()]
    lines = [f"vt {u:.5f} {v:.5f}" for u, v in random.uniform(0.01, 0.99, (3 * len(spikes), 2))]
    triangles = [(a, a + 1, a + 2) for a in spikes]
    for k, (a, b, c) in enumerate(triangles):  # outwards
        normal = np.cross(neutral[b] - neutral[a], neutral[c] - neutral[a])
        b, c = (b, c) if normal @ neutral[a] > 0 else (c, b)
        lines.append(f"f {a + 1}/{3 * k + 1} {b + 1}/{3 * k + 2} {c + 1}/{3 * k + 3}")
    rest = "\n".join(lines) + "\n"
    shapes, unmoved = {"neutral": neutral}, lines_of(neutral)
    (folder / NEUTRAL).write_text("\n".join([*unmoved, rest]))
    for name in [*(f"identity{k:03d}" for k in range(IDENTITIES)), *ICT_EXPRESSIONS]:
        shapes[name] = neutral.copy()
        some = np.concatenate([random.permutation(VERTICES)[:50], spikes])
        shapes[name][some] += random.normal(scale=0.1, size=(len(some), 3))
        moved = unmoved.copy()
        for vertex, line in zip(some, lines_of(shapes[name][some]), strict=True):
            moved[vertex] = line
        (folder / f"{name}.obj").write_text("\n".join([*moved, rest]))
    (folder / "PupilDilate_L.obj").write_text("not even a mesh")  # later additions of the repository are left alone
    return folder.parent, shapes


@pytest.fixture(scope="module")
def converted(clone, tmp_path_factory) -> Path:
    assets = tmp_path_factory.mktemp("assets")
    assert [added.record.name for added in add_files([clone[0]], folder=assets)] == ["ict_facekit"]
    return assets / "ict_facekit.npz"


@pytest.fixture
def model(converted) -> IctFaceKit:
    return IctFaceKit(IctFaceKit.Params(model=converted))


def test_morph_targets_in_metres(model, clone):
    """One identity and two expressions together, against the meshes, in float64."""
    _, shapes = clone
    pick = (ICT_EXPRESSIONS.index("jawOpen"), ICT_EXPRESSIONS.index("mouthSmile_R"))
    expression = torch.zeros(1, 53)
    expression[0, list(pick)] = torch.tensor([0.7, 0.4])
    geometry = model(FaceParameters(shape=torch.tensor([[0.0, 1.5]]), expression=expression))
    neutral = shapes["neutral"]
    expected = neutral + 1.5 * (shapes["identity001"] - neutral) + 0.7 * (shapes["jawOpen"] - neutral)
    expected += 0.4 * (shapes["mouthSmile_R"] - neutral)
    # the OBJ text has steps of 1e-6 cm, four of them are summed; then float32 of 0.12 m
    assert np.abs(geometry.vertices[0].numpy() - expected * 0.01).max() < 5e-8
    assert np.abs(geometry.landmarks["ibug68"][0].numpy() - expected[list(LANDMARKS)] * 0.01).max() < 5e-8


def test_expressions_have_arkit_names(model):
    names = set(model.expression_names)
    split = {"browInnerUp", "cheekPuff", "tongueOut"}
    assert len(model.expression_names) == 53
    assert set(ARKIT_NAMES) - split <= names
    assert names - set(ARKIT_NAMES) == {
        f"{n}{side}" for n in ("browInnerUp", "cheekPuff") for side in ("Left", "Right")
    }


def test_helper_shells_are_hidden_but_can_be_had(model, converted):
    everything = IctFaceKit(IctFaceKit.Params(model=converted, helper_shells=True))
    hidden = {PARTS[name][0] for name in HELPERS}
    assert {int(face.min()) for face in everything.faces} - {int(face.min()) for face in model.faces} == hidden
    assert len(model.uv_faces) == len(model.faces) == len(PARTS) - len(HELPERS)


def test_parts_are_a_partition(model):
    total = sum(mask.long() for mask in model.vertex_masks.values())
    assert torch.equal(total, torch.ones(VERTICES, dtype=torch.long))
    assert model.vertex_masks["teeth"].sum() == 4412


def test_eyeballs_have_their_own_place_in_the_texture(model):
    tiles = (model.uv[model.uv_faces] * ATLAS_SIDE).floor().long()
    eyeball = model.vertex_masks["left_eyeball"][model.faces[:, 0]]
    assert set(map(tuple, tiles[eyeball].flatten(0, 1).tolist())) == {(1, 2)}
    assert set(map(tuple, tiles[~eyeball][0].tolist())) == {(0, 0)}


def test_gradients(model):
    model = model.double()
    blocks = [torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (3, 53, 3)]

    def run(shape: torch.Tensor, expression: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        code = FaceParameters(shape=shape, expression=expression, global_pose=pose)
        return model(code).vertices[:, ::1999]

    assert torch.autograd.gradcheck(run, blocks, fast_mode=True)


def test_an_incomplete_clone_says_what_is_missing(clone, tmp_path):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    (folder / NEUTRAL).write_bytes((clone[0] / "FaceXModel" / NEUTRAL).read_bytes())
    (result,) = add_files([tmp_path], folder=tmp_path / "assets")
    assert "browDown_L.obj" in result.problem and result.record is None


def test_conformance(converted):
    check_component("face_model", "ict_facekit", {"model": str(converted)})
