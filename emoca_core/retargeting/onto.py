"""Heads of other programs that shall move: with ARKit targets (GLB), or without any (OBJ)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, runtime_checkable

from emoca_core.errors import AssetFormatError, ImageError, RecipeError
from emoca_core.files import atomic_write, plain_name, sha256_of
from emoca_core.registry import get_registry
from emoca_core.retargeting.deformation_transfer import transferred_rig
from emoca_core.retargeting.gltf_rig import GltfRig
from emoca_core.retargeting.retargeted_sequence import RetargetedSequence

_WRITER = "glb"
"""The exporter that writes a mesh with targets and its animation."""


@runtime_checkable
class Onto(Protocol):
    """A head that shall move."""

    @property
    def sha256(self) -> str:
        """Of everything that it was read from."""

    @property
    def file(self) -> str:
        """Name of what is written."""

    def write(self, path: Path, sequence: RetargetedSequence) -> Sequence[str]:
        """Write the moving head; what people should know of it.

        Raises:
            EmocaError: It cannot move so.
            OSError: The file cannot be written.
        """


def open_onto(path: Path, pairs: Path | None = None) -> Onto:
    """A head, read and checked before anything is computed for it.

    Args:
        path: GLB with morph targets by ARKit names, or OBJ without any.
        pairs: Triangles of the person's mesh and their partners, for an OBJ with other triangles.

    Raises:
        AssetFormatError: It is neither, or damaged.
        ImageError: There is no such file.
    """
    for each in (path, pairs):
        if each is not None and not each.is_file():
            raise ImageError(f"{each}: no such file")
    if path.suffix.lower() not in _KINDS:
        raise AssetFormatError(f"{path}: a head to move is a {' or '.join(_KINDS)} file; export it as one")
    return _KINDS[path.suffix.lower()](path, pairs)


@dataclass(frozen=True)
class _WithTargets:
    rig: GltfRig
    sha256: str

    @classmethod
    def read(cls, path: Path, pairs: Path | None) -> "_WithTargets":
        if pairs is not None:
            raise RecipeError(f"{path} has targets of its own, which need no pairs of triangles: leave --pairs out")
        return cls(GltfRig.read(path), sha256_of(path))

    @property
    def file(self) -> str:
        return plain_name(f"onto_{self.rig.path.name}")

    def write(self, path: Path, sequence: RetargetedSequence) -> Sequence[str]:
        self.rig.write(path, sequence)
        return self.rig.notes(sequence)


@dataclass(frozen=True)
class _WithoutTargets:
    path: Path
    pairs: Path | None
    sha256: str

    @classmethod
    def read(cls, path: Path, pairs: Path | None) -> "_WithoutTargets":
        return cls(path, pairs, " ".join(sha256_of(each) for each in (path, pairs) if each is not None))

    @property
    def file(self) -> str:
        return plain_name(f"onto_{self.path.stem}.glb")

    def write(self, path: Path, sequence: RetargetedSequence) -> Sequence[str]:
        rig = transferred_rig(sequence, self.path, self.pairs)
        moving = replace(sequence, own_rig=rig)
        with TemporaryDirectory() as folder:
            (written,) = get_registry().build("exporter", _WRITER).export_sequence(moving, Path(folder))
            data = written.path.read_bytes()
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
        return [f"{self.path.name} has {len(rig.names)} targets by deformation transfer"]


_KINDS: Mapping[str, Callable[[Path, Path | None], Onto]] = {
    ".glb": _WithTargets.read,
    ".obj": _WithoutTargets.read,
}
