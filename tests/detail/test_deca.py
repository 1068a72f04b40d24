"""DECA's detail encoder and decoder against the published networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import deviation, golden, keyed_state
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError, MissingAssetError, UnknownNameError
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.registry import get_registry
from emoca_plugins.detail.deca import DecaDetail


@pytest.fixture(autouse=True)
def no_assets_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "no-assets"))


@pytest.fixture(scope="module")
def states() -> dict[str, dict[str, Tensor]]:
    parts = {name: golden(f"deca_{name}") for name in ("E_detail", "D_detail")}
    return {name: keyed_state(f"deca_{name}", float(data["gain"]), str(data["prefix"])) for name, data in parts.items()}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The two UV files as published: an RGBA picture (of another size, which must be resampled) and metres."""
    folder = tmp_path_factory.mktemp("maps")
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[20:90, 30:100] = 255
    Image.fromarray(picture).save(folder / "uv_face_eye_mask.png")
    np.save(folder / "fixed_displacement_256.npy", np.linspace(-1e-3, 1e-3, 256 * 256).reshape(256, 256))
    return {
        "mask": str(folder / "uv_face_eye_mask.png"),
        "fixed_displacement": str(folder / "fixed_displacement_256.npy"),
    }


@pytest.fixture(scope="module")
def model(
    states: dict[str, dict[str, Tensor]], maps: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> DecaDetail:
    path = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    torch.save({**states, "E_flame": {"layers.0.bias": torch.zeros(1)}, "opt": {"lr": torch.zeros(1)}}, path)
    return get_registry().build("detail", "deca", {"weights": str(path), **maps})


def test_code_equals_the_published_encoder(model: DecaDetail) -> None:
    expected = golden("deca_E_detail")
    with torch.no_grad():
        code = model.encode(FaceCrop(image=torch.from_numpy(expected["input"])))
    assert deviation(code, expected["f64.out"]) < 1e-4  # measured 1e-6


def test_map_equals_the_published_decoder(model: DecaDetail) -> None:
    expected = golden("deca_D_detail")
    jaw, expression, detail = torch.split(torch.from_numpy(expected["input"]), [3, 50, 128], dim=1)
    parameters = FaceParameters(jaw_pose=jaw, expression=expression, detail=detail)
    with torch.no_grad():
        displacement = model.decode(parameters)
        longer = model.decode(parameters.replace(expression=torch.nn.functional.pad(expression, (0, 50), value=1.0)))
    assert deviation(displacement[..., ::4, ::4], expected["f64.out"]) < 1e-4
    assert torch.equal(longer, displacement)


def test_single_precision_of_training_agrees(model: DecaDetail) -> None:
    torch.manual_seed(0)
    latent = 0.1 * torch.randn(2, 181)
    precise = model.detail_decoder(latent)
    for layer in model.detail_decoder.conv_blocks:
        layer.train(not isinstance(layer, nn.BatchNorm2d))
    model.detail_decoder.training = True  # the layers themselves keep their statistics
    try:
        single = model.detail_decoder(latent)
    finally:
        model.detail_decoder.eval()
    assert precise.dtype == single.dtype == torch.float32
    # these weights amplify float32's rounding to 1e-4 of the map's range of 0.01 m
    torch.testing.assert_close(single, precise, rtol=0, atol=2e-6)
    gradients = [torch.autograd.grad(out.sum(), model.detail_decoder.l1[0].bias)[0] for out in (single, precise)]
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-5)


def test_batchnorm_eps_is_the_published_one(model: DecaDetail) -> None:
    eps = [layer.eps for layer in model.detail_decoder.conv_blocks if isinstance(layer, nn.BatchNorm2d)]
    assert eps == [1e-5, 0.8, 0.8, 0.8, 0.8, 0.8]


def test_lightning_checkpoint_loads_the_same(
    states: dict[str, dict[str, Tensor]], maps: dict[str, str], model: DecaDetail, tmp_path: Path
) -> None:
    flat = {f"deca.{part}.{name}": tensor for part, state in states.items() for name, tensor in state.items()}
    rest = {"deca.flame.v_template": torch.zeros(5, 3), "deca.E_expression.layers.0.bias": torch.zeros(1)}
    torch.save({"state_dict": flat | rest, "epoch": 3}, tmp_path / "e.ckpt")
    other = DecaDetail(DecaDetail.Params(weights=str(tmp_path / "e.ckpt"), **maps))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert other.load_report is not None
    assert "user's own assets" in other.load_report.dropped["state_dict.deca.flame.v_template"]


def test_coarse_checkpoint_is_refused(
    states: dict[str, dict[str, Tensor]], maps: dict[str, str], tmp_path: Path
) -> None:
    torch.save({"E_detail": states["E_detail"]}, tmp_path / "coarse.tar")
    with pytest.raises(AssetFormatError, match=r"missing: detail_decoder\."):
        DecaDetail(DecaDetail.Params(weights=str(tmp_path / "coarse.tar"), **maps))


def test_missing_weights_and_blocks_are_named(model: DecaDetail) -> None:
    with pytest.raises(MissingAssetError) as caught:
        DecaDetail()
    for file in ("deca_model.tar", "uv_face_eye_mask.png", "fixed_displacement_256.npy"):
        assert file in str(caught.value)
    with pytest.raises(UnknownNameError, match="jaw_pose"):
        model.decode(FaceParameters(expression=torch.zeros(1, 50), detail=torch.zeros(1, 128)))


def test_maps_come_from_the_files_and_stay_out_of_checkpoints(maps: dict[str, str], model: DecaDetail) -> None:
    expected = torch.zeros(1, 1, 256, 256)
    expected[..., 40:180, 60:200] = 1  # each texel of the file twice
    assert torch.equal(model.mask, expected)
    assert model.fixed_displacement.dtype == torch.float32
    assert model.fixed_displacement[0, 0].item() == pytest.approx(-1e-3)
    assert model.asset_paths["deca_uv_face_eye_mask"] == Path(maps["mask"])
    assert model.asset_paths["deca_fixed_displacement"] == Path(maps["fixed_displacement"])
    assert not any("mask" in name or "fixed" in name for name in model.state_dict())
    assert {"mask", "fixed_displacement"} <= dict(model.named_buffers()).keys()  # they follow the module


def test_maps_can_be_left_out_only_by_saying_so(states: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    torch.save(states, tmp_path / "deca_model.tar")
    plain = DecaDetail(
        DecaDetail.Params(weights=str(tmp_path / "deca_model.tar"), mask="none", fixed_displacement="none")
    )
    assert plain.mask is None and plain.fixed_displacement is None
    np.save(tmp_path / "small.npy", np.zeros((64, 64)))
    with pytest.raises(AssetFormatError, match="64 x 64 texels, expected 256 x 256"):
        DecaDetail(
            DecaDetail.Params(
                weights=str(tmp_path / "deca_model.tar"), mask="none", fixed_displacement=str(tmp_path / "small.npy")
            )
        )
