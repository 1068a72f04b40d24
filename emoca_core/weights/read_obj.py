"""Wavefront OBJ meshes: positions, texture coordinates and polygons, nothing else."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import TEXT_BYTES


@dataclass(frozen=True)
class ObjMesh:
    """One mesh.

    Attributes:
        vertices: [V, 3] positions.
        uv: [U, 2] texture coordinates, v up; empty where the file has none.
        faces: [F, 3] zero-based triangles; polygons are split into fans.
        uv_faces: [F, 3] triangles into ``uv``; empty where the file has none.
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray


def read_obj(path: Path | str) -> ObjMesh:
    """Read a mesh.

    Raises:
        AssetFormatError: Not an OBJ file, or an index outside the mesh.
    """
    try:
        lines = [line.split() for line in _lines(path) if line[:2] in ("v ", "vt", "f ")]
        vertices = _numbers([words[1:4] for words in lines if words[0] == "v"], 3)
        uv = _numbers([words[1:3] for words in lines if words[0] == "vt"], 2)
        corners = [corner for words in lines if words[0] == "f" for corner in _triangulated(words[1:])]
        faces = _indices([corner.split("/")[0] for corner in corners], len(vertices))
        second = [corner.split("/")[1] if "/" in corner else "" for corner in corners]
        uv_faces = _indices(second, len(uv)) if second and all(second) else np.zeros((0, 3), np.int64)
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, AssetFormatError):
            raise
        raise AssetFormatError(f"{path} is not a readable OBJ mesh: {error}") from None
    if not len(vertices) or not len(faces):
        raise AssetFormatError(f"{path} is not an OBJ mesh: it has {len(vertices)} vertices and {len(faces)} faces")
    return ObjMesh(vertices, uv, faces, uv_faces)


def read_obj_vertices(path: Path | str) -> np.ndarray:
    """Only the positions [V, 3]: morph targets repeat everything else."""
    rows = [line[2:] for line in _lines(path) if line.startswith("v ")]
    try:
        values = np.array(" ".join(rows).split(), dtype=np.float64)
        return values.reshape(len(rows), -1)[:, :3]
    except ValueError as error:
        raise AssetFormatError(f"{path} is not a readable OBJ mesh: {error}") from None


def _lines(path: Path | str) -> Iterator[str]:
    with (
        open_regular(path, TEXT_BYTES, AssetFormatError) as file,
        io.TextIOWrapper(file, encoding="utf-8", errors="replace") as text,
    ):
        yield from text


def _numbers(rows: list[list[str]], width: int) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, width)


def _triangulated(polygon: list[str]) -> list[str]:
    return [corner for k in range(1, len(polygon) - 1) for corner in (polygon[0], polygon[k], polygon[k + 1])]


def _indices(words: list[str], count: int) -> np.ndarray:
    index = np.array(words, dtype=np.int64)
    index = np.where(index < 0, index + count, index - 1)  # negative numbers count from the end
    if index.size and (index.min() < 0 or index.max() >= count):
        raise ValueError(f"a face refers to element {int(index.max()) + 1} of {count}")
    return index.reshape(-1, 3)
