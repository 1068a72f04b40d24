"""DECA's coarse encoder against the published network."""

from pathlib import Path

import pytest
import torch
from published import deviation, golden, keyed_state

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.deca import LAYOUT, Deca, parameters_from_code

TOLERANCE = 1e-4  # of the golden output's standard deviation; measured 1e-6


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out as ``deca_model.tar``."""
    expected = golden("deca_E_flame")
    state = keyed_state("deca_E_flame", float(expected["gain"]), str(expected["prefix"]))
    content = {
        "E_flame": state,
        "E_detail": {"encoder.conv1.weight": torch.zeros(1)},
        "D_detail": {"l1.0.bias": torch.zeros(1)},
        "opt": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]},
        "global_step": 5,
    }
    path = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def encoder(published: Path) -> Deca:
    return get_registry().build("encoder", "deca", {"weights": str(published)})


def test_code_equals_the_published_network(encoder: Deca) -> None:
    expected = golden("deca_E_flame")
    image = torch.from_numpy(expected["input"])
    with torch.no_grad():
        parameters = encoder(FaceCrop(image=image))
    blocks = parameters.blocks()
    assert {name: block.shape[1] for name, block in blocks.items()} == LAYOUT
    code = torch.cat([blocks[name] for name in LAYOUT], dim=1)  # in the published order, light as 9 x 3
    assert deviation(code, expected["f64.out"]) < TOLERANCE
    assert parameters.unit_of("shape") == "sigma"


def test_report_says_what_was_left_out(encoder: Deca) -> None:
    report = encoder.load_report
    assert report is not None and len(report.renamed) == 322
    assert report.renamed["E_flame.encoder.conv1.weight"] == "network.encoder.conv1.weight"
    assert set(report.dropped.values()) == {"belongs to the detail model", "state of the training"}
    assert not encoder.training and encoder.asset_paths["deca"] == report.path


@pytest.mark.parametrize("prefix", ["", "module.", "deca.E_flame.", "state_dict.deca.E_flame.module."])
def test_other_wrappings_load(published: Path, tmp_path: Path, encoder: Deca, prefix: str) -> None:
    state = torch.load(published, weights_only=True)["E_flame"]
    torch.save({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "e.pth")
    other = Deca(Deca.Params(weights=str(tmp_path / "e.pth")))
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), other.parameters(), strict=True))


def test_wrong_file_is_refused(published: Path, tmp_path: Path) -> None:
    content = torch.load(published, weights_only=True)
    content["E_flame"]["layers.2.weight"] = torch.zeros(128, 1024)
    del content["E_flame"]["encoder.conv1.weight"]
    torch.save(content, tmp_path / "wrong.tar")
    with pytest.raises(AssetFormatError) as caught:
        Deca(Deca.Params(weights=str(tmp_path / "wrong.tar")))
    assert "missing: network.encoder.conv1.weight" in str(caught.value)
    assert "network.layers.2.weight is 128x1024, expected 236x1024" in str(caught.value)


def test_nothing_is_random_unless_asked_for() -> None:
    with pytest.raises(MissingAssetError, match=r"deca_model\.tar"):
        Deca()
    assert Deca(Deca.Params(weights="random")).load_report is None


def test_camera_is_deca_projection() -> None:
    torch.manual_seed(0)
    code = torch.randn(3, 236)
    points = 0.1 * torch.randn(3, 20, 3)
    s, tx, ty = code[:, 206:209].unbind(1)
    # published: s (x + tx, y + ty, z), then y and z negated; 10 is added to the depth when rasterising
    moved = s[:, None, None] * (points + torch.stack([tx, ty, torch.zeros_like(tx)], -1)[:, None])
    expected = moved * torch.tensor([1.0, -1, -1]) + torch.tensor([0, 0, 10.0])
    projected = parameters_from_code(code).camera.project(points)
    torch.testing.assert_close(projected, expected)


def test_other_sizes_are_resized(encoder: Deca) -> None:
    image = torch.rand(1, 3, 112, 112)
    large = torch.nn.functional.interpolate(image, size=(224, 224), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(encoder(FaceCrop(image=image)).shape, encoder(FaceCrop(image=large)).shape)
