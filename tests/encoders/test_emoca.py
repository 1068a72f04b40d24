"""EMOCA: frozen DECA plus an expression encoder, from Lightning checkpoints."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from published import deviation, golden, keyed_state
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceCrop
from emoca_core.weights.checkpoints import load_into, read_checkpoint
from emoca_plugins.encoders import deca
from emoca_plugins.encoders.deca import Deca
from emoca_plugins.encoders.emoca import KEYS, Emoca, clone_for

GEOMETRY = {
    "deca.flame.v_template": torch.zeros(5, 3),
    "deca.flame.faces_tensor": torch.zeros(4, 3, dtype=torch.int64),
    "deca.flametex.texture_mean": torch.zeros(1, 1, 6),
    "deca.render.dense_faces": torch.zeros(1, 2, 3, dtype=torch.int64),
    "deca.uv_face_eye_mask": torch.zeros(1, 1, 4, 4),
    "deca.fixed_uv_dis": torch.zeros(4, 4),
    "deca.displacement_mask": torch.zeros(1, 1, 4, 4),
}
HEAD = {"emotion_mlp.model.0.weight": torch.zeros(2, 2)}
LOSSES = {
    "deca.perceptual_loss.featlayer.mean": torch.zeros(1, 3, 1, 1),
    "emonet_loss.backbone.linear.weight": torch.zeros(2, 2),
    "deca.id_loss.net.bias": torch.zeros(2),
}


@pytest.fixture(scope="module")
def flame_state() -> dict[str, Tensor]:
    expected = golden("deca_E_flame")
    return keyed_state("deca_E_flame", float(expected["gain"]), str(expected["prefix"]))


@pytest.fixture(scope="module")
def checkpoint(flame_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Lightning checkpoint whose expression encoder has DECA's weights, 50 outputs."""
    return write(tmp_path_factory.mktemp("emoca") / "EMOCA.ckpt", flame_state, 50)


class AttributeDict(dict):
    __module__ = "pytorch_lightning.utilities.parsing"


def write(path: Path, flame_state: dict[str, Tensor], outputs: int, **switches: bool) -> Path:
    expression = {**flame_state}
    for name in ("layers.2.weight", "layers.2.bias"):
        expression[name] = flame_state[name][150 : 150 + outputs].clone()
    state = {f"deca.E_flame.{name}": tensor for name, tensor in flame_state.items()}
    state |= {f"deca.E_expression.{name}": tensor for name, tensor in expression.items()}
    state |= {"deca.E_detail.layers.0.bias": torch.zeros(1), "deca.D_detail.l1.0.bias": torch.zeros(1)}
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "1.4.9",
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(9.4)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "state_dict": {**state, **GEOMETRY, **LOSSES, **HEAD},
    }
    if switches:
        content["hyper_parameters"] = AttributeDict(model_params=AttributeDict(switches), path=Path("x"))
    with as_lightning():
        torch.save(content, path)
    return path


@contextmanager
def as_lightning() -> Iterator[None]:
    """Let ``AttributeDict`` be found where it says it is, while it is written."""
    names = ("pytorch_lightning", "pytorch_lightning.utilities", "pytorch_lightning.utilities.parsing")
    sys.modules.update({name: types.ModuleType(name) for name in names})
    sys.modules[names[-1]].AttributeDict = AttributeDict
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Emoca:
    return Emoca(Emoca.Params(weights=str(checkpoint)))


def test_both_networks_equal_the_published_one(encoder: Emoca) -> None:
    expected = golden("deca_E_flame")
    with torch.no_grad():
        parameters = encoder(FaceCrop(image=torch.from_numpy(expected["input"])))
    code = torch.cat([parameters.blocks()[name] for name in deca.LAYOUT], dim=1)
    # the expression encoder was given the rows of DECA's expression, so all 236 numbers must come out
    assert deviation(code, expected["f64.out"]) < 1e-4


def test_geometry_in_the_file_is_left_to_the_users_assets(encoder: Emoca) -> None:
    report = encoder.load_report
    assert report is not None and len(report.renamed) == 2 * 322
    for name in GEOMETRY:
        assert "user's own assets" in report.dropped[f"state_dict.{name}"]
    for name in LOSSES:
        assert report.dropped[f"state_dict.{name}"] == "a loss of the training"
    for name in HEAD:
        assert report.dropped[f"state_dict.{name}"] == "emotion head on top of the codes"
    assert "user's own assets" in str(report)


@pytest.mark.parametrize(
    ("outputs", "said", "layout"),
    [
        (53, {"exp_deca_jaw_pose": True, "exp_deca_global_pose": False}, {"expression": 50, "jaw_pose": 3}),
        (53, {"exp_deca_jaw_pose": False, "exp_deca_global_pose": True}, {"expression": 50, "global_pose": 3}),
        (56, {}, {"expression": 50, "global_pose": 3, "jaw_pose": 3}),
    ],
)
def test_switches_follow_the_checkpoint(
    flame_state: dict[str, Tensor], tmp_path: Path, outputs: int, said: dict[str, bool], layout: dict[str, int]
) -> None:
    path = write(tmp_path / "e.ckpt", flame_state, outputs, **said)
    encoder = Emoca(Emoca.Params(weights=str(path)))
    assert encoder.expression_layout == layout
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        own = encoder.expression_network(image)
        coarse = deca.parameters_from_code(encoder.flame_network(image)).blocks()
        blocks = encoder(FaceCrop(image=image)).blocks()
    start = 0
    for name, size in layout.items():
        assert torch.equal(blocks[name], own[:, start : start + size])
        start += size
    for name in set(blocks) - set(layout):
        assert torch.equal(blocks[name], coarse[name])


def test_53_outputs_of_a_file_that_says_nothing_are_asked_for(flame_state: dict[str, Tensor], tmp_path: Path) -> None:
    path = write(tmp_path / "e.ckpt", flame_state, 53)
    with pytest.raises(AssetFormatError, match=r"53 outputs.*jaw_pose: true, or global_pose: true"):
        Emoca(Emoca.Params(weights=str(path)))
    for params, pose in (
        ({"jaw_pose": True}, "jaw_pose"),
        ({"global_pose": True}, "global_pose"),
        ({"jaw_pose": False}, "global_pose"),
    ):
        assert set(Emoca(Emoca.Params(weights=str(path), **params)).expression_layout) == {"expression", pose}


def test_what_an_added_file_says_of_its_training_is_kept(
    flame_state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    path = write(tmp_path / "e.ckpt", flame_state, 53, exp_deca_jaw_pose=False, exp_deca_global_pose=True)
    with as_lightning():
        content = torch.load(path, weights_only=False)
    for name in [name for name in content["state_dict"] if "_detail." in name]:
        del content["state_dict"][name]
    with as_lightning():
        torch.save(content, path)
    (added,) = add_files([path])
    assert added.problem is None
    assert set(Emoca(Emoca.Params()).expression_layout) == {"expression", "global_pose"}

    wild = {**content["state_dict"], "deca.E_flame.layers.0.bias": torch.full((1024,), torch.nan)}
    fewer = {name: value for name, value in content["state_dict"].items() if "layer2.0.bn1.weight" not in name}
    problems = ((wild, "not finite: flame_network.layers.0.bias"), (fewer, "missing: flame_network.encoder"))
    for state, problem in problems:
        torch.save({"state_dict": state}, path)
        (refused,) = add_files([path])
        assert refused.record is None and problem in refused.problem


def test_asking_for_a_jaw_that_was_not_trained_is_refused(checkpoint: Path) -> None:
    with pytest.raises(AssetFormatError, match=r"expression_network\.layers\.2\.weight is 50x1024, expected 53x1024"):
        Emoca(Emoca.Params(weights=str(checkpoint), jaw_pose=True))


def test_deca_stays_frozen_and_in_evaluation(encoder: Emoca) -> None:
    encoder.train()
    try:
        assert encoder.expression_network.training and not encoder.flame_network.training
        assert not any(p.requires_grad for p in encoder.flame_network.parameters())
        assert all(p.requires_grad for p in encoder.expression_network.parameters())
        before = encoder.flame_network.encoder.bn1.running_mean.clone()
        encoder(FaceCrop(image=torch.rand(2, 3, 224, 224))).expression.sum().backward()
        assert torch.equal(encoder.flame_network.encoder.bn1.running_mean, before)
        assert encoder.expression_network.encoder.conv1.weight.grad is not None
    finally:
        encoder.eval()
        encoder.zero_grad()


def test_training_can_start_exactly_at_deca(flame_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"E_flame": flame_state}, tmp_path / "deca_model.tar")
    weights = str(tmp_path / "deca_model.tar")
    crop = FaceCrop(image=torch.rand(1, 3, 224, 224))
    with torch.no_grad():
        expected = Deca(Deca.Params(weights=weights))(crop).blocks()
        encoder = Emoca(Emoca.Params(weights=weights, start="deca", jaw_pose=True, global_pose=True))
        actual = encoder(crop).blocks()
    for name, block in expected.items():
        torch.testing.assert_close(actual[name], block, rtol=1e-5, atol=1e-6)
    assert all(p.requires_grad for p in encoder.expression_network.parameters())
    assert list(encoder.asset_paths) == ["deca"]


def test_clone_takes_the_right_rows(encoder: Emoca) -> None:
    clone = clone_for(encoder.flame_network, {"expression": 50, "jaw_pose": 3})
    weight = encoder.flame_network.layers[2].weight
    assert torch.equal(clone.layers[2].weight, torch.cat([weight[150:200], weight[203:206]]))


def test_a_deca_file_is_not_an_emoca_file(flame_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"E_flame": flame_state}, tmp_path / "deca_model.tar")
    with pytest.raises(AssetFormatError, match=r"missing: expression_network\."):
        Emoca(Emoca.Params(weights=str(tmp_path / "deca_model.tar")))


def test_key_map_alone_reports_unexpected_networks(
    encoder: Emoca, flame_state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write(tmp_path / "e.ckpt", flame_state, 50)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["deca.E_other.weight"] = torch.zeros(1)
    torch.save(content, path)
    with pytest.raises(AssetFormatError, match=r"unexpected: E_other\.weight"):
        load_into(encoder, read_checkpoint(path), KEYS)
