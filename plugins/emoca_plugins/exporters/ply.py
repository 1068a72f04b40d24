"""Stanford PLY: one binary file with normals and a colour for each vertex."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.export.mesh import unit_normals
from emoca_core.export.posed_meshes import posed_meshes
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter, FaceMesh

_VERTEX = [*((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz"))]
_COLOR = [*((name, "u1") for name in ("red", "green", "blue"))]
_TYPES = {"<f4": "float", "u1": "uchar"}


class Ply(Exporter):
    """``face.ply``: the captured mesh in the face model's vertex order, metres, with the texture's colour per vertex.

    Of a clip one ``face_NUMBER.ply`` for each frame, by its number in the clip.

    Source: Greg Turk, The PLY Polygon File Format, Stanford University, 1994.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        return [ExportedFile(_write(folder / "face.ply", face.mesh), "PLY")]

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        meshes = posed_meshes(sequence)
        return [ExportedFile(_write(folder / f"face_{number:06d}.ply", mesh)) for number, mesh in meshes]


def _write(path: Path, mesh: FaceMesh) -> Path:
    with atomic_write(path) as temporary:
        temporary.write_bytes(ply_bytes(mesh))
    return path


def ply_bytes(mesh: FaceMesh) -> bytes:
    """The content of a binary PLY file."""
    colors = _colors(mesh)
    fields = _VERTEX if colors is None else _VERTEX + _COLOR
    vertices = np.empty(len(mesh.vertices), fields)
    columns = np.hstack([mesh.vertices, unit_normals(mesh.vertices, mesh.faces)]).T
    for (name, _), values in zip(fields, [*columns, *([] if colors is None else colors.T)], strict=True):
        vertices[name] = values
    triangles = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, mesh.faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment EMOCA Core; metres; x to the subject's left, y up, z out of the face",
        f"element vertex {len(vertices)}",
        *(f"property {_TYPES[kind]} {name}" for name, kind in fields),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode("ascii") + vertices.tobytes() + triangles.tobytes()


def _colors(mesh: FaceMesh) -> UInt8[ndarray, "V 3"] | None:
    """Colour (sRGB) of each vertex: its own, or that of the texture where it lies (at a seam, on one of its sides)."""
    if mesh.vertex_colors is not None:
        return np.asarray(np.rint(255 * np.clip(mesh.vertex_colors, 0, 1)), np.uint8)
    if mesh.texture is None or mesh.uv is None or mesh.uv_faces is None:
        return None
    texel = np.zeros(len(mesh.vertices), np.int64)
    texel[mesh.faces.ravel()] = mesh.uv_faces.ravel()
    side = np.array(mesh.texture.shape[1::-1])
    column, row = np.clip(mesh.uv[texel] * [1, -1] * side + [0, side[1]], 0, side - 1).astype(np.int64).T
    return np.asarray(mesh.texture[row, column])
