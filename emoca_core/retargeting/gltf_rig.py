"""Somebody else's head in a GLB file: finds its ARKit targets, and writes a copy that moves them."""

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, ValidationError

from emoca_core.errors import AssetFormatError, RecipeError
from emoca_core.export.head_motion import continuous_quaternions, head_motion
from emoca_core.files import atomic_write, json_text, read_regular
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import CapturedSequence
from emoca_core.limits import ASSET_BYTES
from emoca_core.parsing import problems_of, shown
from emoca_core.vocabulary.arkit import ARKIT_NAMES, arkit_name

_FLOAT = 5126
_HEAD_JOINT = re.compile(r"(.*[^a-z])?head$", re.IGNORECASE)
_MOVES = 0.02
"""Values that never reach it are not missed."""
_NAMED = 8
Json = dict[str, object]


class _Primitive(BaseModel):
    targets: list[dict[str, int]] = []
    extras: object = None


class _Mesh(BaseModel):
    name: str = ""
    primitives: list[_Primitive]
    weights: list[float] | None = None
    extras: object = None


class _Node(BaseModel):
    name: str = ""
    mesh: int | None = None
    children: list[int] = []
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    matrix: list[float] | None = None
    weights: list[float] | None = None


class _Skin(BaseModel):
    joints: list[int]


class _Buffer(BaseModel):
    uri: str | None = None
    byteLength: int  # noqa: N815 (of the format)


class _Accessor(BaseModel):
    name: str = ""


class _Document(BaseModel):
    """What is read of a glTF document; everything else is kept as it is."""

    nodes: list[_Node] = []
    meshes: list[_Mesh] = []
    skins: list[_Skin] = []
    buffers: list[_Buffer] = []
    accessors: list[_Accessor] = []
    bufferViews: list[object] = []  # noqa: N815
    animations: list[object] = []


@dataclass(frozen=True)
class MorphedNode:
    """A node whose mesh has targets.

    Attributes:
        node: Its number.
        targets: Names of the mesh's targets, as the file has them.
        arkit: The ARKit name of each; ``None`` for another.
        weights: At rest.
    """

    node: int
    targets: Sequence[str]
    arkit: Sequence[str | None]
    weights: Float[ndarray, "T"]


@dataclass(frozen=True)
class GltfRig:
    """A head of another program.

    Attributes:
        path: Of the GLB file.
        document: Its JSON.
        binary: Its buffer.
        morphed: Nodes with at least one ARKit target.
        head: Number of the joint that turns the head, and its rotation and that of its parent at rest; ``None`` where
            none is called so.
    """

    path: Path
    document: Json
    binary: bytes
    morphed: Sequence[MorphedNode]
    head: tuple[int, Float[ndarray, "3 3"], Float[ndarray, "3 3"]] | None

    @classmethod
    def read(cls, path: Path) -> "GltfRig":
        """Read a head.

        Raises:
            AssetFormatError: No GLB file, or none with a target that has an ARKit name.
            OSError: It cannot be read.
        """
        document, binary = read_glb(path)
        try:
            parsed = _Document.model_validate(document)
        except ValidationError as error:
            raise AssetFormatError(f"{path} is damaged: {'; '.join(problems_of(error))}") from None
        if parsed.buffers and parsed.buffers[0].uri is not None:
            raise AssetFormatError(f"{path} keeps its data in another file: save it as one GLB")
        try:
            found = [_morphed(parsed, number) for number, node in enumerate(parsed.nodes) if node.mesh is not None]
            head = _head_joint(parsed)
        except IndexError:
            raise AssetFormatError(f"{path} is damaged: it refers to something that it does not have") from None
        morphed = [one for one in found if any(one.arkit)]
        if not morphed:
            names = [shown(name) for one in found for name in one.targets][:_NAMED]
            has = f"its targets are {', '.join(names)}" if names else "it has no targets at all"
            raise AssetFormatError(f"{path} has no morph target with an ARKit name such as jawOpen: {has}")
        return cls(path, document, binary, morphed, head)

    def notes(self, sequence: CapturedSequence) -> list[str]:
        """What of the movement does not reach this head, and which of its targets stay still."""
        known = {name for one in self.morphed for name in one.arkit if name}
        values = _values(sequence)
        missed = [
            n for n, most in zip(ARKIT_NAMES, values.max(axis=0), strict=True) if most > _MOVES and n not in known
        ]
        strangers = list(
            dict.fromkeys(t for one in self.morphed for t, a in zip(one.targets, one.arkit, strict=True) if not a)
        )
        notes = [f"{self.path.name} has {len(known)} of the 52 ARKit targets"]
        if missed:
            notes.append(f"{len(missed)} values that move have no target there: {_listed(missed)}")
        if strangers:
            notes.append(f"{len(strangers)} of its targets have no ARKit name and stay still: {_listed(strangers)}")
        if self.head is None:
            notes.append("no joint there is called head, so the head does not turn")
        return notes

    def animated(self, sequence: CapturedSequence) -> bytes:
        """The same file with an animation of its own targets, and of its head's joint, as its first.

        Nothing moves across cuts and long gaps, see ``head_motion``.

        Args:
            sequence: With ARKit values.

        Raises:
            RecipeError: The sequence has no ARKit values.
        """
        _values(sequence)
        motion = head_motion(sequence)
        columns = {name: column for column, name in enumerate(sequence.rig.names)}
        growing = _Growing(json.loads(json.dumps(self.document)), bytearray(self.binary))
        times = growing.add(motion.times[:, None], bounds=True)
        tracks = []
        for one in self.morphed:
            weights = np.repeat(one.weights[None], len(motion.times), axis=0)
            for target, name in enumerate(one.arkit):
                if name is not None:
                    weights[:, target] = motion.weights[:, columns[name]]
            tracks.append((one.node, "weights", growing.add(weights.reshape(-1, 1))))
        if self.head is not None:
            joint, rest, parent = self.head
            turns = parent.T @ motion.heads[:, :3, :3] @ parent @ rest
            tracks.append((joint, "rotation", growing.add(continuous_quaternions(turns))))
        growing.animate("emoca", times, tracks)
        return growing.packed()

    def write(self, path: Path, sequence: CapturedSequence) -> None:
        """Write ``animated`` to a file.

        Raises:
            RecipeError: The sequence has no ARKit values.
            OSError: It cannot be written.
        """
        data = self.animated(sequence)
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)


def _values(sequence: CapturedSequence) -> Float[ndarray, "N 52"]:
    if sequence.rig.source != "arkit":
        raise RecipeError(f"'{sequence.recipe}' has no ARKit values, which another head needs: take open_fit")
    return sequence.rig.weights


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")


def _morphed(document: _Document, number: int) -> MorphedNode:
    node = document.nodes[number]
    mesh = document.meshes[node.mesh or 0]
    first = mesh.primitives[0] if mesh.primitives else _Primitive()
    count = len(first.targets)
    names = _target_names(mesh.extras) or _target_names(first.extras)
    if len(names) != count:
        places = [target.get("POSITION") for target in first.targets]
        names = ["" if place is None else document.accessors[place].name for place in places]
    weights = np.array(node.weights or mesh.weights or [0.0] * count, dtype=np.float64)
    if len(weights) != count:
        raise IndexError(number)
    return MorphedNode(number, names, [arkit_name(name) for name in names], weights)


def _target_names(extras: object) -> list[str]:
    names = extras.get("targetNames") if isinstance(extras, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _head_joint(document: _Document) -> tuple[int, Float[ndarray, "3 3"], Float[ndarray, "3 3"]] | None:
    """The joint called head, joints of skins first; its own rotation, and that of its parent in the scene."""
    joints = {joint for skin in document.skins for joint in skin.joints}
    called = [
        number
        for number, node in enumerate(document.nodes)
        if node.mesh is None and node.matrix is None and _HEAD_JOINT.fullmatch(node.name)
    ]
    if not called:
        return None
    number = min(called, key=lambda one: (one not in joints, one))
    parents = {child: parent for parent, node in enumerate(document.nodes) for child in node.children}
    turned, above, seen = np.eye(3), parents.get(number), set[int]()
    while above is not None and above not in seen:
        seen.add(above)
        turned = _rotation(document.nodes[above]) @ turned
        above = parents.get(above)
    return number, _rotation(document.nodes[number]), turned


def _rotation(node: _Node) -> Float[ndarray, "3 3"]:
    if node.matrix is not None:
        columns = np.array(node.matrix).reshape(4, 4).T[:3, :3]
        u, _, vt = np.linalg.svd(columns)
        return np.asarray(u @ vt)
    x, y, z, w = np.array(node.rotation) / max(float(np.linalg.norm(node.rotation)), 1e-12)
    angle = 2 * np.arctan2(np.linalg.norm([x, y, z]), w)
    axis = np.array([x, y, z]) / max(float(np.linalg.norm([x, y, z])), 1e-12)
    return np.asarray(rotation_vector_to_matrix(torch.from_numpy(angle * axis)).numpy())


# the container


def read_glb(path: Path) -> tuple[Json, bytes]:
    """The JSON and the buffer of a GLB file.

    Raises:
        AssetFormatError: It is none.
        OSError: It cannot be read.

    Source: glTF 2.0 specification, chapter 4.
    """
    data = read_regular(path, ASSET_BYTES, AssetFormatError)
    try:
        magic, version, length = struct.unpack_from("<4sII", data)
        if magic != b"glTF" or version != 2:
            raise AssetFormatError(f"{path} is no GLB file of glTF 2.0: export the head as .glb")
        size, kind = struct.unpack_from("<I4s", data, 12)
        if kind != b"JSON" or not 20 + size <= len(data) or length > len(data):
            raise AssetFormatError(f"{path} is damaged: it ends too early")
        document = json.loads(data[20 : 20 + size])
        binary = b""
        if len(data) >= 28 + size:
            inner, kind = struct.unpack_from("<I4s", data, 20 + size)
            binary = data[28 + size :][:inner] if kind == b"BIN\0" else b""
    except (struct.error, ValueError, RecursionError) as error:
        raise AssetFormatError(f"{path} is no GLB file, or damaged: {error}") from None
    if not isinstance(document, dict):
        raise AssetFormatError(f"{path} is damaged: its JSON is no object")
    return document, binary


@dataclass
class _Growing:
    """A document and its buffer, to which an animation is added; nothing in them is changed otherwise."""

    document: Json
    binary: bytearray

    def add(self, values: Float[ndarray, "N D"], bounds: bool = False) -> int:
        """Append float32 rows; the number of their accessor."""
        rows = np.ascontiguousarray(values, "<f4")
        self.binary += bytes(-len(self.binary) % 4)
        view: Json = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": rows.nbytes}
        self.binary += rows.tobytes()
        kind = {1: "SCALAR", 4: "VEC4"}[rows.shape[1]]
        accessor: Json = {
            "bufferView": self._append("bufferViews", view),
            "componentType": _FLOAT,
            "count": len(rows),
            "type": kind,
        }
        if bounds:
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        return self._append("accessors", accessor)

    def animate(self, name: str, times: int, tracks: Sequence[tuple[int, str, int]]) -> None:
        """Put an animation before all others."""
        channels = [{"sampler": i, "target": {"node": node, "path": path}} for i, (node, path, _) in enumerate(tracks)]
        samplers = [{"input": times, "output": output, "interpolation": "LINEAR"} for _, _, output in tracks]
        self._list("animations").insert(0, {"name": name, "channels": channels, "samplers": samplers})

    def packed(self) -> bytes:
        """The GLB file."""
        self.binary += bytes(-len(self.binary) % 4)
        buffers = self._list("buffers")
        if not buffers:
            buffers.append({})
        first = buffers[0]
        assert isinstance(first, dict)
        first["byteLength"] = len(self.binary)
        text = json_text(self.document, indent=None).encode("utf-8", "replace")
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.binary), b"BIN\0") + bytes(self.binary)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _list(self, name: str) -> list[object]:
        found = self.document.setdefault(name, [])
        assert isinstance(found, list)
        return found

    def _append(self, name: str, value: Json) -> int:
        self._list(name).append(value)
        return len(self._list(name)) - 1
