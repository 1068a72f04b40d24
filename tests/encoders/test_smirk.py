"""SMIRK against the published encoders."""

from pathlib import Path

import pytest
import torch
from published import deviation, golden, keyed_state

from emoca_core.errors import MissingAssetError
from emoca_core.interfaces import FaceCrop
from emoca_core.registry import get_registry
from emoca_plugins.encoders.smirk import Smirk, limited_jaw


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Smirk:
    state = keyed_state("smirk", float(golden("smirk")["gain"]))
    content = {f"smirk_encoder.{name}": tensor for name, tensor in state.items()}
    content |= {
        "smirk_generator.inc.double_conv.0.weight": torch.zeros(2),
        "smirk_generator.outc.conv.bias": torch.zeros(3),
    }
    path = tmp_path_factory.mktemp("smirk") / "SMIRK_em1.pt"
    torch.save(content, path)
    return get_registry().build("encoder", "smirk", {"weights": str(path)})


def test_code_equals_the_published_network(encoder: Smirk) -> None:
    expected = golden("smirk")
    image = torch.from_numpy(expected["input"])
    with torch.no_grad():
        parameters = encoder(FaceCrop(image=image))
        head = encoder.expression_encoder(image)
    blocks = {
        "pose_params": parameters.global_pose,
        "cam": parameters.camera.code(),
        "shape_params": parameters.shape,
        "expression_params": parameters.expression,
        "eyelid_params": parameters.eyelids,
        "jaw_params": parameters.jaw_pose,
        "expression_head_raw": head,
    }
    for name, block in blocks.items():
        assert deviation(block, expected[f"f64.{name}"]) < 1e-4, name  # measured 3e-6
    assert {k: v.shape[1] for k, v in parameters.blocks().items()} == dict(encoder.blocks)
    assert parameters.unit_of("eyelids") == "activation"


def test_report_names_the_generator(encoder: Smirk) -> None:
    assert encoder.load_report is not None
    assert list(encoder.load_report.dropped.values()) == ["image generator of the training"] * 2
    assert len(encoder.load_report.renamed) == 762


def test_bare_encoder_file_loads(tmp_path: Path, encoder: Smirk) -> None:
    state = keyed_state("smirk", float(golden("smirk")["gain"]))
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "s.pt")
    other = Smirk(Smirk.Params(weights=str(tmp_path / "s.pt")))
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), other.parameters(), strict=True))


def test_jaw_only_opens_and_turns_little() -> None:
    jaw = torch.tensor([[-0.3, 0.5, -0.5], [0.4, 0.1, -0.1]])
    torch.testing.assert_close(limited_jaw(jaw), torch.tensor([[0.0, 0.2, -0.2], [0.4, 0.1, -0.1]]))


def test_missing_weights_are_named() -> None:
    with pytest.raises(MissingAssetError, match=r"SMIRK_em1\.pt"):
        Smirk()
