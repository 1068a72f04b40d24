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
from emoca_core.runs.run_folder import RunFolder
from emoca_core.train import TrainSettings
from emoca_core.weights.write_tensors import write_tensors

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


def test_the_learning_rate_rises_and_falls(tmp_path):
    """A first step of Adam is as long as its learning rate: here a hundredth, and of the last step nothing is left."""
    settings = TrainSettings(learning_rate=0.3, warmup_steps=10, schedule="cosine")
    rates = [settings.rate_at(step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.03 * (step + 1) for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[60] == pytest.approx(0.15) and rates[109] < 1e-4
    task = (torch.manual_seed(0), toy_run.ToyTask().trained_state())[1]
    start = torch.cat([task[name].flatten() for name in sorted(task)])
    for warmup, length in ((0, 1e-2), (100, 1e-4)):
        moved = weights_after(tmp_path / f"{warmup}", max_steps=1, warmup_steps=warmup) - start
        assert moved.abs().max().item() == pytest.approx(length, rel=1e-2), warmup


def test_the_averaged_weights_are_measured_and_kept(tmp_path):
    """Of three steps, with decays 2/11, 3/12 and 4/13 of what was remembered; the training itself goes on without."""
    run = {"max_steps": 3, "validate_every": 0.25}
    plain = [weights_after(tmp_path / f"plain-{n}", **run | {"max_steps": n}) for n in (1, 2, 3)]
    torch.manual_seed(0)
    state = toy_run.ToyTask().trained_state()
    expected = torch.cat([state[name].flatten() for name in sorted(state)])
    for step, weights in enumerate(plain, 1):
        expected = expected.lerp(weights, 1 - (1 + step) / (10 + step))
    average = weights_after(tmp_path / "average", **run, average=0.9)
    torch.testing.assert_close(average, expected)
    assert not torch.equal(average, plain[-1])
    model = load_file(RunFolder(tmp_path / "average").last / "model.safetensors")
    assert torch.equal(torch.cat([model[name].flatten() for name in sorted(model)]), plain[-1])


def test_channels_last_changes_no_weight_by_more_than_rounding(tmp_path):
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    write_tensors(tmp_path / "layer.safetensors", layer.state_dict())
    assert torch.equal(load_file(tmp_path / "layer.safetensors")["weight"], layer.weight)
    torch.testing.assert_close(
        weights_after(tmp_path / "last", channels_last=True), weights_after(tmp_path / "first"), atol=1e-6, rtol=0
    )


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
