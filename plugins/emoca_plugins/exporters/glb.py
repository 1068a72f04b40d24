"""Binary glTF 2.0 (GLB): a textured face with named morph targets and the photo's camera, in one file.

Written directly: the format is a JSON header and a block of arrays, and no library that installs with this project
writes cameras, texture and named, sparse morph targets together.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from emoca_core.export.camera import GltfCamera, camera_to_gltf
from emoca_core.export.head_motion import HeadMotion, continuous_quaternions, head_motion
from emoca_core.export.mesh import split_at_seams, unit_normals
from emoca_core.export.png import texture_png
from emoca_core.export.target_normals import MovedSurface
from emoca_core.files import atomic_write, json_text
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter, ExpressionRig, FaceMesh

_FLOAT, _UNSIGNED_SHORT, _UNSIGNED_INT = 5126, 5123, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_VECTOR_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_STILL, _NOT_TURNED = 1e-7, 1e-4
"""Vertices that a target moves less (metres), or whose normals it turns less (radians), are left out of it."""
_LINEAR, _CLAMP_TO_EDGE = 9729, 33071
Json = dict[str, object]
Bound = Sequence[float]


class Glb(Exporter):
    """``face.glb``: the person's neutral face, texture, weighted targets that give the capture, and the photo's camera.

    Of a clip, weights and head are animated with its times; the eyes are moved by the targets eyeLook*.

    ``extras`` of the mesh hold the photo's file name, the recipe, ``targetNames``, and as ``arkit`` the weights where
    these are the 52 ARKit values, as ``arkit_detected`` the landmarker's scores where they are not.

    Source: glTF 2.0 specification, Khronos Group.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        rig = face.mesh.rig
        key = "arkit" if rig is not None and rig.source == "arkit" else "arkit_detected"
        extras: Json = {"photo": face.photo.path.name, "recipe": face.recipe}
        if face.arkit is not None:
            extras[key] = dict(face.arkit)
        data = glb_bytes(face.mesh, None if face.camera is None else camera_to_gltf(face.camera), extras)
        return _write(folder / "face.glb", data)

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        return _write(folder / "face.glb", animated_glb_bytes(sequence))


def _write(path: Path, data: bytes) -> Sequence[ExportedFile]:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return [ExportedFile(path, "GLB")]


def animated_glb_bytes(sequence: CapturedSequence) -> bytes:
    """The content of a GLB file that moves: the neutral head, its targets, and one animation with the clip's times."""
    motion = head_motion(sequence)
    camera = None if motion.camera is None else camera_to_gltf(motion.camera)
    extras = {"clip": sequence.clip.path.name, "recipe": sequence.recipe, "track": sequence.track}
    return glb_bytes(sequence.rig.mesh, camera, extras, motion)


def glb_bytes(
    mesh: FaceMesh,
    camera: GltfCamera | None = None,
    extras: Mapping[str, object] | None = None,
    motion: HeadMotion | None = None,
) -> bytes:
    """The content of a GLB file.

    A mesh with a rig is written at rest with the rig's targets and weights, so that viewers show the captured face and
    every target can be moved on its own; another mesh as it is. A texture goes into the base colour. glTF multiplies
    the base colour by ``COLOR_0``, so vertex colours are ``COLOR_0`` (linear RGB) only in a mesh without texture;
    beside a texture they are the application attribute ``_ALBEDO`` (sRGB).

    Args:
        mesh: The face.
        camera: Camera of the photo, as a node named ``photo``.
        extras: JSON-ready facts that are kept with the mesh.
        motion: How the mesh moves and which weights it has; the mesh then is a child of the node ``head``.
    """
    buffer = _Buffer()
    roots, nodes, face = [0], [Json(name="face", mesh=0)], _mesh(mesh, buffer, extras)
    document: Json = {
        "asset": {"version": "2.0", "generator": "EMOCA Core"},
        "scene": 0,
        "scenes": [{"name": "capture", "nodes": roots}],
        "nodes": nodes,
        "meshes": [face],
        "materials": [_material(textured=mesh.texture is not None and mesh.has_uv)],
    }
    if mesh.texture is not None and mesh.has_uv:
        picture = buffer.add(texture_png(mesh.texture))
        document["images"] = [{"mimeType": "image/png", "name": "albedo", "bufferView": picture}]
        document["samplers"] = [
            {"magFilter": _LINEAR, "minFilter": _LINEAR, "wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}
        ]
        document["textures"] = [{"source": 0, "sampler": 0}]
    if motion is not None:
        document["animations"] = [_animation(nodes, roots, face, motion, buffer)]
    if camera is not None:
        document["cameras"] = [camera.camera]
        roots.append(len(nodes))
        nodes.append({"name": "photo", "camera": 0, "matrix": camera.matrix.T.ravel().tolist()})
    document |= {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": buffer.size}]}
    return _pack(document, b"".join(buffer.chunks))


@dataclass
class _Buffer:
    """The binary block of a GLB file, with its table of contents."""

    chunks: list[bytes] = field(default_factory=list)
    views: list[Json] = field(default_factory=list)
    accessors: list[Json] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes, target: int | None = None) -> int:
        """Append bytes, padded to a multiple of four; returns the number of their view."""
        padded = data + bytes(-len(data) % 4)
        view: Json = {"buffer": 0, "byteOffset": self.size, "byteLength": len(data)}
        self.views.append(view | ({"target": target} if target else {}))
        self.chunks.append(padded)
        self.size += len(padded)
        return len(self.views) - 1

    def add_vectors(self, values: Float[ndarray, "N D"], bounds: bool = False) -> int:
        """Append per-vertex float32 vectors; returns the number of their accessor."""
        values = np.ascontiguousarray(values, dtype="<f4")
        accessor = {
            "bufferView": self.add(values.tobytes(), _VERTEX_BUFFER),
            "componentType": _FLOAT,
            "count": len(values),
            "type": _VECTOR_TYPES[values.shape[1]],
        }
        return self._accessor(accessor | (_bounds(values) if bounds else {}))

    def add_track(self, values: Float[ndarray, "N D"], bounds: bool = False) -> int:
        """Append what an animation reads, float32; returns the number of its accessor."""
        values = np.ascontiguousarray(values, dtype="<f4")
        view, kind = self.add(values.tobytes()), _VECTOR_TYPES[values.shape[1]]
        accessor = {"bufferView": view, "componentType": _FLOAT, "count": len(values), "type": kind}
        return self._accessor(accessor | (_bounds(values) if bounds else {}))

    def add_sparse(
        self, count: int, places: Int[ndarray, "N"], values: Float32[ndarray, "N 3"], **bounds: Bound
    ) -> int:
        """Append ``count`` vectors of which few are not zero; returns the number of their accessor."""
        accessor: Json = {"componentType": _FLOAT, "count": count, "type": "VEC3", **bounds}
        if len(places):
            kind, dtype = _index_type(count)
            accessor["sparse"] = {
                "count": len(places),
                "indices": {"bufferView": self.add(places.astype(dtype).tobytes()), "componentType": kind},
                "values": {"bufferView": self.add(values.astype("<f4").tobytes())},
            }
        return self._accessor(accessor)

    def add_triangles(self, faces: Int[ndarray, "F 3"]) -> int:
        """Append triangle indices; returns the number of their accessor."""
        kind, dtype = _index_type(int(faces.max(initial=0)) + 1)
        view = self.add(faces.astype(dtype).tobytes(), _INDEX_BUFFER)
        return self._accessor({"bufferView": view, "componentType": kind, "count": faces.size, "type": "SCALAR"})

    def _accessor(self, accessor: Json) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _animation(nodes: list[Json], roots: list[int], mesh: Json, motion: HeadMotion, buffer: _Buffer) -> Json:
    """Put the mesh under a node that moves, and give it weights that change."""
    turns = continuous_quaternions(motion.heads[:, :3, :3])
    places, weights = motion.heads[:, :3, 3], motion.weights
    mesh["weights"] = weights[0].tolist()  # what viewers without animations show
    head = {"name": "head", "children": [0], "translation": places[0].tolist(), "rotation": turns[0].tolist()}
    face, node = len(nodes) - 1, len(nodes)
    nodes.append(head)
    roots[0] = node
    times = buffer.add_track(motion.times[:, None], bounds=True)
    tracks = [
        (node, "translation", times, places, "LINEAR"),
        (node, "rotation", times, turns, "LINEAR"),
        (face, "weights", times, weights.reshape(-1, 1), "LINEAR"),
    ]
    if not motion.is_shown.all():
        sizes = np.repeat(motion.is_shown[:, None].astype(float), 3, axis=1)
        tracks.append((node, "scale", buffer.add_track(motion.show_times[:, None], bounds=True), sizes, "STEP"))
    return {
        "name": "clip",
        "channels": [
            {"sampler": i, "target": {"node": target, "path": path}} for i, (target, path, *_) in enumerate(tracks)
        ],
        "samplers": [
            {"input": at, "output": buffer.add_track(values), "interpolation": how} for _, _, at, values, how in tracks
        ],
    }


def _mesh(mesh: FaceMesh, buffer: _Buffer, extras: Mapping[str, object] | None) -> Json:
    vertices = mesh.vertices if mesh.rig is None else mesh.rig.neutral
    if mesh.uv is not None and mesh.uv_faces is not None:
        vertex, texel, faces = split_at_seams(mesh.faces, mesh.uv_faces)
    else:
        vertex, texel, faces = np.arange(len(vertices)), None, mesh.faces
    attributes = {
        "POSITION": buffer.add_vectors(vertices[vertex], bounds=True),
        "NORMAL": buffer.add_vectors(unit_normals(vertices, mesh.faces)[vertex]),
    }
    if mesh.uv is not None and texel is not None:
        attributes["TEXCOORD_0"] = buffer.add_vectors(np.array([0.0, 1.0]) + mesh.uv[texel] * np.array([1.0, -1.0]))
    if mesh.vertex_colors is not None:
        colors = np.clip(mesh.vertex_colors, 0, 1)[vertex]
        if mesh.texture is not None and mesh.has_uv:
            attributes["_ALBEDO"] = buffer.add_vectors(colors)
        else:
            attributes["COLOR_0"] = buffer.add_vectors(_srgb_to_linear(colors))
    primitive: Json = {"attributes": attributes, "indices": buffer.add_triangles(faces), "material": 0}
    result: Json = {"name": "face", "primitives": [primitive]}
    notes = dict(extras or {})
    if mesh.rig is not None:
        primitive["targets"] = _targets(mesh.rig, mesh.faces, vertex, buffer)
        result["weights"] = list(mesh.rig.weights.values())
        notes["targetNames"] = list(mesh.rig.weights)  # where Blender, three.js and others look for the names
    return result | ({"extras": notes} if notes else {})


def _targets(
    rig: ExpressionRig, faces: Int[ndarray, "F 3"], vertex: Int[ndarray, "N"], buffer: _Buffer
) -> list[dict[str, int]]:
    """Each target with the change of the normals that it brings; viewers add both up by weight."""
    targets = rig.targets.astype(np.float32)
    moves = _longer(targets, _STILL)
    turns = MovedSurface.of(moves, faces).turns(rig.neutral, targets)
    moved = _Sparse.of(targets, moves, vertex)
    turned = _Sparse.of(turns, _longer(turns, _NOT_TURNED), vertex)
    return [
        {
            "POSITION": buffer.add_sparse(len(vertex), *position, min=low, max=high),
            "NORMAL": buffer.add_sparse(len(vertex), *normal),
        }
        for position, normal, low, high in zip(moved.split(), turned.split(), *moved.bounds(len(vertex)), strict=True)
    ]


@dataclass(frozen=True)
class _Sparse:
    """The vectors of several targets that are kept.

    Attributes:
        places: Where they are among the split vertices, target by target.
        values: The vectors.
        starts: Where each target begins.
    """

    places: Int[ndarray, "K"]
    values: Float32[ndarray, "K 3"]
    starts: Int[ndarray, "N"]

    @classmethod
    def of(cls, vectors: Float32[ndarray, "N V 3"], kept: Bool[ndarray, "N V"], vertex: Int[ndarray, "S"]) -> "_Sparse":
        target, place = np.divmod(np.flatnonzero(kept[:, vertex]), len(vertex))
        values = vectors.reshape(-1, 3).take(target * kept.shape[1] + vertex[place], axis=0)
        return cls(place, values, np.searchsorted(target, np.arange(len(kept))))

    def split(self) -> Iterator[tuple[Int[ndarray, "_"], Float32[ndarray, "_ 3"]]]:
        """Places and vectors of each target."""
        return zip(np.split(self.places, self.starts[1:]), np.split(self.values, self.starts[1:]), strict=True)

    def bounds(self, count: int) -> tuple[list[list[float]], list[list[float]]]:
        """The smallest and the largest of each target's ``count`` vectors, the zeros that are left out among them."""
        sizes = np.diff(self.starts, append=len(self.places))
        bounds = np.zeros((2, len(sizes), 3), np.float32)
        for bound, pick in zip(bounds, (np.minimum, np.maximum), strict=True):
            bound[sizes > 0] = pick.reduceat(self.values, self.starts[sizes > 0], axis=0)
            bound[sizes < count] = pick(bound[sizes < count], 0)
        low, high = bounds.tolist()
        return low, high


def _longer(vectors: Float32[ndarray, "N V 3"], limit: float) -> Bool[ndarray, "N V"]:
    """Where a vector has a longer entry."""
    x, y, z = np.abs(np.moveaxis(vectors, 2, 0)) > limit  # plane by plane: quicker than along rows of three
    return np.asarray(x | y | z)


def _material(textured: bool) -> Json:
    surface: Json = {"metallicFactor": 0.0, "roughnessFactor": 0.7}
    if textured:
        surface["baseColorTexture"] = {"index": 0}
    return {"name": "skin", "pbrMetallicRoughness": surface, "doubleSided": True}


def _index_type(count: int) -> tuple[int, str]:
    """The smallest type for numbers below ``count``; the largest number of a type is not an index."""
    return (_UNSIGNED_SHORT, "<u2") if count < 2**16 else (_UNSIGNED_INT, "<u4")


def _bounds(values: Float[ndarray, "N D"]) -> dict[str, list[float]]:
    return {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}


def _srgb_to_linear(color: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """Source: IEC 61966-2-1, the sRGB transfer function."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _pack(document: Json, binary: bytes) -> bytes:
    """Source: glTF 2.0 specification, chapter 4, GLB file format."""
    text = json_text(document, indent=None, strict=True).encode("utf-8", "replace")  # of names that are not UTF-8
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
