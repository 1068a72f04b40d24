"""Wavefront OBJ with its material and texture: the mesh in the face model's own vertex order."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from PIL import Image

from emoca_core.export.mesh import FaceMesh, unit_normals
from emoca_core.files import atomic_write, write_text


def write_obj(path: Path | str, mesh: FaceMesh) -> list[Path]:
    """Write NAME.obj, and with a texture also NAME.mtl and NAME_albedo.png beside it.

    Vertices keep their order, so files of one face model correspond. Units are metres. Vertex colours follow the
    coordinates (``v x y z r g b``), as MeshLab and Blender read them.

    Args:
        path: Where to write the .obj file.
        mesh: The face.

    Returns:
        The files written.

    Raises:
        OSError: A file cannot be written.
    """
    path = Path(path)
    lines = ["# EMOCA Core; metres; x to the subject's left, y up, z out of the face"]
    written = [path]
    textured = mesh.texture is not None and mesh.has_uv
    if mesh.texture is not None and mesh.has_uv:
        material, texture = path.with_suffix(".mtl"), path.with_name(f"{path.stem}_albedo.png")
        with atomic_write(texture) as temporary:
            Image.fromarray(mesh.texture).save(temporary)
        write_text(material, f"newmtl skin\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture.name}\n")
        lines.append(f"mtllib {material.name}")
        written += [material, texture]
    lines += ["o face", *_vertices(mesh)]
    if mesh.uv is not None:
        lines += _rows("vt", mesh.uv)
    lines += _rows("vn", unit_normals(mesh.vertices, mesh.faces))
    lines += ["usemtl skin"] if textured else []
    lines += _triangles(mesh.faces, mesh.uv_faces)
    write_text(path, "\n".join(lines) + "\n")
    return written


def _vertices(mesh: FaceMesh) -> list[str]:
    if mesh.vertex_colors is None:
        return _rows("v", mesh.vertices)
    return _rows("v", np.hstack([mesh.vertices, np.clip(mesh.vertex_colors, 0, 1)]))


def _rows(keyword: str, values: Float[ndarray, "N D"]) -> list[str]:
    form = keyword + " %.7g" * values.shape[1]
    return [form % tuple(row) for row in values.tolist()]


def _triangles(faces: Int[ndarray, "F 3"], uv_faces: Int[ndarray, "F 3"] | None) -> list[str]:
    corners = (faces + 1).tolist()
    if uv_faces is None:
        return ["f " + " ".join(f"{v}//{v}" for v in face) for face in corners]
    return [
        "f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(face, texels, strict=True))
        for face, texels in zip(corners, (uv_faces + 1).tolist(), strict=True)
    ]
