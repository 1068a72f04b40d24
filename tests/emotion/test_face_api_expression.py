"""face-api's expression network against a NumPy twin in float64, from files in the published layout."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.registry.assets import find_asset
from emoca_core.vocabulary.emotions import expression_name
from emoca_plugins.emotion.face_api_expression import WIDTHS, FaceApiExpression

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from tfjs_files import as_json, manifest_of, write_npm

Arrays = dict[str, np.ndarray]
ORDER = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
MANIFEST, SHARD = "face_expression_model-weights_manifest.json", "face_expression_model.bin"
try:
    REAL = find_asset("face_api_expression")
except MissingAssetError:
    REAL = None


def published_arrays(seed: int = 0) -> Arrays:
    """Random weights under the published names, in TensorFlow's axes."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}

    def kernel(name: str, *shape: int) -> None:
        arrays[name] = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:3]))

    for block, (inputs, width) in enumerate(zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)):
        for conv in range(4):
            name, seen = f"dense{block}/conv{conv}", inputs if conv == 0 else width
            if (block, conv) == (0, 0):
                kernel(f"{name}/filters", 3, 3, 3, width)
            else:
                arrays[f"{name}/depthwise_filter"] = random.normal(size=(3, 3, seen, 1)) / 3
                kernel(f"{name}/pointwise_filter", 1, 1, seen, width)
            arrays[f"{name}/bias"] = random.normal(size=width)
    arrays["fc/weights"] = random.normal(size=(256, 7)) / 16
    arrays["fc/bias"] = random.normal(size=7)
    return arrays


def write_folder(folder: Path, arrays: Arrays) -> Path:
    groups, content, _ = manifest_of(arrays, SHARD)
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(as_json(groups))
    (folder / SHARD).write_bytes(content)
    return folder / MANIFEST


def write_archive(path: Path, arrays: Arrays) -> Path:
    """Beside another network whose names are partly the same, as published."""
    groups, content, _ = manifest_of(arrays, SHARD)
    other, more, _ = manifest_of(arrays | {"fc/weights": np.ones((256, 136)), "fc/bias": np.ones(136)}, "points.bin")
    files = {"points.json": as_json(other), "points.bin": more, MANIFEST: as_json(groups), SHARD: content}
    return write_npm(path, {f"model/{name}": data for name, data in files.items()})


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def patches(x: np.ndarray, stride: int) -> np.ndarray:
    """[h, w, 3, 3, C] windows under TensorFlow's rule: as many outputs as side / stride, the odd pixel at the end."""
    out = -(-x.shape[0] // stride)
    total = (out - 1) * stride + 3 - x.shape[0]
    x = np.pad(x, [(total // 2, total - total // 2)] * 2 + [(0, 0)])
    starts = np.arange(out) * stride
    return np.array([[x[r : r + 3, c : c + 3] for c in starts] for r in starts])


def twin(arrays: Arrays, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features and published logits of one face [112, 112, 3] of 0 to 255, channels last."""

    def separable(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        depthwise, pointwise = arrays[f"{name}/depthwise_filter"], arrays[f"{name}/pointwise_filter"]
        per_channel = np.einsum("hwijc,ijc->hwc", patches(x, stride), depthwise[..., 0])
        return per_channel @ pointwise[0, 0] + arrays[f"{name}/bias"]

    x = (face - np.array([122.782, 117.001, 104.298])) / 255
    for block in range(4):
        name = f"dense{block}"
        if block == 0:
            first = np.einsum("hwijc,ijcd->hwd", patches(x, 2), arrays[f"{name}/conv0/filters"])
            first = relu(first + arrays[f"{name}/conv0/bias"])
        else:
            first = relu(separable(x, f"{name}/conv0", 2))
        second = separable(first, f"{name}/conv1")
        third = separable(relu(first + second), f"{name}/conv2")
        fourth = separable(relu(first + second + third), f"{name}/conv3")
        x = relu(first + second + third + fourth)
    pooled = x.mean((0, 1))
    return pooled, pooled @ arrays["fc/weights"] + arrays["fc/bias"]


@pytest.mark.parametrize("packed", [False, True])
def test_logits_and_features_equal_the_numpy_twin(tmp_path: Path, packed: bool) -> None:
    arrays = published_arrays()
    path = write_archive(tmp_path / "a.tgz", arrays) if packed else write_folder(tmp_path / "model", arrays)
    _, _, stored = manifest_of(arrays, SHARD)
    backbone = FaceApiExpression(FaceApiExpression.Params(weights=str(path)))
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        prediction = backbone(faces)
    expected = [twin(stored, 255 * face.permute(1, 2, 0).double().numpy()) for face in faces]
    pooled, logits = (np.stack(values) for values in zip(*expected, strict=True))
    assert backbone.labels == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
    reordered = logits[:, [[expression_name(label) for label in ORDER].index(name) for name in backbone.labels]]
    # float32 against float64: rounding of 17 layers, relative to the spread of the numbers
    np.testing.assert_allclose(prediction.features["pooled"].numpy(), pooled, atol=1e-4 * pooled.std())
    np.testing.assert_allclose(prediction.logits.numpy(), reordered, atol=1e-4 * logits.std())
    assert prediction.features["map"].shape == (2, 256, 7, 7)
    assert prediction.valence is prediction.arousal is None
    assert len(backbone.load_report.matched) + len(backbone.load_report.renamed) == len(arrays) == 49
    assert not backbone.training


def test_gradient_equals_differences(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "model", published_arrays(1))
    backbone = FaceApiExpression(FaceApiExpression.Params(weights=str(path))).double()
    random = torch.Generator().manual_seed(1)
    face = torch.rand(1, 3, 150, 150, dtype=torch.float64, generator=random)  # through the resizing as well
    direction = torch.randn(face.shape, dtype=torch.float64, generator=random)

    def score(image: torch.Tensor) -> torch.Tensor:
        prediction = backbone(image)
        return prediction.logits[0, 1] + prediction.features["pooled"][0, ::3].sum()

    (gradient,) = torch.autograd.grad(score(face.requires_grad_()), face)
    slope = (gradient * direction).sum()
    step = 1e-7  # small, so that hardly any ReLU switches on the way
    with torch.no_grad():
        difference = (score(face + step * direction) - score(face - step * direction)) / (2 * step)
    assert slope.abs() > 1e-3
    torch.testing.assert_close(slope, difference, rtol=1e-4, atol=1e-6)


def test_the_archive_is_added_as_an_asset_and_used_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    archive = write_archive(tmp_path / "renamed.tgz", published_arrays())
    (added,) = add_files([archive])
    assert (added.problem, added.record.name) == (None, "face_api_expression")
    (again,) = add_files([archive])
    assert again.unchanged
    face = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        from_assets = FaceApiExpression()(face).logits
        from_archive = FaceApiExpression(FaceApiExpression.Params(weights=str(archive)))(face).logits
    torch.testing.assert_close(from_assets, from_archive, rtol=0, atol=0)


def test_a_folder_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    folder = write_folder(tmp_path / "model", published_arrays()).parent
    (folder / "package.json").write_text('{"name": "face-api"}')
    assert [added.record.name for added in add_files([folder])] == ["face_api_expression"]


def test_missing_and_wrong_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "no-assets"))
    with pytest.raises(MissingAssetError, match=r"(?s)face-api-1\.7\.15\.tgz.*MIT.*npm pack"):
        FaceApiExpression()
    arrays = published_arrays()
    fewer = {name: array for name, array in arrays.items() if name != "dense2/conv1/bias"}
    more = arrays | {"dense4/conv0/bias": np.ones(3)}
    for wrong, message in ((fewer, r"missing: dense2\.conv1"), (more, r"dense4\.conv0")):
        (added,) = add_files([write_archive(tmp_path / "wrong.tgz", wrong)])
        assert added.record is None
        assert message.replace("\\", "") in added.problem or "missing" in added.problem
        with pytest.raises(AssetFormatError, match=message):
            FaceApiExpression(FaceApiExpression.Params(weights=str(tmp_path / "wrong.tgz")))
    stranger = write_npm(
        tmp_path / "stranger.tgz", {"m.json": as_json(manifest_of({"w": np.ones((2, 2))}, "m.bin")[0])}
    )
    (added,) = add_files([stranger])
    assert "1 networks, but none this project knows" in added.problem


@pytest.mark.skipif(REAL is None, reason="the weights of face-api are not among this machine's assets")
def test_real_weights_recognise_fer2013(shared: Path) -> None:
    """Accuracy on 280 faces; measured 0.614, and 0.577 on the 3,589 of FER2013's own validation part."""
    index = shared / "data" / "emotion" / "index.csv"
    with open(index, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["path"].startswith("fer/")]
    backbone = FaceApiExpression(FaceApiExpression.Params(weights=str(REAL)))
    truth = torch.tensor([backbone.labels.index(expression_name(row["expression"])) for row in rows])
    pixels = np.stack([np.array(Image.open(index.parent / row["path"]).convert("RGB")) for row in rows])
    with torch.no_grad():
        found = backbone(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).logits.argmax(1)
    assert len(rows) == 280
    assert abs(float((found == truth).float().mean()) - 0.614) < 0.01
