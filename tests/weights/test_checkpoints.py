"""Strict loading: formats, key maps, reports, refusals."""

import hashlib
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from published import write_tf_bundle
from safetensors.torch import save_file
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.weights.checkpoints import (
    KeyMap,
    WeightsParams,
    find_all_weights,
    find_weights,
    load_into,
    read_checkpoint,
)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.bn = nn.BatchNorm2d(3)


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(t.shape) if t.is_floating_point() else t + 5 for name, t in Tiny().state_dict().items()}


def assert_loaded(module: nn.Module, state: dict[str, Tensor]) -> None:
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def saved(tmp_path: Path, content: object, name: str = "weights.pth", **options: object) -> Path:
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


def test_plain_names_match(tmp_path: Path, state: dict[str, Tensor]) -> None:
    module, path = Tiny(), saved(tmp_path, state)
    report = load_into(module, read_checkpoint(path), KeyMap())
    assert_loaded(module, state)
    assert set(report.matched) == set(state) and not report.renamed and not report.dropped
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("legacy", [False, True])
def test_wrapped_prefixed_and_extra_tensors(tmp_path: Path, state: dict[str, Tensor], legacy: bool) -> None:
    content = {
        "epoch": 62,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}
        | {"module.fc_lm.weight": torch.zeros(4)},
    }
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    module = Tiny()
    report = load_into(module, checkpoint, KeyMap(drop={r"fc_lm\.": "a head that is not used"}))
    assert_loaded(module, state)
    assert checkpoint.ignored == ("epoch",)
    assert report.renamed["state_dict.module.conv.weight"] == "conv.weight"
    assert report.dropped == {"state_dict.module.fc_lm.weight": "a head that is not used"}
    assert "dropped 1: a head that is not used" in str(report) and f"{len(state)} renamed" in str(report)


def test_other_formats(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "a.safetensors")
    np.savez(tmp_path / "b.npz", **{k: v.numpy() for k, v in state.items()})
    index = write_tf_bundle(tmp_path / "c", {k: np.array(v.numpy()) for k, v in state.items()})
    for path in (tmp_path / "a.safetensors", tmp_path / "b.npz", index, tmp_path / "c"):
        module = Tiny()
        load_into(module, read_checkpoint(path), KeyMap())
        assert_loaded(module, state)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_are_read_where_networks_are_built_without_memory(
    tmp_path: Path, state: dict[str, Tensor], legacy: bool
) -> None:
    path = saved(tmp_path, state, _use_new_zipfile_serialization=not legacy)
    with torch.device("meta"):  # as ``emoca assets add`` proves a file
        checkpoint = read_checkpoint(path)
        load_into(Tiny(), checkpoint, KeyMap())
    assert all(torch.equal(checkpoint[name], tensor) for name, tensor in state.items())


def test_content_decides_not_the_name(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "weights.tar")
    assert set(read_checkpoint(tmp_path / "weights.tar")) == set(state)


def test_half_precision_becomes_single(tmp_path: Path, state: dict[str, Tensor]) -> None:
    halves = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    module = Tiny()
    load_into(module, read_checkpoint(saved(tmp_path, halves)), KeyMap())
    assert module.conv.weight.dtype == torch.float32
    assert torch.equal(module.conv.weight, halves["conv.weight"].float())


def test_missing_batch_counters_are_reported_and_zero(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["bn.num_batches_tracked"]
    module = Tiny()
    report = load_into(module, read_checkpoint(saved(tmp_path, state)), KeyMap())
    assert report.defaulted == ("bn.num_batches_tracked",) and module.bn.num_batches_tracked == 0
    assert "1 batch counters absent" in str(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv.bias"), "missing: conv.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda s: s.update({"conv.weight": torch.zeros(3, 2)}), "conv.weight is 3x2, expected 3x2x1x1"),
        (lambda s: s.update({"bn.bias": torch.zeros(3, dtype=torch.int64)}), "wrong kind of number: bn.bias"),
        (lambda s: s.update({"bn.bias": torch.full((3,), torch.nan)}), "not finite: bn.bias"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, state: dict[str, Tensor], change: object, message: str) -> None:
    change(state)
    module = Tiny()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    with pytest.raises(AssetFormatError, match=message) as caught:
        load_into(module, read_checkpoint(saved(tmp_path, state)), KeyMap())
    assert "weights.pth" in str(caught.value)
    assert_loaded(module, before)  # all or nothing


def test_two_tensors_for_one_place(tmp_path: Path, state: dict[str, Tensor]) -> None:
    content = {**state, "module.conv.bias": state["conv.bias"]}
    with pytest.raises(AssetFormatError, match=r"two tensors claim the place of 'conv\.bias'"):
        load_into(Tiny(), read_checkpoint(saved(tmp_path, content)), KeyMap())


def test_rename_and_layout(tmp_path: Path, state: dict[str, Tensor]) -> None:
    foreign = {name.replace("conv.", "net/conv/"): t for name, t in state.items()}
    foreign["net/conv/weight"] = state["conv.weight"].permute(2, 3, 1, 0).contiguous()
    keys = KeyMap(
        strip=("net/",),
        rename={r"(\w+)/(\w+)": r"\1.\2"},
        convert=lambda name, tensor: tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor,
    )
    module = Tiny()
    load_into(module, read_checkpoint(saved(tmp_path, foreign)), keys)
    assert_loaded(module, state)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f'{sys.executable} -c \'open("run", "w")\'',)


class Sneaky:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return getattr, ("text", "upper")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("evil", [Malicious(), Sneaky(), eval])
def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, state: dict[str, Tensor], legacy: bool, evil: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"state_dict": state, "extra": evil}, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(AssetFormatError, match="refused"):
        read_checkpoint(path)
    assert not (tmp_path / "run").exists()


def test_bare_malicious_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(AssetFormatError):
        read_checkpoint(tmp_path / "weights.pth")
    assert not (tmp_path / "run").exists()


def test_configuration_objects_of_lightning_are_replaced(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("omegaconf.dictconfig")
    exec("class DictConfig:\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, "omegaconf.dictconfig", module)
    module.DictConfig.__module__ = "omegaconf.dictconfig"
    config = module.DictConfig()
    config.content = {"lr": 1e-4, "path": Path("x")}
    path = saved(tmp_path, {"state_dict": state, "hyper_parameters": {"cfg": config}}, "a.ckpt")
    monkeypatch.delitem(sys.modules, "omegaconf.dictconfig")
    checkpoint = read_checkpoint(path)
    target = Tiny()
    load_into(target, checkpoint, KeyMap())
    assert_loaded(target, state)
    assert "hyper_parameters.cfg" in checkpoint.ignored


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken", b"\x08" + b"\0" * 7 + b"{garbage"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(AssetFormatError, match=r"w\.pth"):
        read_checkpoint(tmp_path / "w.pth")


def test_truncated_files_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for legacy in (False, True):
        path = saved(tmp_path, state, f"{legacy}.pth", _use_new_zipfile_serialization=not legacy)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(AssetFormatError, match="pth"):
            read_checkpoint(path)


def test_files_without_tensors_and_object_arrays(tmp_path: Path) -> None:
    with pytest.raises(AssetFormatError, match="holds no tensors"):
        read_checkpoint(saved(tmp_path, {"a": 1, "b": {}}))
    np.savez(tmp_path / "o.npz", a=np.array([{}], object))
    with pytest.raises(AssetFormatError, match="plain arrays"):
        read_checkpoint(tmp_path / "o.npz")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")


def test_weights_parameter(tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    path = saved(tmp_path, state)
    assert find_weights("deca", "random") is None
    assert find_weights("deca", str(path)) == path
    with pytest.raises(ValueError, match="say 'random'"):
        WeightsParams(weights="none")
    index = write_tf_bundle(tmp_path / "model-4", {"a": np.zeros(1, "f4")})
    assert find_weights("mgcnet", str(tmp_path / "model-4")) == index
    with pytest.raises(MissingAssetError, match="'deca'"):
        find_weights("deca", None)
    with pytest.raises(MissingAssetError, match="'emoca_v2'"):
        find_weights("emoca_v1", "emoca_v2")
    with pytest.raises(MissingAssetError, match=r"nowhere\.pth"):
        find_weights("deca", "nowhere.pth")
    assert find_all_weights({"deca": str(path), "smirk": "random"}) == {"deca": path}
    with pytest.raises(MissingAssetError) as caught:
        find_all_weights({"expnet_shape": None, "expnet_mean": None, "expnet_expression": "random"})
    assert "'expnet_shape'" in str(caught.value) and "'expnet_mean'" in str(caught.value)
    assert "'expnet_expression'" not in str(caught.value)


def test_real_file_with_cuda_storages_loads_on_the_cpu(shared: Path) -> None:
    checkpoint = read_checkpoint(shared / "data" / "weights" / "mb05_120x120.pth")
    assert len(checkpoint) == 166 and checkpoint.ignored == ("epoch",)
    assert checkpoint["state_dict.module.conv1.weight"].shape == (16, 3, 3, 3)
