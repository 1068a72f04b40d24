"""3DDFA-V2's face against the published formula, in all three units of its codes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from emoca_core.errors import AssetFormatError, MissingAssetError, RecipeError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing import check_component
from emoca_plugins.face_models.bfm_3ddfa import Bfm3ddfa

SIDE = 15


def published() -> dict[str, np.ndarray]:
    """A small curved face with the published entries: micrometres, one coordinate index per landmark coordinate."""
    random = np.random.default_rng(4)
    y, x = np.mgrid[1 : -1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    mean = np.stack([x, y, 0.8 - 0.5 * x**2 - 0.3 * y**2], -1).reshape(-1, 3) * 1e5
    wanted = frontal_landmarks().numpy() * [1e5, -1e5]
    nearest = np.linalg.norm(mean[:, None, :2] - wanted, axis=-1).argmin(0)
    corner = np.arange(SIDE**2).reshape(SIDE, SIDE)
    a, b, c, d = (
        corner[rows, columns].ravel() for rows in (np.s_[:-1], np.s_[1:]) for columns in (np.s_[:-1], np.s_[1:])
    )
    return {
        "u": mean.reshape(-1, 1).astype(np.float32),
        "w_shp": random.normal(scale=1e-2, size=(mean.size, 60)).astype(np.float32),
        "w_exp": random.normal(scale=3e2, size=(mean.size, 29)).astype(np.float32),
        "keypoints": (3 * nearest[:, None] + np.arange(3)).ravel(),
        "triangles": np.concatenate([np.stack([a, c, b]), np.stack([b, c, d])], 1).astype(np.int32),
        "mean": np.concatenate([np.zeros(12), random.normal(scale=1e4, size=40), random.normal(size=10)]),
        "std": np.concatenate([np.ones(12), random.uniform(1e4, 5e5, 40), random.uniform(0.1, 1.6, 10)]),
    }


def write(folder: Path, arrays: dict[str, np.ndarray]) -> list[Path]:
    model = {name: arrays[name] for name in ("u", "w_shp", "w_exp", "keypoints")}
    statistics = {name: arrays[name].astype(np.float32) for name in ("mean", "std")}
    contents = {"bfm_noneck_v3.pkl": model, "tri.pkl": arrays["triangles"], "param_mean_std.pkl": statistics}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, 2))
    return [folder / name for name in contents]


@pytest.fixture
def arrays(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = published()
    names = [added.record.name for added in add_files(write(tmp_path, arrays))]
    assert names == ["bfm_3ddfa", "bfm_3ddfa_triangles", "tddfa_statistics"]
    return arrays


def whitened(count: int) -> FaceParameters:
    generator = torch.Generator().manual_seed(0)
    return FaceParameters(
        shape=torch.randn(count, 40, generator=generator),
        expression=torch.randn(count, 10, generator=generator),
        units={"shape": "whitened", "expression": "whitened"},
    )


def published_vertices(arrays: dict[str, np.ndarray], shape: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """(u + w_shp a + w_exp b) as [V, 3], micrometres, in float64."""
    basis = arrays["w_shp"][:, :40].astype(float) @ shape + arrays["w_exp"][:, :10].astype(float) @ expression
    return (arrays["u"].astype(float) + basis[:, None]).reshape(3, -1, order="F").T


def test_every_unit_gives_the_published_vertices(arrays):
    model, code = Bfm3ddfa(), whitened(3)
    mean, std = (torch.from_numpy(arrays[name].astype(np.float32)) for name in ("mean", "std"))
    raw = code.replace(
        shape=code.shape * std[12:52] + mean[12:52],
        expression=code.expression * std[52:] + mean[52:],
        units={"shape": "raw", "expression": "raw"},
    )
    sigma = raw.replace(shape=raw.shape / std[12:52], expression=raw.expression / std[52:], units={})
    for k in range(3):
        expected = published_vertices(arrays, raw.shape[k].double().numpy(), raw.expression[k].double().numpy()) * 1e-6
        for given in (raw, code, sigma):
            vertices = model(given).vertices[k].numpy()
            assert np.abs(vertices - expected).max() < 3e-7  # metres; 0.1 m and 50 terms in float32
        landmarks = expected[arrays["keypoints"][::3] // 3]
        assert np.abs(model(raw).landmarks["ibug68"][k].numpy() - landmarks).max() < 3e-7


def test_absent_blocks_are_the_mean_face(arrays):
    neutral = Bfm3ddfa()(FaceParameters(global_pose=torch.zeros(1, 3), units={"shape": "whitened"}))
    assert np.abs(neutral.vertices[0].numpy() - arrays["u"].reshape(-1, 3) * 1e-6).max() < 1e-8


def test_pose(arrays):
    model, code = Bfm3ddfa(), whitened(2)
    turned = model(code.replace(global_pose=torch.tensor([[0.0, 0.5, 0.0]]).expand(2, 3))).vertices
    x, y, z = model(code).vertices.unbind(-1)
    c, s = np.cos(0.5), np.sin(0.5)
    expected = torch.stack([c * x + s * z, y, -s * x + c * z], -1)
    assert (turned - expected).abs().max() < 1e-7  # float32 of 0.1 m


def test_unknown_unit(arrays):
    with pytest.raises(RecipeError, match="raw, whitened or sigma, got 'latent'"):
        Bfm3ddfa()(whitened(1).replace(units={"shape": "latent"}))


def test_gradients(arrays):
    model = Bfm3ddfa().double()
    blocks = [torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (40, 10, 3)]

    def run(shape: torch.Tensor, expression: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        return model(FaceParameters(shape=shape, expression=expression, global_pose=pose)).vertices[:, ::9]

    assert torch.autograd.gradcheck(run, blocks, fast_mode=True)


def test_triangles_face_the_front_in_either_winding(arrays, tmp_path):
    expected = Bfm3ddfa().faces
    turned = tmp_path / "turned.pkl"
    turned.write_bytes(pickle.dumps(arrays["triangles"][::-1].copy()))
    assert torch.equal(Bfm3ddfa(Bfm3ddfa.Params(triangles=turned)).faces, expected)


def test_files_that_do_not_fit(arrays, tmp_path):
    larger = tmp_path / "larger.pkl"
    larger.write_bytes(pickle.dumps(arrays["triangles"] + SIDE))
    with pytest.raises(AssetFormatError, match="the triangle list refers to number"):
        Bfm3ddfa(Bfm3ddfa.Params(triangles=larger))
    short = tmp_path / "short.npz"
    np.savez(short, mean=np.zeros(50), std=np.ones(50))
    with pytest.raises(AssetFormatError, match="describes 50 parameters, expected 62"):
        Bfm3ddfa(Bfm3ddfa.Params(statistics=short))


def test_missing_files_are_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        Bfm3ddfa()
    assert all(name in str(caught.value) for name in ("bfm_noneck_v3.pkl", "tri.pkl", "param_mean_std_62d_120x120.pkl"))


def test_conformance(arrays):
    check_component("face_model", "bfm_3ddfa")
