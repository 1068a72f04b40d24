"""The recipe ``expnet``, whole: published files go into the asset folder, a crop with landmarks comes out as a face."""

from pathlib import Path

import numpy as np
import pytest
import torch
from expnet_face import expnet_model, grid_face, nearest_vertices, write_landmarks, write_model
from published import golden, keyed_arrays, write_tf_bundle

from emoca_core.api import load_method
from emoca_core.errors import MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop, WeakPerspectiveCamera
from emoca_core.registry.catalogue import get_catalogue

WITHOUT_LANDMARKER = {"landmarker": None}
ROWS, COLUMNS = 24, 20


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_assets_of_this_machine: None) -> Path:
    """Both networks with reproducible weights, the mean image and a small face, by ``emoca assets add``'s code."""
    folder = tmp_path / "published"
    expression = keyed_arrays("expnet", 0.5)
    shape = {name.replace("exprCNN", "shapeCNN"): value for name, value in expression.items()}
    random = np.random.default_rng(0)
    expression["exprCNN/exprCNN_fc1/weights"] = random.normal(size=(2048, 29)).astype("f4") * 0.02
    shape["shapeCNN/shapeCNN_fc1/weights"] = random.normal(size=(2048, 198)).astype("f4") * 0.02
    shape["shapeCNN/shapeCNN_fc1/biases"] = random.normal(size=198).astype("f4")
    files = [
        write_tf_bundle(folder / "ini_exprNet_model.ckpt", expression),
        write_tf_bundle(folder / "ini_ShapeTextureNet_model.ckpt", shape),
        folder / "3DMM_shape_mean.npy",
        write_model(folder / "BaselFaceModel_mod.mat", expnet_model(ROWS, COLUMNS)),
        write_landmarks(folder / "landmarks.txt", nearest_vertices(grid_face(ROWS, COLUMNS)[0])),
    ]
    np.save(files[2], random.uniform(90, 130, (3, 224, 224)).astype("f4"))
    target = tmp_path / "assets"
    assert [added.problem for added in add_files(files, folder=target)] == [None] * len(files)
    monkeypatch.setenv("EMOCA_ASSETS", str(target))
    return target


@pytest.mark.slow
def test_a_crop_becomes_a_face_where_its_landmarks_are(assets: Path) -> None:
    method = load_method("expnet", change=WITHOUT_LANDMARKER, device="cpu")
    bgr = torch.from_numpy(golden("expnet")["image_bgr_227"])[:1]
    image = bgr.permute(0, 3, 1, 2).flip(1).float() / 255
    pose, camera = torch.tensor([[0.1, -0.3, 0.05]]), torch.tensor([[6.0, 0.01, -0.02]])
    with torch.no_grad():  # the landmarks of its own face in a known pose: that pose must be found again
        code = method.encoder(FaceCrop(image=image))
        points = method.face_model(code.replace(global_pose=pose)).landmarks["ibug68"]
        detected = WeakPerspectiveCamera.from_code(camera).project(points)[..., :2]
        capture = method(FaceCrop(image=image, landmarks={"ibug68": detected}))
    parameters = capture.parameters
    sizes = {name: block.shape[1] for name, block in parameters.blocks().items()}
    assert sizes == {"shape": 99, "albedo": 99, "expression": 29, "global_pose": 3, "camera": 3}
    found = rotation_vector_to_matrix(parameters.global_pose)
    assert (found - rotation_vector_to_matrix(pose)).abs().max() < 1e-3  # a least-squares fit in float32
    assert capture.geometry.vertices.shape == (1, ROWS * COLUMNS, 3)
    projected = parameters.camera.project(capture.geometry.landmarks["ibug68"])[..., :2]
    assert (projected - detected).abs().max() < 1e-3  # NDC
    assert capture.rendering.image.shape == (1, 3, 227, 227) and capture.rendering.image.isfinite().all()
    names = {"expnet_expression", "expnet_shape", "expnet_mean", "bfm_expnet", "bfm_expnet_landmarks"}
    assert set(method.asset_paths()) == names


def test_what_is_missing_is_listed_at_once() -> None:
    with pytest.raises(MissingAssetError) as caught:
        load_method("expnet", change=WITHOUT_LANDMARKER)
    recipe, catalogue = get_catalogue().recipe("expnet"), get_catalogue()
    for kind in ("encoder", "face_model"):
        for name in catalogue.card(kind, getattr(recipe, kind).uses).assets:
            assert f"missing asset '{name}'" in str(caught.value)
    assert recipe.probe == ("shape", "expression")
