"""Deep3DFace against the published networks, and its pose, camera and light against the published formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published import deviation, golden, keyed_state

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.deep3dface import Deep3DFace, parameters_from_coefficients

VARIANTS = {
    "deep3dface_resnet50": {},
    "deep3dface_resnet50_lastfc": {"use_last_fc": True},
    "deep3dface_resnet18": {"depth": 18},
}


def write(folder: Path, name: str, module: str = "") -> Path:
    """A file laid out as ``epoch_20.pth``."""
    state = keyed_state(name, float(golden(name)["gain"]))
    content = {
        "net_recon": {module + key: tensor for key, tensor in state.items()},
        "opt_00": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []},
        "sched_00": {"last_epoch": 20},
    }
    torch.save(content, folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize(("name", "params"), VARIANTS.items(), ids=VARIANTS)
def test_coefficients_equal_the_published_network(tmp_path: Path, name: str, params: dict[str, object]) -> None:
    path = write(tmp_path, name, "module." if name.endswith("18") else "")
    encoder = get_registry().build("encoder", "deep3dface", {"weights": str(path), **params})
    expected = golden(name)
    image = torch.from_numpy(expected["input"])
    with torch.no_grad():
        coefficients = encoder.coefficients(image)
        parameters = encoder(FaceCrop(image=image))
    assert deviation(coefficients, expected["f64.coeffs"]) < 1e-4  # measured 1e-6
    assert torch.equal(parameters.shape, coefficients[:, :80])
    assert torch.equal(parameters.expression, coefficients[:, 80:144])
    assert torch.equal(parameters.albedo, coefficients[:, 144:224])
    assert {k: v.shape[1] for k, v in parameters.blocks().items()} == dict(encoder.blocks)
    assert set(encoder.load_report.dropped.values()) == {"state of the training"}


def test_other_variant_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "deep3dface_resnet18")
    with pytest.raises(AssetFormatError, match="missing: backbone"):
        Deep3DFace(Deep3DFace.Params(weights=str(path)))
    with pytest.raises(AssetFormatError, match=r"final_layers"):
        Deep3DFace(Deep3DFace.Params(weights=str(path), depth=18, use_last_fc=True))


def test_missing_weights_are_named() -> None:
    with pytest.raises(MissingAssetError, match=r"epoch_20\.pth"):
        Deep3DFace()


def published_projection(coefficients: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Column and row in pixels as the published code computes landmarks; vertices in decimetres."""
    ax, ay, az = coefficients[224:227]
    rx = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    ry = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    rz = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    rotation = (rz @ ry @ rx).T
    camera = vertices @ rotation + coefficients[254:257]
    camera[:, 2] = 10 - camera[:, 2]
    intrinsics = np.array([[1015, 0, 112], [0, 1015, 112], [0, 0, 1]])
    image = camera @ intrinsics.T
    image = image[:, :2] / image[:, 2:]
    return np.stack([image[:, 0], 223 - image[:, 1]], axis=1)


def random_coefficients() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(4, 257, dtype=torch.float64) * torch.cat([torch.ones(224), torch.full((33,), 0.4)])


def test_projection_equals_the_published_formula() -> None:
    coefficients, vertices = random_coefficients(), torch.randn(4, 50, 3, dtype=torch.float64)
    parameters = parameters_from_coefficients(coefficients)
    assert parameters.global_pose is not None and parameters.camera is not None
    posed = 0.1 * vertices @ rotation_vector_to_matrix(parameters.global_pose).mT
    projected = parameters.camera.project(posed)
    pixels = ((projected[..., :2] + 1) * 224 - 1) / 2
    for actual, c, v in zip(pixels, coefficients, vertices, strict=True):
        expected = published_projection(c.numpy(), v.numpy())
        # our principal point is the middle of the image; the published landmarks are half a pixel right and up of it
        np.testing.assert_allclose(actual, expected + np.array([-0.5, 0.5]), rtol=0, atol=1e-9)


def test_maths_equals_the_published_model() -> None:
    """The published decode of a small synthetic asset: posed vertices, depth, landmarks and lit colours."""
    data = golden("deep3dface_bfm")
    coefficients = torch.from_numpy(data["coeffs"]).double()
    parameters = parameters_from_coefficients(coefficients)
    shape = torch.from_numpy(data["shape"]).double()
    rotation = rotation_vector_to_matrix(parameters.global_pose)
    np.testing.assert_allclose(rotation.mT, data["rotation"], atol=1e-6)
    projected = parameters.camera.project(0.1 * shape @ rotation.mT)
    np.testing.assert_allclose(projected[..., 2], 0.1 * data["vertex_cam"][..., 2], atol=1e-6)
    landmarks = projected[:, data["asset.keypoints"].astype(int).ravel() - 1, :2]
    # float32 upstream, 224 px and points at hundreds of pixels: 1e-4 px
    pixels = ((landmarks + 1) * 224 - 1) / 2 + torch.tensor([0.5, -0.5])
    lm68 = data["lm68"]
    column_up = torch.stack([pixels[..., 0], 223 - pixels[..., 1]], -1)
    np.testing.assert_allclose(column_up, lm68, atol=2e-4)
    from emoca_core.geometry.lighting import irradiance

    normals = torch.from_numpy(data["norm"]).double() @ rotation.mT
    shading = irradiance(normals, parameters.lighting)
    np.testing.assert_allclose(shading * torch.from_numpy(data["texture"]), data["color"], atol=2e-6)


def test_pose_has_a_gradient_at_zero() -> None:
    coefficients = torch.zeros(1, 257, requires_grad=True)
    pose = parameters_from_coefficients(coefficients).global_pose
    assert pose is not None
    (gradient,) = torch.autograd.grad(pose.sum(), coefficients)
    torch.testing.assert_close(gradient[0, 224:227], torch.ones(3))
