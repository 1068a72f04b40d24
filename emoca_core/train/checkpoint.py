"""The state of a training in files that hold nothing but numbers: what is read is checked, and nothing of it is run."""

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Shaped
from pydantic import BaseModel, Field
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of, write_json
from emoca_core.parsing import read_record
from emoca_core.train.task import Batch, Task
from emoca_core.weights.write_tensors import write_tensors

MODEL, OPTIMIZER, AVERAGE, STATE = "model.safetensors", "optimizer.safetensors", "average.safetensors", "state.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of every parameter."""


class State(BaseModel, extra="forbid"):
    """``state.json``: which files belong to a checkpoint, and what mixed precision multiplies the loss by."""

    processes: int = Field(ge=1)
    files: dict[str, str]
    scaler: dict[str, float] | None = None


def write_own_state(folder: Path, rank: int) -> None:
    """The random generators of one process."""
    write_tensors(folder / _random_file(rank), _generators())


def write_shared_state(
    folder: Path,
    task: Task[Batch],
    optimizer: Optimizer,
    accelerator: Accelerator,
    average: Mapping[str, Shaped[Tensor, "..."]] | None = None,
) -> None:
    """What all processes have in common; after every process has written its own."""
    write_tensors(folder / MODEL, task.state_dict())
    moments = optimizer.state
    tensors = {
        f"{name}.{key}": moments[parameter][key]
        for name, parameter in _trained(task).items()
        if parameter in moments
        for key in MOMENTS
    }
    write_tensors(folder / OPTIMIZER, tensors)
    if average is not None:
        write_tensors(folder / AVERAGE, average)
    kept = [MODEL, OPTIMIZER] if average is None else [MODEL, OPTIMIZER, AVERAGE]
    names = [*kept, *map(_random_file, range(accelerator.num_processes))]
    scaler = accelerator.scaler.state_dict() if accelerator.scaler else None
    files = {name: sha256_of(folder / name) for name in names}
    write_json(folder / STATE, {"processes": accelerator.num_processes, "files": files, "scaler": scaler or None})


def read_state(folder: Path, task: Task[Batch], optimizer: Optimizer, accelerator: Accelerator) -> bool:
    """Put everything back.

    Returns:
        Whether the generators were, too: they belong to a number of processes.

    Raises:
        AssetFormatError: A file is missing, or is not what was written.
    """
    if not (folder / STATE).exists():
        raise AssetFormatError(
            f"{folder} was written by an earlier version, or is damaged: it has no {STATE}. Its training cannot go on, "
            "but another can start from its weights: give the run as --start of a new one"
        )
    state = read_record(folder / STATE, State)
    expected = {MODEL, OPTIMIZER, *map(_random_file, range(state.processes))}
    if state.files.keys() - {AVERAGE} != expected:
        raise AssetFormatError(f"{folder / STATE} is damaged: it lists other files than {', '.join(sorted(expected))}")
    for name, digest in state.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise AssetFormatError(f"{folder / name} is damaged: it is missing, or not what was written")
    task.load_state_dict(load_file(folder / MODEL))
    _load_moments(optimizer, _trained(task), load_file(folder / OPTIMIZER))
    if accelerator.scaler and state.scaler:
        accelerator.scaler.load_state_dict(state.scaler)
    if state.processes != accelerator.num_processes:
        return False
    _restore_generators(load_file(folder / _random_file(accelerator.process_index)))
    return True


def _random_file(rank: int) -> str:
    return f"random-{rank}.safetensors"


def _trained(task: Task[Batch]) -> dict[str, nn.Parameter]:
    """What the optimiser has, by name, in its order."""
    names = {parameter: name for name, parameter in task.named_parameters()}
    return {names[parameter]: parameter for parameter in task.trained_parameters()}


def _load_moments(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Shaped[Tensor, "..."]]
) -> None:
    left, states = dict(tensors), {}
    for number, (name, parameter) in enumerate(parameters.items()):
        found = {key: left.pop(f"{name}.{key}", None) for key in MOMENTS}
        if all(tensor is None for tensor in found.values()):
            continue
        for key, tensor in found.items():
            if tensor is None or tensor.shape != (() if key == "step" else parameter.shape):
                raise AssetFormatError(f"{OPTIMIZER}: {name}.{key} is missing, or of another shape")
        states[number] = found
    if left:
        raise AssetFormatError(f"{OPTIMIZER} holds what the training does not have: {next(iter(left))}")
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def _generators() -> dict[str, Tensor]:
    """torch's, NumPy's and Python's, as numbers."""
    _, keys, *position = np.random.get_state()
    version, words, gauss = random.getstate()
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy_position": torch.tensor(position, dtype=torch.float64),
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([float("nan") if gauss is None else gauss], dtype=torch.float64),
    }
    return tensors | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_generators(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["torch"])
    place, has_gauss, cached = tensors["numpy_position"].tolist()
    np.random.set_state(("MT19937", tensors["numpy"].numpy().astype(np.uint32), int(place), int(has_gauss), cached))
    version, *words = tensors["python"].tolist()
    gauss = float(tensors["python_gauss"])
    random.setstate((version, tuple(words), None if gauss != gauss else gauss))
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
