"""Options of the loop that change no numbers, or change them in a known way: clipping, precision, trackers."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from emoca_core.errors import ParamsError

sys.path.insert(0, str(Path(__file__).parent))
import toy_run


def weights_after(folder: Path, **settings) -> torch.Tensor:
    toy_run.run(folder, settings={"epochs": 1, "validate_every": 1} | settings)
    state = load_file(folder / "best.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    return torch.cat([state[name].flatten() for name in sorted(state)])


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_gradient_is_clipped_before_the_step(tmp_path):
    """Adam divides by the gradient's size, but adds 1e-8: with a norm of 1e-13 it moves 1e-5 of its learning rate."""
    torch.manual_seed(0)
    task = toy_run.ToyTask()
    state = task.trained_state()
    start = torch.cat([state[name].flatten() for name in sorted(state)])
    free = weights_after(tmp_path / "free") - start
    wide = weights_after(tmp_path / "wide", clip_norm=1e6) - start
    clipped = weights_after(tmp_path / "clipped", clip_norm=1e-13) - start
    assert torch.equal(free, wide)
    assert free.abs().max() > 1e-2
    assert clipped.abs().max() < 1e-6


def test_mixed_precision_learns_the_same_with_float32_weights(tmp_path):
    """bfloat16 has 8 bits: 4 steps of Adam at 1e-2 differ by less than the distance that they go."""
    full = weights_after(tmp_path / "no")
    with pytest.raises(ParamsError, match="precision=bf16 is not possible here"):
        weights_after(tmp_path / "refused", precision="bf16")
    AcceleratorState._reset_state(True)  # Accelerate holds one precision for each process
    mixed = weights_after(tmp_path / "bf16", precision="bf16")
    AcceleratorState._reset_state(True)
    assert not torch.equal(full, mixed)
    torch.testing.assert_close(mixed, full, atol=2e-2, rtol=0)
    numbers = [value for entry in log_of(tmp_path / "bf16") for key, value in entry.items() if "loss" in key]
    assert numbers and all(map(math.isfinite, numbers))


def test_a_tracker_that_is_not_installed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("emoca_core.train.loop.find_spec", lambda name: None)
    with pytest.raises(ParamsError, match="wandb is not installed: pip install wandb"):
        toy_run.run(tmp_path / "run", settings={"tracker": "wandb"})
    assert not (tmp_path / "run").exists()


def test_tensorboard_holds_the_numbers_of_the_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_run.run(tmp_path / "run", settings={"epochs": 1, "tracker": "tensorboard"})
    (events,) = {path.parent for path in (tmp_path / "run").rglob("events.out.tfevents*")}
    reader = EventAccumulator(str(events))
    reader.Reload()
    expected = {(entry["step"], key): value for entry in log_of(tmp_path / "run") for key, value in entry.items()}
    seen = {(e.step, tag): e.value for tag in reader.Tags()["scalars"] for e in reader.Scalars(tag)}
    shown = {key: value for key, value in seen.items() if key in expected}
    assert len(shown) > 4
    for key, value in shown.items():
        assert value == pytest.approx(expected[key], rel=1e-5), key  # TensorBoard stores float32
