"""Wavefront OBJ with its material and texture: the mesh in the face model's own vertex order."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.export.mesh import unit_normals
from emoca_core.export.png import texture_png
from emoca_core.export.posed_meshes import posed_meshes
from emoca_core.files import atomic_write, write_text
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter, FaceMesh


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
    return _text(keyword + " %.7g" * values.shape[1], values)


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


def _text(form: str, values: Float[ndarray, "N D"] | Int[ndarray, "N D"]) -> str:
    """One line for each row: formatted at once, five times as fast as row by row."""
    return "\n".join([form] * len(values)) % tuple(values.ravel().tolist())
