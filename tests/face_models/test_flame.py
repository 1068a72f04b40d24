"""FLAME against the published decode, a float64 twin in NumPy, and through the real asset path."""

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_flame
import torch
from published import GOLDENS
from scipy.spatial.transform import Rotation

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters, WeakPerspectiveCamera
from emoca_core.testing import check_component
from emoca_plugins.face_models.flame import Flame


def add_all(files: list[Path]) -> None:
    problems = [added.problem for added in add_files(files) if added.problem]
    assert not problems


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """The tiny head, added to an empty asset folder."""
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = tiny_flame.tiny_arrays()
    add_all(tiny_flame.write_all(tmp_path / "published", arrays))
    return arrays


def random_parameters(batch: int, seed: int = 0, **sizes: int) -> FaceParameters:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"shape": 100, "expression": 50, "global_pose": 3, "neck_pose": 3, "jaw_pose": 3, "eye_pose": 6} | sizes
    scale = {"shape": 1.0, "expression": 1.0, "albedo": 1.0, "eyelids": 1.0}
    blocks = {
        name: torch.randn(batch, size, generator=generator) * scale.get(name, 0.3) for name, size in sizes.items()
    }
    return FaceParameters(**blocks)


# ------------------------------------------------------------------------------------------ the published decode


@pytest.mark.parametrize("golden", ["shipped", "whole"])
def test_published_decode_is_reproduced(golden, request, tmp_path, monkeypatch):
    folder = GOLDENS if golden == "shipped" else request.getfixturevalue("shared") / "parity"
    golden = np.load(folder / "deca_decode.npz")
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = {name.split(".")[1]: golden[name] for name in golden.files if name.startswith(("asset.", "embedding."))}
    arrays |= {"uv": golden["vt"], "uv_faces": golden["faces_uv"].astype(np.int64)}
    files = [
        tiny_flame.write_model(tmp_path / "model.pkl", arrays),
        tiny_flame.write_embedding(tmp_path / "embedding.npy", arrays),
        tiny_flame.write_template(tmp_path / "template.obj", arrays),
    ]
    add_all(files)

    model = Flame()
    pose = torch.from_numpy(golden["pose"])
    geometry = model(
        FaceParameters(
            shape=torch.from_numpy(golden["shape"]),
            expression=torch.from_numpy(golden["expression"]),
            global_pose=pose[:, :3],
            jaw_pose=pose[:, 3:],
        )
    )
    camera = WeakPerspectiveCamera.from_code(torch.from_numpy(golden["camera"]))
    projected = camera.project(geometry.vertices)
    projected[..., 2] -= 10  # the golden vertices are taken before the rasteriser's offset
    ours = {
        "vertices": geometry.vertices,
        "landmarks2d": geometry.landmarks["ibug68"],
        "landmarks3d": geometry.landmarks["ibug68_static"],
        "trans_vertices": projected,
        "projected_landmarks2d": camera.project(geometry.landmarks["ibug68"])[..., :2],
    }
    # float32 of 0.2 m has steps of 1.5e-8 m, and the reference adds 1e-8 to every rotation vector; the depth of
    # trans_vertices was stored without the offset of 10, whose float32 has steps of 1e-6
    limit = {"trans_vertices": 1.5e-6}
    for name, value in ours.items():
        assert np.abs(value.numpy() - golden[name]).max() < limit.get(name, 1e-6), name
    assert np.array_equal(model.faces.numpy(), golden["asset.f"])
    assert np.allclose(model.uv.numpy(), golden["vt"])
    assert np.array_equal(model.uv_faces.numpy(), golden["faces_uv"])


# ------------------------------------------------------------------------------------------ an independent twin


def naive_flame(
    arrays: Mapping[str, np.ndarray], shape: np.ndarray, expression: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One face in float64, as the papers write it: no batch, one joint and one vertex at a time.

    Source: SMPL (Loper et al. 2015) eq. 2 to 10; FLAME (Li et al. 2017) eq. 1 to 5.

    Args:
        arrays: Published arrays.
        shape: Identity code.
        expression: Expression code.
        pose: [5, 3] axis-angle of root, neck, jaw, left eye, right eye.

    Returns:
        Posed vertices [V, 3] and head rotation relative to the camera [3, 3].
    """
    basis = arrays["shapedirs"]
    rest = arrays["v_template"] + basis[..., : len(shape)] @ shape
    rest = rest + basis[..., 300 : 300 + len(expression)] @ expression
    joints = arrays["J_regressor"] @ rest
    rotations = [Rotation.from_rotvec(vector).as_matrix() for vector in pose]
    rest = rest + arrays["posedirs"] @ np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
    parents = arrays["kintree_table"][0]
    world: list[np.ndarray] = []
    for joint, rotation in enumerate(rotations):
        local = np.eye(4)
        local[:3, :3] = rotation
        local[:3, 3] = joints[joint] - (joints[parents[joint]] if joint else 0)
        world.append(world[parents[joint]] @ local if joint else local)
    posed = []
    for vertex, weights in zip(rest, arrays["weights"], strict=True):
        blended = np.zeros(4)
        for weight, transform, joint in zip(weights, world, joints, strict=True):
            blended += weight * transform @ np.append(vertex - joint, 1)
        posed.append(blended[:3])
    return np.array(posed), rotations[0] @ rotations[1]


def naive_landmarks(
    arrays: Mapping[str, np.ndarray], vertices: np.ndarray, head: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Dynamic and static 68 points of one face.

    Source: the published contour rule, in degrees: clamp at 39 and round; a row per degree, 40 and up for negative.
    """
    yaw = np.degrees(np.arctan2(-head[2, 0], np.hypot(head[0, 0], head[1, 0])))
    yaw = np.round(min(yaw, 39))
    row = int(yaw if yaw >= 0 else 78 if yaw < -39 else 39 - yaw)

    def points(triangles: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([w @ vertices[arrays["f"][t].astype(int)] for t, w in zip(triangles, weights, strict=True)])

    contour = points(arrays["dynamic_lmk_faces_idx"][row], arrays["dynamic_lmk_bary_coords"][row])
    inner = points(arrays["static_lmk_faces_idx"], arrays["static_lmk_bary_coords"])
    static = points(arrays["full_lmk_faces_idx"][0], arrays["full_lmk_bary_coords"][0])
    return np.concatenate([contour, inner]), static


def test_float32_agrees_with_the_naive_twin(arrays):
    model = Flame(Flame.Params(shape_size=300, expression_size=100))
    code = random_parameters(8, shape=300, expression=100)
    yaw = torch.tensor([0.0, 0.3, -0.3, 0.66, -0.66, 0.9, -0.9, -0.681])  # both sides of the table's ends
    code = code.replace(global_pose=torch.stack([0 * yaw, yaw, 0 * yaw], 1), neck_pose=0.01 * code.neck_pose)
    geometry = model(code)
    for k in range(len(code)):
        pose = torch.cat([code.global_pose[k], code.neck_pose[k], code.jaw_pose[k], code.eye_pose[k]]).reshape(5, 3)
        vertices, head = naive_flame(arrays, code.shape[k].numpy(), code.expression[k].numpy(), pose.double().numpy())
        dynamic, static = naive_landmarks(arrays, vertices, head)
        # sums of 400 terms of 2 mm in float32: 400 x 2e-3 x 6e-8 is 5e-8 m in the worst case; metres
        assert np.abs(geometry.vertices[k].numpy() - vertices).max() < 2e-7
        assert np.abs(geometry.landmarks["ibug68"][k].numpy() - dynamic).max() < 2e-7
        assert np.abs(geometry.landmarks["ibug68_static"][k].numpy() - static).max() < 2e-7


def test_agrees_with_smplx(tmp_path):
    """Another implementation, on the same file. Its contour is left out: it takes the yaw with the opposite sign."""
    smplx = pytest.importorskip("smplx")
    arrays = tiny_flame.tiny_arrays(seed=4)
    path = tiny_flame.write_model(tmp_path / "FLAME_NEUTRAL.pkl", arrays, chumpy=False)
    static = {"lmk_face_idx": arrays["static_lmk_faces_idx"], "lmk_b_coords": arrays["static_lmk_bary_coords"]}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own use of deprecated calls
        peer = smplx.FLAME(str(path.parent), num_betas=100, num_expression_coeffs=50, batch_size=4)
    code = random_parameters(4, seed=6)
    embedding = tiny_flame.write_embedding(tmp_path / "embedding.npy", arrays)
    ours = Flame(Flame.Params(model=path, landmarks=embedding, uv=False))(code)
    theirs = peer(
        betas=code.shape,
        expression=code.expression,
        global_orient=code.global_pose,
        neck_pose=code.neck_pose,
        jaw_pose=code.jaw_pose,
        leye_pose=code.eye_pose[:, :3],
        reye_pose=code.eye_pose[:, 3:],
    )
    assert (ours.vertices - theirs.vertices).abs().max() < 2e-7  # metres; both in float32
    assert (ours.landmarks["ibug68"][:, 17:] - theirs.joints[:, -51:]).abs().max() < 2e-7


def test_static_contour_on_request(arrays):
    geometry = Flame(Flame.Params(dynamic_contour=False))(random_parameters(2))
    assert torch.equal(geometry.landmarks["ibug68"], geometry.landmarks["ibug68_static"])


def test_gradients(arrays):
    """Analytic against numerical, in float64, of every block at once."""
    model = Flame(Flame.Params(shape_size=3, expression_size=2, eyelids=True)).double()
    code = random_parameters(2, shape=3, expression=2, eyelids=2)
    names = list(code.blocks())

    def run(*blocks: torch.Tensor) -> torch.Tensor:
        geometry = model(FaceParameters(**dict(zip(names, blocks, strict=True))))
        return torch.cat([geometry.vertices[:, ::40], geometry.landmarks["ibug68"][:, ::16]], 1)

    inputs = [block.double().requires_grad_() for block in code.blocks().values()]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)  # random directions: all entries take 15 s


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"albedo": "flame", "albedo_size": 12, "texture_size": 8, "masks": True, "mediapipe_landmarks": True},
        {"albedo": "bfm", "albedo_size": 12, "texture_size": 4, "shape_size": 300, "expression_size": 100},
        {"albedo": "grey", "texture_size": 4},
        {"uv": False, "dynamic_contour": False},
    ],
)
def test_conformance(arrays, params):
    check_component("face_model", "flame", params)


# ------------------------------------------------------------------------------------------ optional parts


def test_eyelids_are_added_to_the_posed_mesh(arrays, tmp_path):
    model = Flame(Flame.Params(eyelids=True))
    code = random_parameters(2, eyelids=2)
    without = model(code.replace(eyelids=None))
    left, right = (np.load(tmp_path / "published" / f"{side}_eyelid.npy") for side in "lr")
    lids = code.eyelids.numpy()[..., None, None]
    expected = without.vertices.numpy() + lids[:, 0] * left + lids[:, 1] * right
    assert np.abs(model(code).vertices.numpy() - expected).max() < 1e-7  # float32 of 0.1 m


def test_mediapipe_points(arrays):
    model = Flame(Flame.Params(mediapipe_landmarks=True))
    geometry = model(random_parameters(1))
    corners = geometry.vertices[0].numpy()[arrays["f"][arrays["mediapipe_triangle"]].astype(int)]
    expected = (corners * arrays["mediapipe_weights"][..., None]).sum(1)
    assert np.abs(geometry.landmarks["mediapipe105"][0].numpy() - expected).max() < 1e-7
    assert np.array_equal(model.mediapipe_indices.numpy(), arrays["mediapipe_indices"])
    name, indices = model.partial_landmarks["mediapipe478"]
    assert name == "mediapipe105" and torch.equal(indices, model.mediapipe_indices)
    assert Flame().partial_landmarks == {}


@pytest.mark.parametrize("kind", ["flame", "bfm"])
@pytest.mark.parametrize("size", [4, 8, 12, 5])
def test_texture_is_the_published_formula(arrays, tmp_path, kind, size):
    """mean + basis code, [side, side, 3] in BGR, nearest-neighbour resampling as torch does it, RGB."""
    name, keys, scale = {
        "flame": ("FLAME_texture.npz", ("mean", "tex_dir"), 255.0),
        "bfm": ("FLAME_albedo_from_BFM.npz", ("MU", "PC"), 1.0),
    }[kind]
    published = np.load(tmp_path / "published" / name)
    mean, basis = published[keys[0]].reshape(-1) / scale, published[keys[1]].reshape(192, -1) / scale
    code = torch.randn(3, 10, generator=torch.Generator().manual_seed(2))
    flat = mean + code.double().numpy() @ basis[:, :10].T
    picture = torch.from_numpy(flat).reshape(3, 8, 8, 3).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(picture, size=(size, size))[:, [2, 1, 0]]
    model = Flame(Flame.Params(albedo=kind, albedo_size=10, texture_size=size))
    texture = model.albedo(FaceParameters(albedo=code)).texture
    assert (texture - expected).abs().max() < 1e-6  # float32 of numbers near 1


def test_grey_is_a_constant_half(arrays):
    texture = Flame(Flame.Params(albedo="grey", texture_size=4)).albedo(random_parameters(2)).texture
    assert torch.equal(texture, torch.full((2, 3, 4, 4), 0.5))


def test_masks(arrays, tmp_path):
    model = Flame(Flame.Params(masks=True))
    published = pickle.loads((tmp_path / "published" / "FLAME_masks.pkl").read_bytes())  # written by this test
    assert {name: set(mask.nonzero().flatten().tolist()) for name, mask in model.vertex_masks.items()} == {
        name: set(indices.tolist()) for name, indices in published.items()
    }


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("chumpy", [True, False])
def test_raw_files_may_be_given_directly(tmp_path, monkeypatch, protocol, chumpy):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "empty"))
    arrays = tiny_flame.tiny_arrays()
    model = Flame(
        Flame.Params(
            model=tiny_flame.write_model(tmp_path / "a.bin", arrays, protocol, chumpy),
            landmarks=tiny_flame.write_embedding(tmp_path / "b.npy", arrays),
            template=tiny_flame.write_template(tmp_path / "c.obj", arrays),
        )
    )
    vertices, _ = naive_flame(arrays, np.zeros(1), np.zeros(1), np.zeros((5, 3)))
    neutral = model(FaceParameters(global_pose=torch.zeros(1, 3))).vertices[0].numpy()
    assert np.abs(neutral - vertices).max() < 3e-8  # a few steps of float32 at 0.1 m, 7e-9 each
    assert set(model.asset_paths) == {"flame", "flame_landmarks", "flame_template"}
    assert not (tmp_path / "empty").exists()


def test_another_edition(arrays, tmp_path):
    later = {**arrays, "v_template": arrays["v_template"] * 1.1}
    path = tiny_flame.write_model(tmp_path / "flame2023_Open.pkl", later, chumpy=False)
    assert [added.record.name for added in add_files([path])] == ["flame_2023_open"]
    old, new = Flame(), Flame(Flame.Params(edition="flame_2023_open"))
    assert torch.allclose(new.modes[0], 1.1 * old.modes[0])
    assert "flame_2023_open" in new.asset_paths


def test_everything_missing_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        Flame(Flame.Params(eyelids=True))
    text = str(caught.value)
    for part in ("generic_model.pkl", "landmark_embedding.npy", "head_template.obj", "l_eyelid.npy", "r_eyelid.npy"):
        assert part in text
    assert "flame.is.tue.mpg.de" in text and "non-commercial" in text and str(tmp_path) in text


def test_a_malicious_model_is_refused(tmp_path):
    mark = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({"v_template": np.zeros((3, 3)), "f": Attack()}))
    with pytest.raises(AssetFormatError, match="system"):
        Flame(Flame.Params(model=path, landmarks=path, uv=False))
    assert [added.record for added in add_files([path])] == [None]
    assert not mark.exists()


@pytest.mark.parametrize("parents", [[0, 0, 9**8, 1, 1], [0, 0, -5, 1, 1], [0, 1, 1, 1, 1]])
def test_a_joint_that_hangs_on_none_before_it_is_refused(arrays, tmp_path, parents):
    """It would be an index far outside of the joints."""
    wrong = {**arrays, "kintree_table": np.array([parents, range(5)])}
    path = tiny_flame.write_model(tmp_path / "generic_model.pkl", wrong)
    assert [added.record for added in add_files([path])] == [None]
    with pytest.raises(AssetFormatError, match="in kintree_table a joint hangs on none before it"):
        Flame(Flame.Params(model=path))


def test_another_models_files_are_refused(arrays, tmp_path):
    other = tiny_flame.tiny_arrays(rows=6)
    template = tiny_flame.write_template(tmp_path / "other.obj", other)
    with pytest.raises(AssetFormatError, match="not the template of this FLAME"):
        Flame(Flame.Params(template=template))
    embedding = tiny_flame.write_embedding(tmp_path / "other.npy", tiny_flame.tiny_arrays(rows=20))
    with pytest.raises(AssetFormatError, match="lmk_faces_idx refers to number"):
        Flame(Flame.Params(landmarks=embedding))
    smpl = {**arrays, "J_regressor": np.zeros((24, 126)), "weights": np.zeros((126, 24))}
    with pytest.raises(AssetFormatError, match=r"J_regressor is \[24 126\], expected \[5 V\]"):
        Flame(Flame.Params(model=tiny_flame.write_model(tmp_path / "smpl.pkl", smpl)))
    with pytest.raises(AssetFormatError, match="has 12 texture components, 13 are asked for"):
        Flame(Flame.Params(albedo="flame", albedo_size=13))


def test_a_code_that_is_too_long(arrays):
    with pytest.raises(ValueError, match="shape has 100 numbers in this model, got 300"):
        Flame()(random_parameters(1, shape=300))


def test_licensed_geometry_is_not_in_checkpoints(arrays):
    assert not Flame(Flame.Params(eyelids=True, masks=True, albedo="bfm", albedo_size=12)).state_dict()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's own, inside jvp
def test_forward_mode_derivatives(arrays):
    """Solvers push tangents through the model; a kernel without derivatives must stay out of their way."""
    model, code = Flame(), random_parameters(2)
    names = ("shape", "jaw_pose")

    def run(*blocks: torch.Tensor) -> torch.Tensor:
        geometry = model(code.replace(**dict(zip(names, blocks, strict=True))))
        return torch.cat([geometry.vertices, geometry.landmarks["ibug68"]], 1)

    blocks = tuple(getattr(code, name) for name in names)
    tangents = tuple(torch.ones_like(block) for block in blocks)
    _, slope = torch.func.jvp(run, blocks, tangents)
    both = torch.func.vmap(lambda size: torch.func.jvp(run, blocks, tuple(size * t for t in tangents))[1])
    assert (both(torch.tensor([1.0, 2.0])) - torch.stack([slope, 2 * slope])).abs().max() < 1e-6
    step = 1e-3
    ahead, behind = (run(*(b + s * t for b, t in zip(blocks, tangents, strict=True))) for s in (step, -step))
    # central differences in float32: rounding 1e-8 / 1e-3 = 1e-5, curvature 1e-6; slopes are about 0.1 m
    assert (slope - (ahead - behind) / (2 * step)).abs().max() < 1e-4
