"""What a run leaves behind: settings, versions, commit, hardware, metrics, checkpoints."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from emoca_core.errors import EmocaError
from emoca_core.files import atomic_write, write_text

PACKAGES = ("emoca-core", "torch", "accelerate", "timm", "numpy")


@dataclass(frozen=True)
class RunFolder:
    """A folder with ``run.json``, ``metrics.jsonl``, ``checkpoints/`` and the tracker's files."""

    path: Path

    def start(self, settings: Mapping[str, Any], resume: bool) -> None:
        """Create the folder, or continue in it.

        Raises:
            EmocaError: It holds a run and ``resume`` is off, or the settings differ from those of the run to resume.
        """
        file = self.path / "run.json"
        if not file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps({"settings": settings, **provenance()}, indent=2) + "\n")
            return
        if not resume:
            raise EmocaError(f"{self.path} already holds a run: give another --out, or --resume to continue it")
        before = json.loads(file.read_text(encoding="utf-8"))["settings"]
        now = json.loads(json.dumps(settings))
        changed = [key for key in {*before, *now} if before.get(key) != now.get(key)]
        if changed:
            raise EmocaError(f"cannot resume {self.path}: these settings differ: {', '.join(sorted(changed))}")

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that a resumed run will do again."""
        file = self.path / "metrics.jsonl"
        if file.exists():
            lines = file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            write_text(file, "".join(line + "\n" for line in kept))

    @property
    def last(self) -> Path | None:
        """The newest complete checkpoint."""
        pointer = self.path / "checkpoints" / "last.json"
        if not pointer.exists():
            return None
        return pointer.parent / str(json.loads(pointer.read_text(encoding="utf-8"))["folder"])

    def begin_checkpoint(self, step: int) -> Path:
        """A fresh temporary folder to write a checkpoint into."""
        folder = self.path / "checkpoints" / f".step-{step:08d}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def commit_checkpoint(self, folder: Path) -> None:
        """Give a written checkpoint its name, point to it, and only then remove the one before."""
        before = self.last
        final = folder.with_name(folder.name.removeprefix("."))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(folder, final)
        write_text(final.parent / "last.json", json.dumps({"folder": final.name}) + "\n")
        if before is not None and before != final:
            shutil.rmtree(before, ignore_errors=True)

    def write_picture(self, name: str, step: int, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
        """A picture of a validation, as ``pictures/NAME-STEP.png``."""
        from PIL import Image

        with atomic_write(self.path / "pictures" / f"{name}-{step:08d}.png") as temporary:
            Image.fromarray(pixels).save(temporary)

    def write_best(self, state: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> None:
        """The best weights so far as safetensors, with a card that says how to rebuild the part."""
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        with atomic_write(self.path / "best.safetensors") as temporary:
            save_file(tensors, temporary)
        write_text(self.path / "best.json", json.dumps(card, indent=2) + "\n")


def provenance() -> dict[str, Any]:
    """Versions, commit and hardware."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": _commit(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "gpus": gpus},
    }


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62  # a line cut short by a crash is forgotten
