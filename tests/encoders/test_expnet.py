"""ExpNet against the published TensorFlow graph, TensorFlow 1's resize, and the pose solved from landmarks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published import deviation, golden, keyed_arrays, write_tf_bundle

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.caffe_resnet import convolution, resize_legacy
from emoca_plugins.encoders.expnet import Expnet, read_mean_image

GAIN = 0.5


@pytest.fixture(scope="module")
def mean_image() -> np.ndarray:
    return (128 + 20 * np.random.RandomState(5).standard_normal((1, 224, 224, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def params(mean_image: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Both checkpoints and the mean image, laid out as published; the identity network has the same trunk."""
    folder = tmp_path_factory.mktemp("expnet")
    expression = keyed_arrays("expnet", GAIN)
    shape = {name.replace("exprCNN", "shapeCNN"): value for name, value in expression.items()}
    random = np.random.default_rng(0)
    shape["shapeCNN/shapeCNN_fc1/weights"] = random.normal(size=(2048, 198)).astype("f4") * 0.02
    shape["shapeCNN/shapeCNN_fc1/biases"] = random.normal(size=198).astype("f4")
    np.save(folder / "3DMM_shape_mean.npy", mean_image[0].transpose(2, 0, 1))
    return {
        "weights": str(write_tf_bundle(folder / "ini_exprNet_model.ckpt", expression)),
        "shape_weights": str(write_tf_bundle(folder / "ini_ShapeTextureNet_model.ckpt", shape)),
        "mean_image": str(folder / "3DMM_shape_mean.npy"),
    }


@pytest.fixture(scope="module")
def encoder(params: dict[str, str]) -> Expnet:
    return get_registry().build("encoder", "expnet", params)


@pytest.fixture(scope="module")
def crop() -> FaceCrop:
    bgr = torch.from_numpy(golden("expnet")["image_bgr_227"])
    return FaceCrop(image=bgr.permute(0, 3, 1, 2).flip(1).float() / 255)


def test_features_and_codes_equal_the_published_network(
    encoder: Expnet, params: dict[str, str], crop: FaceCrop
) -> None:
    expected = golden("expnet")
    with torch.no_grad():
        features = encoder.expression_network.features(encoder.preprocess(crop.image))
        parameters = encoder(crop)
    assert deviation(features, expected["pool5"]) < 1e-4  # measured 2e-6
    arrays = keyed_arrays("expnet", GAIN)
    pool5 = expected["pool5"].astype(np.float64)
    expression = pool5 @ arrays["exprCNN/exprCNN_fc1/weights"] + arrays["exprCNN/exprCNN_fc1/biases"]
    assert deviation(parameters.expression, expression) < 1e-4
    random = np.random.default_rng(0)
    weights, biases = random.normal(size=(2048, 198)).astype("f4") * 0.02, random.normal(size=198).astype("f4")
    code = torch.cat([parameters.shape, parameters.albedo], dim=1)
    assert deviation(code, pool5 @ weights + biases) < 1e-4
    assert {k: v.shape[1] for k, v in parameters.blocks().items()} == dict(encoder.blocks)


def test_resize_is_that_of_tensorflow_1(encoder: Expnet, crop: FaceCrop) -> None:
    expected = golden("expnet")
    resized = resize_legacy(crop.image.flip(1) * 255, 224)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resized.mean((0, 1)), expected["resized_224_mean"], atol=2e-3)  # float32 sums of 5e4
    patch = expected["resized_224_sub"]
    np.testing.assert_allclose(resized[:16, :16], patch, atol=1e-3)


def test_resize_against_a_naive_loop() -> None:
    image = torch.rand(1, 3, 7, 5)
    naive = np.zeros((3, 4, 4))
    for row in range(4):
        for column in range(4):
            y, x = row * 7 / 4, column * 5 / 4
            top, left = int(y), int(x)
            bottom, right = min(top + 1, 6), min(left + 1, 4)
            a, b = y - top, x - left
            pixels = image[0].double().numpy()
            upper = (1 - b) * pixels[:, top, left] + b * pixels[:, top, right]
            lower = (1 - b) * pixels[:, bottom, left] + b * pixels[:, bottom, right]
            naive[:, row, column] = (1 - a) * upper + a * lower
    np.testing.assert_allclose(resize_legacy(image, 4)[0], naive, atol=1e-6)
    assert torch.equal(resize_legacy(image[..., :5, :], 5), image[..., :5, :])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(224, 7, 2, 2, 3), (112, 3, 2, 0, 1), (8, 3, 1, 1, 1), (8, 1, 2, 0, 0)],
)
def test_same_padding_puts_the_odd_pixel_last(size: int, kernel: int, stride: int, before: int, after: int) -> None:
    x, ours = torch.randn(1, 1, size, size), convolution(1, 1, kernel, stride)[0]
    padded = torch.nn.functional.pad(x, [before, after, before, after])
    torch.testing.assert_close(ours(x), torch.nn.functional.conv2d(padded, ours.weight, stride=stride))


def test_reports_and_assets(encoder: Expnet) -> None:
    assert set(encoder.asset_paths) == {"expnet_expression", "expnet_shape", "expnet_mean"}
    assert all(len(report.renamed) == 522 for report in encoder.load_reports.values())
    assert len(encoder.load_reports["expnet_shape"].defaulted) == 104  # TensorFlow has no batch counters


def test_networks_cannot_be_exchanged(params: dict[str, str]) -> None:
    with pytest.raises(AssetFormatError, match=r"fc\.weight is 29x2048, expected 198x2048"):
        Expnet(Expnet.Params(**{**params, "shape_weights": params["weights"]}))


def test_all_missing_files_are_named_at_once() -> None:
    with pytest.raises(MissingAssetError) as caught:
        Expnet()
    for name in ("ini_exprNet_model.ckpt.index", "ini_ShapeTextureNet_model.ckpt.index", "3DMM_shape_mean.npy"):
        assert name in str(caught.value)


def test_mean_image_in_either_layout(tmp_path: Path, mean_image: np.ndarray) -> None:
    expected = torch.from_numpy(mean_image[0]).permute(2, 0, 1)
    np.save(tmp_path / "last.npy", mean_image)
    np.savez(tmp_path / "first.npz", mean=mean_image[0].transpose(2, 0, 1))
    for name in ("last.npy", "first.npz"):
        assert torch.equal(read_mean_image(tmp_path / name), expected)
    np.save(tmp_path / "wrong.npy", mean_image[:, :100])
    with pytest.raises(AssetFormatError, match="mean image"):
        read_mean_image(tmp_path / "wrong.npy")
