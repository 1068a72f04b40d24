"""MGCNet against the published TensorFlow graph, and its pose, camera and light against the published formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published import deviation, golden, keyed_arrays, write_tf_bundle

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.geometry.lighting import irradiance
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.mgcnet import Mgcnet, parameters_from_code
from emoca_plugins.encoders.spherical_harmonics import lighting_from_bfm

GAIN = 0.6


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    """The released checkpoint's variables, with what the training left in it."""
    arrays = keyed_arrays("mgcnet", GAIN)
    rest = {
        "global_step": np.array(400000, "<i8"),
        "beta1_power": np.array(0.5, "<f4"),
        "resnet_v1_50/conv1/weights/Adam": np.zeros((7, 7, 3, 64), "<f4"),
        "resnet_v1_50/conv1/biases/Adam_1": np.zeros(64, "<f4"),
        "InceptionResnetV1/Conv2d_1a_3x3/weights": np.zeros((3, 3, 3, 4), "<f4"),
    }
    return {**arrays, **rest}


@pytest.fixture(scope="module")
def encoder(variables: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Mgcnet:
    index = write_tf_bundle(tmp_path_factory.mktemp("mgcnet") / "model-400000", variables)
    return get_registry().build("encoder", "mgcnet", {"weights": str(index)})


def test_output_equals_the_published_network(encoder: Mgcnet) -> None:
    expected = golden("mgcnet")
    image = torch.from_numpy(expected["input_nhwc"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        output = encoder.network(image)
        parameters = encoder(FaceCrop(image=image))
    assert deviation(output, expected["output257"]) < 1e-4  # measured 1e-6
    # the order is identity, colour, expression; not Deep3DFace's
    assert torch.equal(parameters.shape, output[:, :80])
    assert torch.equal(parameters.albedo, output[:, 80:160])
    assert torch.equal(parameters.expression, output[:, 160:224])
    assert {k: v.shape[1] for k, v in parameters.blocks().items()} == dict(encoder.blocks)


def test_report_and_prefix(encoder: Mgcnet) -> None:
    report = encoder.load_report
    assert report is not None and len(report.renamed) == 108 and report.path.name == "model-400000.index"
    assert report.dropped["InceptionResnetV1/Conv2d_1a_3x3/weights"] == "face recognition loss of the training"
    assert report.dropped["resnet_v1_50/conv1/weights/Adam"] == "state of the training"
    again = Mgcnet(Mgcnet.Params(weights=str(report.path.with_suffix(""))))
    assert torch.equal(again.network.logits.weight, encoder.network.logits.weight)


def test_a_graph_with_batchnorm_is_refused(variables: dict[str, np.ndarray], tmp_path: Path) -> None:
    with_norm = {**variables, "resnet_v1_50/conv1/BatchNorm/gamma": np.ones(64, "<f4")}
    del with_norm["resnet_v1_50/conv1/biases"]
    index = write_tf_bundle(tmp_path / "bn", with_norm)
    with pytest.raises(AssetFormatError) as caught:
        Mgcnet(Mgcnet.Params(weights=str(index)))
    assert "missing: network.conv1.bias" in str(caught.value) and "BatchNorm" in str(caught.value)


def test_missing_weights_are_named() -> None:
    with pytest.raises(MissingAssetError, match=r"model-400000\.index"):
        Mgcnet()


def published_projection(code: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and depth by the published formula; vertices in millimetres."""
    rest = [0, 0, 3.141593, 0.17440447, 9.1053238, 4994.3359]
    rz, ry, rx, *shift = code[224:230] + rest
    about_x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    about_y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    about_z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    camera = vertices @ (about_x @ about_y @ about_z).T + shift
    return 4700 * camera[:, :2] / camera[:, 2:] + 112, camera[:, 2]


def random_code() -> torch.Tensor:
    torch.manual_seed(0)
    code = torch.randn(4, 257, dtype=torch.float64)
    code[:, 224:227] *= 0.4
    code[:, 227:230] *= 30
    return code


def test_projection_equals_the_published_formula() -> None:
    code, vertices = random_code(), 80 * torch.randn(4, 50, 3, dtype=torch.float64)
    parameters = parameters_from_code(code)
    assert parameters.global_pose is not None and parameters.camera is not None
    posed = 1e-3 * vertices @ rotation_vector_to_matrix(parameters.global_pose).mT
    projected = parameters.camera.project(posed)
    for actual, c, v in zip(projected, code, vertices, strict=True):
        pixels, depth = published_projection(c.numpy(), v.numpy())
        # 112 is the middle of the image
        np.testing.assert_allclose((actual[:, :2] + 1) * 112, pixels, rtol=0, atol=1e-9)
        np.testing.assert_allclose(actual[:, 2], 1e-3 * depth, rtol=0, atol=1e-12)


def test_mean_pose_looks_at_the_camera() -> None:
    parameters = parameters_from_code(torch.zeros(1, 257))
    assert parameters.global_pose is not None and parameters.global_pose.norm() < 1e-6
    np.testing.assert_allclose(parameters.camera.code()[0, 4:], [0.00017440447, 0.0091053238, 4.9943359], rtol=1e-6)


def test_light_turns_with_the_head() -> None:
    """Published colours use normals of the unrotated mesh; ours use those of the posed mesh."""
    code = random_code()
    normals = torch.nn.functional.normalize(torch.randn(4, 100, 3, dtype=torch.float64), dim=-1)
    parameters = parameters_from_code(code)
    rotation = rotation_vector_to_matrix(parameters.global_pose)
    ours = irradiance(normals @ rotation.mT, parameters.lighting)
    torch.testing.assert_close(ours, irradiance(normals, lighting_from_bfm(code[:, 230:])), rtol=0, atol=1e-9)


def test_strides_and_pooling_are_those_of_the_released_graph(encoder: Mgcnet) -> None:
    sizes = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: sizes.append(out.shape[-1]))
        for name, module in encoder.network.named_modules()
        if name.count(".") == 1 and "unit" in name
    ]
    with torch.no_grad():
        encoder.network(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    assert sizes == [55, 55, 28, 28, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7]
