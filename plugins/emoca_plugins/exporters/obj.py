"""Wavefront OBJ with its material and texture: the mesh in the face model's own vertex order."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from emoca_core.export.mesh import unit_normals
from emoca_core.export.png import texture_png
from emoca_core.export.posed_meshes import posed_meshes
from emoca_core.files import atomic_write, write_text
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter, FaceMesh

_DECIMALS = 7
"""A tenth of a micrometre."""


class Obj(Exporter):
    """``face.obj`` with its material and texture, and ``face_detail.obj`` of methods with wrinkles; as captured.

    Of a clip one ``face_NUMBER.obj`` for each frame, by its number in the clip, with one material.

    Vertices keep their order, so files of one face model correspond. Metres. Vertex colours follow the coordinates
    (``v x y z r g b``), as MeshLab and Blender read them.

    Source: Wavefront OBJ and MTL, as documented by Paul Bourke.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        main, *others = write_obj(folder / "face.obj", face.mesh)
        if face.detail_mesh is not None:
            others += write_obj(folder / "face_detail.obj", face.detail_mesh)
        return [ExportedFile(main, "OBJ"), *map(ExportedFile, others)]

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        material = write_material(folder / "face.mtl", sequence.rig.mesh)
        meshes = (
            write_obj(folder / f"face_{number:06d}.obj", mesh, material[:1]) for number, mesh in posed_meshes(sequence)
        )
        return [ExportedFile(path) for path in [*material, *chain.from_iterable(meshes)]]


def write_obj(path: Path, mesh: FaceMesh, material: Sequence[Path] | None = None) -> list[Path]:
    """Write NAME.obj, and with a texture also NAME.mtl and NAME_albedo.png beside it.

    Args:
        path: NAME.obj.
        mesh: What to write.
        material: A material that is there already, or none, instead of NAME.mtl.

    Returns:
        The files written.

    Raises:
        OSError: A file cannot be written.
    """
    lines = ["# EMOCA Core; metres; x to the subject's left, y up, z out of the face"]
    written = write_material(path.with_suffix(".mtl"), mesh) if material is None else []
    used = [*(material or written)][:1]
    lines += [f"mtllib {one.name}" for one in used]
    vertices = mesh.vertices
    if mesh.vertex_colors is not None:
        vertices = np.hstack([vertices, np.clip(mesh.vertex_colors, 0, 1)])
    lines += ["o face", _rows("v", vertices)]
    if mesh.uv is not None:
        lines.append(_kept_rows("vt", mesh.uv.tobytes()))
    lines.append(_rows("vn", unit_normals(mesh.vertices, mesh.faces)))
    lines += ["usemtl skin" for _ in used]
    lines.append(_kept_triangles(_int_bytes(mesh.faces), None if mesh.uv_faces is None else _int_bytes(mesh.uv_faces)))
    write_text(path, "\n".join(lines) + "\n")
    return [path, *written]


def write_material(path: Path, mesh: FaceMesh) -> list[Path]:
    """Write NAME.mtl and NAME_albedo.png beside it; nothing for a mesh without texture.

    Returns:
        The files written.

    Raises:
        OSError: A file cannot be written.
    """
    if mesh.texture is None or not mesh.has_uv:
        return []
    texture = path.with_name(f"{path.stem}_albedo.png")
    with atomic_write(texture) as temporary:
        temporary.write_bytes(texture_png(mesh.texture))
    write_text(path, f"newmtl skin\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture.name}\n")
    return [path, texture]


def _rows(keyword: str, values: Float[ndarray, "N D"]) -> str:
    """One line for each row."""
    count, numbers = len(values), _characters(values)
    begin, end = np.frombuffer(keyword.encode(), np.uint8), np.frombuffer(b"\n", np.uint8)
    lines = np.hstack([np.tile(begin, (count, 1)), numbers.reshape(count, -1), np.tile(end, (count, 1))])
    return lines[lines > 0].tobytes().decode().rstrip()


def _characters(values: Float[ndarray, "*shape"]) -> UInt8[ndarray, "*shape _"]:
    """Numbers in decimal, each after a space, with zero for no character: digit by digit, but all numbers at once."""
    left = np.rint(np.abs(values) * 10**_DECIMALS).astype(np.int64)
    whole = max(1, len(str(left.max(initial=0))) - _DECIMALS)  # digits before the point
    text = np.empty((*values.shape, 3 + whole + _DECIMALS), np.uint8)
    text[..., 0], text[..., 1], text[..., 2 + whole] = ord(" "), ord("-") * ((values < 0) & (left > 0)), ord(".")
    for place in reversed((*range(2, 2 + whole), *range(3 + whole, text.shape[-1]))):
        rest = left // 10
        text[..., place] = left - 10 * rest + ord("0")
        left = rest
    leading = text[..., 2 : 1 + whole]
    leading[np.logical_and.accumulate(leading == ord("0"), axis=-1)] = 0
    return text


@lru_cache(maxsize=4)
def _kept_rows(keyword: str, pairs: bytes) -> str:
    """Texture coordinates, which all faces of a model share."""
    return _rows(keyword, np.frombuffer(pairs, np.float64).reshape(-1, 2))


@lru_cache(maxsize=4)
def _kept_triangles(faces: bytes, uv_faces: bytes | None) -> str:
    """Triangles, which all faces of a model share."""
    v = np.frombuffer(faces, np.int64).reshape(-1, 3) + 1
    if uv_faces is None:
        return _text("f %d//%d %d//%d %d//%d", np.repeat(v, 2, axis=1))
    t = np.frombuffer(uv_faces, np.int64).reshape(-1, 3) + 1
    return _text("f %d/%d/%d %d/%d/%d %d/%d/%d", np.stack([v, t, v], axis=2).reshape(len(v), 9))


def _int_bytes(values: Int[ndarray, "F 3"]) -> bytes:
    return values.astype(np.int64).tobytes()


def _text(form: str, values: Int[ndarray, "N D"]) -> str:
    """One line for each row: formatted at once, five times as fast as row by row."""
    return "\n".join([form] * len(values)) % tuple(values.ravel().tolist())
