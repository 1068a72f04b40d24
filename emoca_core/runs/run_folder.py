"""What a run leaves behind: settings, versions, commit, hardware, metrics, checkpoints."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import BaseModel, Field
from safetensors import SafetensorError

from emoca_core.claims import Claim
from emoca_core.errors import AssetFormatError, EmocaError, OutputError, first_line
from emoca_core.files import (
    atomic_write,
    begin_folder,
    delete_made,
    json_text,
    mark_made,
    open_regular,
    path_below,
    write_json,
    write_text,
    writing_to,
)
from emoca_core.limits import TABLE_BYTES
from emoca_core.parsing import parse_record, read_record
from emoca_core.runs.cards import RUN_CARD, RUN_WEIGHTS
from emoca_core.version import version_of
from emoca_core.weights.write_tensors import write_tensors

METRICS, CHECKPOINTS, TRACKED = "metrics.jsonl", "checkpoints", "emoca"
"""In a run folder: the log, the states to resume from, the files of a tracker."""
PACKAGES = ("emoca-core", "torch", "accelerate", "timm", "numpy")


class Hardware(BaseModel):
    """The machine of a run."""

    machine: str | None = None
    """Kind of processor."""
    cores: int | None = None
    gpus: list[str] = []

    def __str__(self) -> str:
        return f"{len(self.gpus)} x {self.gpus[0]}" if self.gpus else f"{self.cores} cores, {self.machine}"


class Provenance(BaseModel):
    """Versions, commit and machine."""

    versions: dict[str, str] = {}
    python: str | None = None
    system: str | None = None
    commit: str | None = None
    hardware: Hardware = Hardware()


class RunSettings(BaseModel):
    """Of the loop, and what rebuilds what is trained."""

    train: dict[str, object] = {}
    task: dict[str, object] = {}


class RunRecord(Provenance):
    """``run.json``: what was started, with which settings and versions, on which machine."""

    settings: RunSettings


class Progress(BaseModel):
    """``progress.json``: where a run stands; saved with every checkpoint."""

    epoch: int = Field(default=0, ge=0)
    step_in_epoch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    best: float | None = None
    best_step: int | None = None
    validations_without_gain: int = Field(default=0, ge=0)


class _Newest(BaseModel):
    """``checkpoints/last.json``."""

    folder: str


class LogLine(BaseModel, extra="allow"):
    """A line of ``metrics.jsonl``; its other values are numbers by name, null where they are not finite."""

    __pydantic_extra__: dict[str, int | float | None]
    step: int

    @property
    def values(self) -> dict[str, int | float | None]:
        """All but the step."""
        return self.__pydantic_extra__


@dataclass(frozen=True)
class RunFolder:
    """A folder with ``run.json``, ``metrics.jsonl``, ``checkpoints/`` and the tracker's files."""

    path: Path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made where it is missing.

        Raises:
            EmocaError: Another process is training in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        claim = Claim.take(self.path)
        if claim is None:
            raise EmocaError(f"another process is training in {self.path}: wait for it, or give another --out")
        with claim:
            yield

    def start(self, settings: RunSettings, resume: bool) -> None:
        """Begin a run, or continue the one that is there.

        Raises:
            EmocaError: It holds a run and ``resume`` is off, the settings differ from those of the run to resume, or
                a file of the run is damaged or leads out of the folder.
        """
        for name in ("run.json", METRICS, CHECKPOINTS, TRACKED, "pictures"):
            path_below(self.path, name)
        last = self.last
        if not (self.path / "run.json").exists():
            if last is not None:
                raise EmocaError(f"{self.path} holds checkpoints of a run without its run.json: give another --out")
            write_json(
                self.path / "run.json", {"settings": settings.model_dump(mode="json"), **provenance().model_dump()}
            )
            return
        if not resume:
            raise EmocaError(f"{self.path} already holds a run: give another --out, or --resume to continue it")
        before, now = self.record().settings.model_dump(), json.loads(json_text(settings.model_dump(mode="json")))
        if changed := sorted(_differing(before, now)):
            raise EmocaError(f"cannot resume {self.path}: these settings differ: {', '.join(changed)}")
        for old in (self.path / CHECKPOINTS).glob("*step-*"):
            if old != last:
                delete_made(old)  # its process was killed before it had done so
        if last is None:
            self.forget_after(0)

    def record(self) -> RunRecord:
        """``run.json``.

        Raises:
            AssetFormatError: It is missing or damaged.
        """
        return read_record(self.path / "run.json", RunRecord)

    def writing(self) -> AbstractContextManager[None]:
        """Name the folder in what writing to it raises, also through the libraries that save tensors."""
        kept = "The last checkpoint is whole: --resume goes on from it." if self.last else "Nothing was kept."
        return writing_to(self.path, kept, also=(SafetensorError, RuntimeError))

    def log(self, entry: Mapping[str, object]) -> None:
        """Append one line to metrics.jsonl."""
        with self.writing(), open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(json_text(entry, indent=None) + "\n")

    def logged(self) -> list[LogLine]:
        """The lines of metrics.jsonl; without the last, where a crash has cut it.

        Raises:
            AssetFormatError: Another line is damaged.
            FileNotFoundError: There is none.
        """
        file = self.path / METRICS
        with open_regular(file, TABLE_BYTES, AssetFormatError) as lines:
            return [
                parse_record(line.decode("utf-8", "replace"), LogLine, f"{file}, line {number},")
                for number, line in enumerate(lines, 1)
                if line.endswith(b"\n")
            ]

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that a resumed run will do again."""
        if (self.path / METRICS).exists():
            kept = [line.model_dump() for line in self.logged() if line.step <= step]
            write_text(self.path / METRICS, "".join(json_text(entry, indent=None) + "\n" for entry in kept))

    @property
    def last(self) -> Path | None:
        """The newest complete checkpoint.

        Raises:
            EmocaError: ``last.json`` is damaged, names something outside of ``checkpoints/``, or what is gone.
        """
        checkpoints = self.path / CHECKPOINTS
        pointer = checkpoints / "last.json"
        if not pointer.exists():
            return None
        folder = path_below(checkpoints, read_record(pointer, _Newest).folder, what=f"folder in {pointer},")
        if not folder.is_dir():
            raise AssetFormatError(f"{pointer} names a checkpoint that is not there: {folder.name}")
        return folder

    @contextmanager
    def reading(self, checkpoint: Path) -> Iterator[None]:
        """Name the checkpoint in what reading its states raises, through whatever library.

        Raises:
            AssetFormatError: A file of it is missing or damaged.
        """
        try:
            yield
        except (OSError, SafetensorError, UnpicklingError, EOFError, RuntimeError, ValueError, KeyError) as error:
            if isinstance(error, EmocaError):
                raise
            reason = first_line(error)
            raise AssetFormatError(f"{checkpoint} is damaged: {reason}") from error

    def begin_checkpoint(self, step: int) -> Path:
        """A fresh temporary folder to write a checkpoint into.

        Raises:
            OutputError: Something is in its place that this program did not make.
        """
        folder = self.path / CHECKPOINTS / f".step-{step:08d}"
        with self.writing():
            _clear(folder)
            begin_folder(folder)
        return folder

    def commit_checkpoint(self, folder: Path, progress: Progress) -> None:
        """Give a written checkpoint its name, point to it, and only then remove the one before.

        Raises:
            OutputError: Something is in its place that this program did not make, or the disk is full.
        """
        before = self.last
        final = folder.with_name(folder.name.removeprefix("."))
        with self.writing():
            write_json(folder / "progress.json", progress.model_dump())
            mark_made(folder)
            _clear(final)
            os.replace(folder, final)
            write_json(final.parent / "last.json", {"folder": final.name})
        if before is not None and before != final and not delete_made(before):
            from tqdm import tqdm

            tqdm.write(f"{before} is needed no more, but holds files that this version did not make", file=sys.stderr)

    def write_picture(self, name: str, step: int, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
        """A picture of a validation, as ``pictures/NAME-STEP.png``."""
        from PIL import Image

        file = path_below(self.path / "pictures", f"{name}-{step:08d}.png", what="name of a picture,")
        with self.writing(), atomic_write(file) as temporary:
            Image.fromarray(pixels).save(temporary)

    def write_best(self, state: Mapping[str, torch.Tensor], card: Mapping[str, object]) -> None:
        """The best weights so far as safetensors, with a card that says how to rebuild the part."""
        with self.writing():
            write_tensors(self.path / RUN_WEIGHTS, state)
            write_json(self.path / RUN_CARD, card)


def _differing(before: Mapping[str, object], now: Mapping[str, object], inside: str = "") -> Iterator[str]:
    """Dotted names of the values that are not the same."""
    for key in {*before, *now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differing(old, new, f"{inside}{key}.")
        elif old != new:
            yield f"{inside}{key}"


def provenance() -> Provenance:
    """Of this process."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Provenance(
        versions={name: version_of(name) for name in PACKAGES},
        python=platform.python_version(),
        system=platform.platform(),
        commit=_commit(),
        hardware=Hardware(machine=platform.machine(), cores=os.cpu_count(), gpus=gpus),
    )


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _clear(folder: Path) -> None:
    """Make room for a checkpoint."""
    if not delete_made(folder):
        raise OutputError(f"{folder} is in the way, and was not made by this version: remove it")
