"""ExpNet's face against the published formula, and its landmarks from either source."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from expnet_face import (
    BASEL,
    expnet_model,
    grid_face,
    nearest_vertices,
    write_chain,
    write_landmarks,
    write_model,
)

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.testing import check_component
from emoca_plugins.face_models.bfm_expnet import BfmExpnet

ROWS, COLUMNS = 24, 20
FEW = {"shape_size": 2, "expression_size": 2, "albedo_size": 2}
FULL_GRID = (1783, 30)
"""Rows and columns of a sheet with the Basel model's 53,490 vertices."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, np.ndarray]:
    """A small model and a list of landmarks, taken in."""
    fields = expnet_model(ROWS, COLUMNS)
    model = write_model(tmp_path / "BaselFaceModel_mod.mat", fields)
    landmarks = write_landmarks(tmp_path / "mine.txt", nearest_vertices(grid_face(ROWS, COLUMNS)[0]))
    assert [added.record.name for added in add_files([model, landmarks])] == ["bfm_expnet", "bfm_expnet_landmarks"]
    return fields


def code(count: int) -> FaceParameters:
    generator = torch.Generator().manual_seed(0)
    return FaceParameters(
        shape=torch.randn(count, 99, generator=generator),
        expression=torch.randn(count, 29, generator=generator),
        albedo=torch.randn(count, 99, generator=generator),
    )


def published(path: Path, shape: np.ndarray, expression: np.ndarray, texture: np.ndarray) -> list[np.ndarray]:
    """Vertices in micrometres and colours of 0-255, in float64, from the file as the published code reads it."""
    model = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)["BFM"]
    vertices = model.shapeMU + model.shapePC.astype(float) @ (model.shapeEV * shape)
    vertices += model.expMU + model.expPC.astype(float) @ (model.expEV * expression)
    colours = model.texMU + model.texPC.astype(float) @ (model.texEV * texture)
    return [vertices.reshape(-1, 3), colours.reshape(-1, 3)]


def test_vertices_landmarks_and_albedo_are_the_published_ones(fields, tmp_path):
    model, parameters = BfmExpnet(), code(3)
    geometry, colours = model(parameters), model.albedo(parameters).vertex_colors
    landmarks = nearest_vertices(grid_face(ROWS, COLUMNS)[0])
    assert len(set(landmarks)) > 40
    for k in range(3):
        blocks = (getattr(parameters, name)[k].double().numpy() for name in ("shape", "expression", "albedo"))
        vertices, texture = published(tmp_path / "BaselFaceModel_mod.mat", *blocks)
        assert np.abs(vertices - grid_face(ROWS, COLUMNS)[0]).max() > 1e3  # the code moves it by millimetres
        assert np.abs(geometry.vertices[k].numpy() - vertices * 1e-6).max() < 3e-7  # metres; 128 terms in float32
        assert np.abs(geometry.landmarks["ibug68"][k].numpy() - vertices[landmarks] * 1e-6).max() < 3e-7
        assert np.abs(colours[k].numpy() - texture / 255).max() < 2e-6
    assert np.array_equal(model.faces.numpy() + 1, fields["faces"])


def test_published_file_without_conversion(fields, tmp_path):
    given = BfmExpnet(BfmExpnet.Params(model=tmp_path / "BaselFaceModel_mod.mat", landmarks=tmp_path / "mine.txt"))
    assert torch.equal(given(code(1)).vertices, BfmExpnet()(code(1)).vertices)
    assert set(given.asset_paths) == {"bfm_expnet", "bfm_expnet_landmarks"}


def test_gradients(fields):
    model = BfmExpnet(BfmExpnet.Params(**FEW)).double()
    blocks = [torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (2, 2, 2, 3)]

    def run(shape: torch.Tensor, expression: torch.Tensor, albedo: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        code = FaceParameters(shape=shape, expression=expression, albedo=albedo, global_pose=pose)
        return torch.cat([model(code).vertices[:, ::20], model.albedo(code).vertex_colors[:, ::20]], 1)

    assert torch.autograd.gradcheck(run, blocks, fast_mode=True)


def test_conformance(fields):
    check_component("face_model", "bfm_expnet")


@pytest.mark.parametrize("basel", [True, False], ids=["53490", "53215"])
def test_landmarks_from_3ddfa(basel, tmp_path):
    """At the published sizes with few components; of 53,215 vertices, the last index file is not needed."""
    fields = expnet_model(*FULL_GRID, sizes=(2, 2, 2))
    mean = (fields["shapeMU"] + fields["expMU"]).reshape(-1, 3)
    assert len(mean) == BASEL
    files, trimmed = write_chain(tmp_path, mean)
    if not basel:
        files = files[:2]
        rows = (3 * trimmed[:, None] + np.arange(3)).ravel()
        fields = {name: value[rows] if len(value) == mean.size else value for name, value in fields.items()}
        fields["faces"] = np.array([[1, 2, 3], [3, 2, 4]])
        mean = mean[trimmed]
    files.append(write_model(tmp_path / "BaselFaceModel_mod.mat", fields))
    results = list(add_files(files))
    assert [added.problem for added in results] == [None] * len(files)
    model = BfmExpnet(BfmExpnet.Params(**FEW))
    assert set(model.asset_paths) == {added.record.name for added in results}
    found = model(FaceParameters(global_pose=torch.zeros(1, 3))).landmarks["ibug68"][0].numpy()
    noneck = np.load(tmp_path / "assets" / "bfm_3ddfa.npz")
    assert np.abs(found - noneck["mean_shape"][noneck["landmark_vertices"]] * 1e-6).max() < 1e-7
    wrong = np.load(tmp_path / "indices.npy")[::-1]
    np.save(tmp_path / "turned.npy", wrong)
    with pytest.raises(AssetFormatError, match=r"do not lie on the same places .* give 'bfm_expnet_landmarks'"):
        BfmExpnet(BfmExpnet.Params(indices_3ddfa=tmp_path / "turned.npy", **FEW))


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    with pytest.raises(MissingAssetError) as caught:
        BfmExpnet()
    for name in ("bfm_expnet", "bfm_expnet_landmarks", "bfm_3ddfa", "bfm_3ddfa_indices", "bfm_expression_index"):
        assert f"missing asset '{name}'" in str(caught.value)
    assert "either 'bfm_expnet_landmarks' or 'bfm_3ddfa' + 'bfm_3ddfa_indices' + 'bfm_expression_index'" in str(
        caught.value
    )
    list(add_files([write_landmarks(tmp_path / "mine.txt", np.arange(68))]))
    with pytest.raises(MissingAssetError) as caught:
        BfmExpnet()
    assert str(caught.value).count("missing asset") == 1  # the landmarks are there


def test_what_a_way_lacks(tmp_path):
    model = write_model(tmp_path / "model.mat", expnet_model(*FULL_GRID, sizes=(2, 2, 2)))
    np.save(tmp_path / "indices.npy", np.arange(38365))
    assert [added.record.name for added in add_files([model, tmp_path / "indices.npy"])][1] == "bfm_3ddfa_indices"
    with pytest.raises(MissingAssetError) as caught:
        BfmExpnet(BfmExpnet.Params(**FEW))
    lines = [line for line in str(caught.value).splitlines() if line.startswith("missing asset")]
    assert [line.split("'")[1] for line in lines] == ["bfm_expnet_landmarks", "bfm_3ddfa", "bfm_expression_index"]


def test_other_meshes_need_a_list(tmp_path):
    list(add_files([write_model(tmp_path / "model.mat", expnet_model(ROWS, COLUMNS))]))
    with pytest.raises(MissingAssetError, match=r"A model of 480 vertices .* 'bfm_expnet_landmarks' alone"):
        BfmExpnet()


@pytest.mark.parametrize("count", [67, 69])
def test_lists_of_another_length(fields, tmp_path, count):
    path = write_landmarks(tmp_path / "short.txt", np.arange(count))
    (added,) = add_files([path])
    assert f"holds {count} vertex numbers, expected 68" in added.problem
    with pytest.raises(AssetFormatError, match=f"{count} vertex numbers"):
        BfmExpnet(BfmExpnet.Params(landmarks=path))


def test_list_as_npy_and_beyond_the_model(fields, tmp_path):
    np.save(tmp_path / "mine.npy", np.arange(68, dtype=np.int32))
    model = BfmExpnet(BfmExpnet.Params(landmarks=tmp_path / "mine.npy"))
    assert model.landmark_vertices.tolist() == list(range(68))
    np.save(tmp_path / "beyond.npy", np.arange(68) + ROWS * COLUMNS - 67)
    with pytest.raises(AssetFormatError, match="the landmark list refers to number 480, the model has 480"):
        BfmExpnet(BfmExpnet.Params(landmarks=tmp_path / "beyond.npy"))


def test_another_unit_is_refused(fields, tmp_path):
    scaled = {name: value * 1e-3 if name.startswith(("shapeMU", "exp")) else value for name, value in fields.items()}
    path = write_model(tmp_path / "millimetres.mat", scaled)
    with pytest.raises(AssetFormatError, match=r"should be in micrometres, but its mean face would be 0\.0002"):
        BfmExpnet(BfmExpnet.Params(model=path))
