"""3DDFA-V2: real half-width weights on real faces, the other networks under reproducible weights, pose and units."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from published import deviation, golden, keyed_state

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_core.testing import check_component
from emoca_plugins.encoders.tddfa_v2 import ARCHITECTURES, TddfaV2, pose_to_camera


def yaw_pitch_roll(pose: torch.Tensor) -> torch.Tensor:
    """Head angles in degrees as the published code prints them, from the normalised rows of [s R | t].

    Source: 3DDFA-V2, utils/pose.py (``P2sRt``, ``matrix2angle``).
    """
    first, second = torch.nn.functional.normalize(pose[:, :2, :3], dim=-1).unbind(1)
    third = torch.linalg.cross(first, second)
    yaw = torch.asin(third[:, 0].clamp(-1, 1))
    pitch = torch.atan2(third[:, 1], third[:, 2])
    roll = torch.atan2(second[:, 0], first[:, 0])
    return torch.rad2deg(torch.stack([yaw, pitch, roll], dim=1))


@pytest.fixture(scope="module")
def statistics(shared: Path) -> str:
    return str(shared / "data" / "weights" / "3ddfa_param_mean_std_62.npz")


@pytest.fixture(scope="module")
def real_params(shared: Path, statistics: str) -> dict[str, str]:
    weights = shared / "data" / "weights" / "mb05_120x120.pth"
    return {"architecture": "mb05", "weights": str(weights), "statistics": statistics}


@pytest.fixture(scope="module")
def real(real_params: dict[str, str]) -> TddfaV2:
    return get_registry().build("encoder", "tddfa_v2", real_params)


@pytest.fixture(scope="module")
def faces(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "parity" / "3ddfa_mb05_real.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def photos(faces: dict[str, np.ndarray]) -> FaceCrop:
    """The real crops as the rest of the project sees them: RGB in [0, 1]."""
    return FaceCrop(image=(torch.from_numpy(faces["input"]).flip(1) * 128 + 127.5) / 255)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("published_names", [False, True])
def test_output_equals_the_published_network(tmp_path: Path, architecture: str, published_names: bool) -> None:
    expected = golden(f"3ddfa_{architecture}")
    state = keyed_state(f"3ddfa_{architecture}", float(expected["gain"]))
    content: dict[str, object] = dict(state)
    if published_names:
        renamed = {f"module.{name.replace('fc.', 'fc_param.')}": tensor for name, tensor in state.items()}
        content = {"epoch": 1, "state_dict": renamed | {"module.fc_lm.weight": torch.zeros(136, 2)}}
    torch.save(content, tmp_path / "w.pth")
    np.savez(tmp_path / "statistics.npz", mean=np.zeros(62, np.float32), std=np.ones(62, np.float32))  # not used here
    params = {"architecture": architecture, "weights": str(tmp_path / "w.pth")}
    params["statistics"] = str(tmp_path / "statistics.npz")
    encoder = get_registry().build("encoder", "tddfa_v2", params)
    with torch.no_grad():
        output = encoder.network(torch.from_numpy(expected["input"]))
    assert deviation(output, expected["f64.raw62"]) < 1e-4  # measured 1e-6


def test_real_weights_on_real_faces(real: TddfaV2, faces: dict[str, np.ndarray], photos: FaceCrop) -> None:
    with torch.no_grad():
        output = real.network(torch.from_numpy(faces["input"]))
        parameters = real(photos)
    np.testing.assert_allclose(output, faces["raw62"], rtol=0, atol=1e-5)  # measured 5e-7
    raw = real.denormalise(output)
    # relative to each number's own spread: the scales reach from 1e-4 to 1e5
    np.testing.assert_allclose(raw / real.output_std, faces["param62"] / real.output_std.numpy(), rtol=0, atol=2e-5)
    spread = real.output_std[12:52]
    np.testing.assert_allclose(parameters.shape / spread, raw[:, 12:52] / spread, atol=2e-5)
    np.testing.assert_allclose(parameters.expression, raw[:, 52:], atol=5e-5)
    assert parameters.unit_of("shape") == parameters.unit_of("expression") == "raw"
    assert real.load_report is not None
    assert set(real.load_report.dropped.values()) == {"landmark head of the training"}


def test_head_angles_of_real_faces(real: TddfaV2, faces: dict[str, np.ndarray], photos: FaceCrop) -> None:
    pose = torch.from_numpy(faces["param62"][:, :12]).reshape(-1, 3, 4)
    expected = faces["yaw_pitch_roll_s_t3"]
    np.testing.assert_allclose(yaw_pitch_roll(pose), expected[:, :3], atol=1e-4)  # degrees, float32
    _, camera = pose_to_camera(pose)
    np.testing.assert_allclose(camera.scale / 1e6 * 60, expected[:, 3], rtol=1e-6)
    with torch.no_grad():
        rotation = rotation_vector_to_matrix(real(photos).global_pose)
    as_pose = torch.cat([rotation, torch.zeros(6, 3, 1)], dim=2)
    # the nearest rotation turns each row by half of what the published rows lack to a right angle: under a degree
    assert np.abs(yaw_pitch_roll(as_pose).numpy() - expected[:, :3]).max() < 1.0


def published_pixels(pose: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Column and row in a 120 px crop; vertices in micrometres."""
    points = vertices @ pose[:, :3].T + pose[:, 3]
    return np.stack([points[:, 0] - 1, 120 - points[:, 1]], axis=1)


def our_pixels(pose: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    rotation, camera = pose_to_camera(pose)
    projected = camera.project(1e-6 * vertices @ rotation.mT)
    return ((projected[..., :2] + 1) * 120 - 1) / 2


def head(faces: int) -> torch.Tensor:
    """Points on a head-sized ellipsoid, micrometres."""
    directions = torch.nn.functional.normalize(torch.randn(faces, 300, 3, dtype=torch.float64), dim=-1)
    return directions * torch.tensor([7e4, 9e4, 6e4])


def test_projection_equals_the_published_formula() -> None:
    torch.manual_seed(0)
    rotation = rotation_vector_to_matrix(torch.randn(5, 3, dtype=torch.float64))
    scale = 4e-4 + 1e-4 * torch.rand(5, 1, 1, dtype=torch.float64)
    shift = torch.tensor([60.0, 70.0, -66.0]).double().reshape(1, 3, 1) + torch.randn(5, 3, 1).double()
    pose, vertices = torch.cat([scale * rotation, shift], dim=2), head(5)
    for actual, p, v in zip(our_pixels(pose, vertices), pose, vertices, strict=True):
        np.testing.assert_allclose(actual, published_pixels(p.numpy(), v.numpy()), rtol=0, atol=1e-9)


def test_real_poses_are_nearly_scaled_rotations(faces: dict[str, np.ndarray]) -> None:
    torch.manual_seed(1)
    pose, vertices = torch.from_numpy(faces["param62"][:, :12]).double().reshape(-1, 3, 4), head(6)
    expected = np.stack([published_pixels(p.numpy(), v.numpy()) for p, v in zip(pose, vertices, strict=True)])
    difference = np.abs(our_pixels(pose, vertices).numpy() - expected)
    assert difference.max() < 0.5 and difference.mean() < 0.2  # pixels of 120


def test_pose_has_an_exact_gradient() -> None:
    torch.manual_seed(2)
    rotation = rotation_vector_to_matrix(torch.randn(2, 3, dtype=torch.float64))
    pose = torch.cat([rotation + 0.05 * torch.randn(2, 3, 3).double(), torch.randn(2, 3, 1).double()], dim=2)

    def outputs(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        turned, camera = pose_to_camera(value)
        return turned, camera.code()

    assert torch.autograd.gradcheck(outputs, pose.requires_grad_())


def test_whitened_codes_say_so(real_params: dict[str, str], photos: FaceCrop, faces: dict[str, np.ndarray]) -> None:
    encoder = get_registry().build("encoder", "tddfa_v2", {**real_params, "codes": "whitened"})
    with torch.no_grad():
        parameters = encoder(photos)
    np.testing.assert_allclose(parameters.shape, faces["raw62"][:, 12:52], atol=1e-5)
    np.testing.assert_allclose(parameters.expression, faces["raw62"][:, 52:], atol=1e-5)
    assert parameters.unit_of("shape") == parameters.unit_of("expression") == "whitened"


def test_published_pickle_of_statistics(tmp_path: Path, real_params: dict[str, str], statistics: str) -> None:
    with np.load(statistics) as file:
        content = {name: file[name] for name in file.files}
    path = tmp_path / "param_mean_std_62d_120x120.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    encoder = TddfaV2(TddfaV2.Params(**{**real_params, "statistics": str(path)}))
    np.testing.assert_array_equal(encoder.output_std, content["std"])
    path.write_bytes(pickle.dumps({"mean": np.zeros(72), "std": np.ones(72)}))
    with pytest.raises(AssetFormatError, match="62 means and deviations"):
        TddfaV2(TddfaV2.Params(**{**real_params, "statistics": str(path)}))


def test_never_touches_the_global_gradient_mode(real_params: dict[str, str], photos: FaceCrop) -> None:
    assert torch.is_grad_enabled()
    parameters = get_registry().build("encoder", "tddfa_v2", real_params)(photos)
    assert torch.is_grad_enabled() and parameters.expression.requires_grad


def test_wrong_architecture_is_refused(real_params: dict[str, str]) -> None:
    with pytest.raises(AssetFormatError, match=r"network\.conv1\.weight is 16x3x3x3, expected 32x3x3x3"):
        TddfaV2(TddfaV2.Params(**{**real_params, "architecture": "mb1"}))


def test_missing_files_are_named(real_params: dict[str, str]) -> None:
    with pytest.raises(MissingAssetError, match=r"mb1_120x120\.pth"):
        TddfaV2()
    with pytest.raises(MissingAssetError, match=r"param_mean_std_62d_120x120\.pkl"):
        TddfaV2(TddfaV2.Params(**{**real_params, "statistics": None}))


def test_shared_crop_is_resized_as_emoca_did(real: TddfaV2) -> None:
    image = torch.rand(1, 3, 224, 224)
    small = torch.nn.functional.interpolate(image, size=(120, 120), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(real(FaceCrop(image=image)).shape, real(FaceCrop(image=small)).shape)


def test_contract(real_params: dict[str, str]) -> None:
    check_component("encoder", "tddfa_v2", real_params)
