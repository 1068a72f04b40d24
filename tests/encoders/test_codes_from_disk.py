"""Codes read from EMOCA's prediction folders, and the head pose that is solved for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from emoca_core.api import load_method
from emoca_core.errors import AssetFormatError, EmocaError, MissingAssetError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop, FaceGeometry, FaceModel, FaceParameters, Parts, WeakPerspectiveCamera
from emoca_core.registry import get_registry
from emoca_plugins.encoders.codes_from_disk import CodesFromDisk
from emoca_plugins.encoders.pose_from_landmarks import with_pose_from_landmarks

KEYS = ("Manually_Annotated_Images/12/a.jpg", "Manually_Annotated_Images/13/b.png")


class Points(FaceModel):
    """68 points that move linearly with one shape coefficient and turn about a root joint."""

    blocks = {"shape": 80, "expression": 64}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("points", 0.05 * torch.randn(68, 3, generator=generator))
        self.register_buffer("direction", 0.005 * torch.randn(68, 3, generator=generator))
        self.register_buffer("root", torch.tensor([0.01, -0.02, 0.03]))
        self.register_buffer("faces", torch.tensor([[0, 1, 2]]))

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        points = self.points + parameters.shape[:, :1, None] * self.direction
        if parameters.global_pose is not None:
            points = (points - self.root) @ rotation_vector_to_matrix(parameters.global_pose).mT + self.root
        return FaceGeometry(points, {"ibug68": points})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``predictions/MGCNet`` as EMOCA wrote it, and ``predictions/ExpNet`` with the photo's extension in its path."""
    random = np.random.default_rng(0)
    for number, key in enumerate(KEYS):
        place = tmp_path / "predictions" / "MGCNet" / Path(key).with_suffix("")
        place.mkdir(parents=True)
        np.save(place / "shape_coeffs.npy", random.normal(size=(1, 80)))
        np.save(place / "exp_coeffs.npy", random.normal(size=64).astype("f4") + number)
        place = tmp_path / "predictions" / "ExpNet" / key
        place.mkdir(parents=True)
        np.save(place / "shape.npy", random.normal(size=99))
        np.save(place / "exp.npy", random.normal(size=29))
    return tmp_path / "predictions"


def crop(keys: tuple[str, ...] | None = KEYS, landmarks: Tensor | None = None) -> FaceCrop:
    sets = {} if landmarks is None else {"ibug68": landmarks}
    return FaceCrop(image=torch.zeros(2, 3, 8, 8), landmarks=sets, keys=keys)


def test_reads_the_codes_of_each_photo(folder: Path) -> None:
    encoder = get_registry().build("encoder", "codes_from_disk", {"folder": str(folder)})
    parameters = encoder(crop())
    for row, key in enumerate(KEYS):
        place = folder / "MGCNet" / Path(key).with_suffix("")
        np.testing.assert_allclose(parameters.shape[row], np.load(place / "shape_coeffs.npy")[0], rtol=1e-6)
        np.testing.assert_allclose(parameters.expression[row], np.load(place / "exp_coeffs.npy"))
    assert {k: v.shape[1] for k, v in parameters.blocks().items()} == dict(encoder.blocks)


def test_recipes_name_the_folder_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    for recipe, method in (("codes_from_disk", "MGCNet"), ("codes_from_disk_expnet", "ExpNet")):
        with pytest.raises(MissingAssetError, match=f"no folder predictions/{method} .*--set encoder.folder=DIR"):
            load_method(recipe)


def test_preset_of_expnet_and_absolute_photo_paths(folder: Path) -> None:
    from emoca_core.registry.catalogue import Use, get_catalogue

    use = Use(uses="codes_from_disk", preset="expnet", params={"folder": str(folder), "photos": "/data/affectnet"})
    encoder = get_registry().build("encoder", "codes_from_disk", get_catalogue().params("encoder", use))
    parameters = encoder(crop(tuple(f"/data/affectnet/{key}" for key in KEYS)))
    assert parameters.shape.shape == (2, 99) and parameters.expression.shape == (2, 29)


def test_units_are_recorded(folder: Path) -> None:
    encoder = CodesFromDisk(CodesFromDisk.Params(folder=folder, units={"shape": "raw"}))
    assert encoder(crop()).unit_of("shape") == "raw"


def test_bad_input_says_what_is_wrong(folder: Path) -> None:
    encoder = CodesFromDisk(CodesFromDisk.Params(folder=folder))
    with pytest.raises(EmocaError, match=r"FaceCrop\.keys"):
        encoder(crop(None))
    with pytest.raises(EmocaError, match=r"FaceCrop\.keys"):
        encoder(crop(KEYS[:1]))
    with pytest.raises(MissingAssetError, match=r"no code for 'other\.jpg'"):
        encoder(crop((KEYS[0], "other.jpg")))
    place = folder / "MGCNet" / Path(KEYS[0]).with_suffix("")
    np.save(place / "exp_coeffs.npy", np.zeros(29))
    with pytest.raises(AssetFormatError, match="29 values, expected 64"):
        encoder(crop())
    np.save(place / "exp_coeffs.npy", np.full(64, np.nan))
    with pytest.raises(AssetFormatError, match="finite"):
        encoder(crop())
    np.save(place / "exp_coeffs.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(AssetFormatError, match="plain npy"):
        encoder(crop())
    with pytest.raises(MissingAssetError, match="Deca"):
        CodesFromDisk(CodesFromDisk.Params(folder=folder, method="Deca"))


def test_keys_cannot_leave_the_folder_by_being_absolute(folder: Path) -> None:
    encoder = CodesFromDisk(CodesFromDisk.Params(folder=folder))
    assert encoder(crop(tuple(f"/{key}" for key in KEYS))).shape.shape == (2, 80)


def true_landmarks(model: Points, parameters: FaceParameters) -> Tensor:
    return parameters.camera.project(model(parameters).landmarks["ibug68"])[..., :2]


def test_pose_and_camera_are_found_from_landmarks() -> None:
    torch.manual_seed(0)
    model = Points().double()
    code = FaceParameters(shape=torch.randn(3, 80).double(), expression=torch.zeros(3, 64).double())
    camera = WeakPerspectiveCamera(torch.tensor([7.0, 8, 9]).double(), 0.02 * torch.randn(3, 2).double())
    truth = code.replace(global_pose=0.6 * torch.randn(3, 3).double(), camera=camera)
    landmarks = true_landmarks(model, truth)
    found = with_pose_from_landmarks(code, model, landmarks)
    # the solver's ridge of 1e-4 biases the affine part by that much
    torch.testing.assert_close(true_landmarks(model, found), landmarks, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.global_pose, truth.global_pose, rtol=0, atol=1e-3)


def test_encoder_adds_the_pose_once_it_knows_the_face_model(folder: Path) -> None:
    encoder, model = CodesFromDisk(CodesFromDisk.Params(folder=folder)), Points()
    code = encoder(crop(landmarks=torch.zeros(2, 68, 2)))
    assert code.camera is None
    encoder.attach(Parts(model, get_registry().build("renderer", "zbuffer")))
    assert list(encoder.children()) == [] and dict(encoder.blocks)["camera"] == 3
    posed = code.replace(
        global_pose=torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.3, 0.1]]),
        camera=WeakPerspectiveCamera(torch.tensor([8.0, 9.0]), torch.zeros(2, 2)),
    )
    found = encoder(crop(landmarks=true_landmarks(model, posed)))
    torch.testing.assert_close(found.global_pose, posed.global_pose, rtol=0, atol=2e-3)
    assert {k: v.shape[1] for k, v in found.blocks().items()} == dict(encoder.blocks)
