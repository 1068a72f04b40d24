"""A captured face or sequence to a folder: which exporters, in which order, and when it is complete."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from emoca_core.errors import EmocaError
from emoca_core.files import MARKER, delete_made
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter
from emoca_core.registry import Registry, get_registry

RECORD = "face.json"
"""Written last: a face is complete when this file is there."""
SEQUENCE_RECORD = "sequence.json"
"""The same of a person through a clip."""
RECORD_EXPORTER = "json"
"""Writes the record; runs after all others, whatever was asked for."""
DEFAULT_WRITE = ("glb", "obj", "codes", "overlay", "page")
DEFAULT_SEQUENCE_WRITE = ("glb", "arkit_csv", "codes", "parquet", "overlay", "page")


def build_exporters(names: Sequence[str], registry: Registry | None = None) -> dict[str, Exporter]:
    """Exporters by name, each once, the one of the record last.

    Raises:
        UnknownNameError: There is no such exporter.
        ComponentImportError: It cannot be imported.
    """
    registry = registry or get_registry()
    wanted = dict.fromkeys(name for name in names if name != RECORD_EXPORTER)
    return {name: registry.build("exporter", name) for name in (*wanted, RECORD_EXPORTER)}


def save_face(face: CapturedFace, folder: Path, exporters: Sequence[Exporter]) -> list[Path]:
    """Write one face in several formats; files of an earlier save of ours are removed before.

    Args:
        face: What to write.
        folder: Made where it does not exist.
        exporters: In this order; the last writes the record.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    _begin(folder)
    files: list[ExportedFile] = []
    for exporter in exporters:
        files += exporter.export(face, folder, tuple(files))
    return [file.path for file in files]


def save_sequence(sequence: CapturedSequence, folder: Path, exporters: Mapping[str, Exporter]) -> list[Path]:
    """Write one person through a clip in several formats; files of an earlier save of ours are removed before.

    Args:
        sequence: What to write.
        folder: Made where it does not exist.
        exporters: By name, in this order; the last writes the record.

    Returns:
        The files written.

    Raises:
        EmocaError: A format holds no movement.
        OSError: The folder cannot be written, or the disk is full.
    """
    refuse_photo_formats(exporters)
    _begin(folder)
    files: list[ExportedFile] = []
    for exporter in exporters.values():
        files += exporter.export_sequence(sequence, folder, tuple(files))
    return [file.path for file in files]


def refuse_photo_formats(exporters: Mapping[str, Exporter]) -> None:
    """Refuse formats that cannot hold movement, before a clip is reconstructed for nothing.

    Raises:
        EmocaError: There is one.
    """
    for name, exporter in exporters.items():
        if type(exporter).export_sequence is Exporter.export_sequence:
            raise EmocaError(f"{name} holds no movement: leave it out of --write for clips")


def _begin(folder: Path) -> None:
    """Remove what an earlier save made, its record first: from then on the folder does not look complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in (RECORD, SEQUENCE_RECORD):
        if (folder / record).exists():
            os.replace(folder / record, folder / MARKER)
    delete_made(folder)
    (folder / MARKER).unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
