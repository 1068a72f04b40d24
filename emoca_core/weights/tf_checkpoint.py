"""TensorFlow V2 checkpoints ("tensor bundles") read with NumPy alone.

A bundle ``model-1`` is an index file ``model-1.index`` (a LevelDB-style table: variable name -> where its bytes are)
and shards ``model-1.data-00000-of-00001`` of raw little-endian bytes. Index blocks and tensors carry masked CRC-32C
sums; all that is read is checked.

Source: the LevelDB table format, and tensor_bundle.proto, tensor_shape.proto and types.proto of TensorFlow.
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from emoca_core.errors import AssetFormatError, unknown_name
from emoca_core.files import open_regular, read_regular
from emoca_core.limits import ASSET_BYTES, HEADER_BYTES, MEMBERS, NAME_CHARACTERS
from emoca_core.weights.crc32c import masked_crc32c

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_SIZE = 48
TRAILER_SIZE = 5  # compression type and checksum after every block

DTYPES: Mapping[int, str] = MappingProxyType(
    {
        1: "<f4",
        2: "<f8",
        3: "<i4",
        4: "|u1",
        5: "<i2",
        6: "|i1",
        8: "<c8",
        9: "<i8",
        10: "|b1",
        17: "<u2",
        18: "<c16",
        19: "<f2",
        22: "<u4",
        23: "<u8",
    }
)
"""DataType of types.proto -> NumPy. Strings (7) and resources have no fixed size and are never network weights."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one variable lies.

    Attributes:
        dtype: DataType of types.proto.
        shape: Of the array.
        shard: Number of the data file.
        offset: First byte in it.
        size: Number of bytes.
        checksum: Masked CRC-32C of those bytes.
        sliced: The variable was partitioned; its pieces are stored under other keys.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


@dataclass(frozen=True)
class TensorFlowCheckpoint(Mapping[str, Shaped[ndarray, "..."]]):
    """The variables of a bundle by name; each is read from disk when it is asked for.

    Attributes:
        prefix: Path without ``.index``.
        shards: Number of data files.
        entries: Where every variable is.
    """

    prefix: Path
    shards: int
    entries: Mapping[str, Entry] = field(repr=False)

    @classmethod
    def open(cls, path: Path | str) -> "TensorFlowCheckpoint":
        """Read the index.

        Args:
            path: The bundle's prefix, or any of its files.

        Raises:
            AssetFormatError: Not a V2 checkpoint, or damaged.
        """
        prefix = bundle_prefix(path)
        index = prefix.with_name(prefix.name + ".index")
        try:
            table = dict(_read_table(read_regular(index, HEADER_BYTES, AssetFormatError)))
            header = _fields(table.pop(b""))
            if _integer(header, 2):
                raise AssetFormatError("it was written on a big-endian machine, which is not supported")
            entries = {key.decode(): _entry(value) for key, value in table.items()}
        except OSError as error:
            raise AssetFormatError(f"{index} cannot be read: {error.strerror}") from None
        except KeyError:
            raise AssetFormatError(f"{index} is not a TensorFlow V2 checkpoint: it has no header") from None
        except (ValueError, IndexError, struct.error) as error:
            raise AssetFormatError(f"{index} is not an intact TensorFlow V2 checkpoint: {error}") from None
        return cls(prefix, _integer(header, 1), entries)

    def __getitem__(self, name: str) -> Shaped[ndarray, "..."]:
        """One variable.

        Raises:
            UnknownNameError: There is none of this name.
            AssetFormatError: Its data file is missing, truncated or damaged, or its type is not supported.
        """
        if name not in self.entries:
            raise unknown_name("variable in the checkpoint", name, self.entries)
        entry = self.entries[name]
        if entry.dtype not in DTYPES or entry.sliced:
            kind = "partitioned" if entry.sliced else f"of TensorFlow type {entry.dtype}"
            raise AssetFormatError(f"variable '{name}' of {self.prefix} is {kind}, which is not supported")
        dtype = np.dtype(DTYPES[entry.dtype])
        if entry.size != dtype.itemsize * math.prod(entry.shape):
            raise AssetFormatError(f"variable '{name}' of {self.prefix}: {entry.size} bytes for shape {entry.shape}")
        data = self._bytes(name, entry)
        if masked_crc32c(data) != entry.checksum:
            raise AssetFormatError(f"variable '{name}' of {self.prefix} is damaged: its checksum does not match")
        return np.frombuffer(data, dtype).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def _bytes(self, name: str, entry: Entry) -> bytearray:
        shard = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05d}-of-{self.shards:05d}")
        try:
            with open_regular(shard, ASSET_BYTES, AssetFormatError) as file:
                if entry.offset + entry.size > os.fstat(file.fileno()).st_size:
                    raise AssetFormatError(f"{shard} ends inside variable '{name}': the file is truncated")
                data = bytearray(entry.size)  # writable, so that torch can share it
                file.seek(entry.offset)
                file.readinto(data)
        except OSError as error:
            raise AssetFormatError(f"{shard} cannot be read: {error.strerror}") from None
        return data


def bundle_prefix(path: Path | str) -> Path:
    """The prefix of a bundle from the prefix itself or from any of its files."""
    path = Path(path)
    if path.suffix in (".index", ".meta") or path.suffix.startswith(".data-"):
        return path.with_suffix("")
    return path


def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a LevelDB-style table: footer -> index block -> data blocks."""
    if len(data) < FOOTER_SIZE or struct.unpack("<Q", data[-8:])[0] != TABLE_MAGIC:
        raise ValueError("the table's magic number is missing")
    footer = data[-FOOTER_SIZE:]
    _, position = _block_handle(footer, 0)  # of the meta index, which bundles leave empty
    handle, _ = _block_handle(footer, position)
    count = 0
    for _, value in _read_block(data, handle):
        for item in _read_block(data, _block_handle(value, 0)[0]):
            MEMBERS.check(count := count + 1, "the index", AssetFormatError)  # many handles may name one block
            yield item


def _read_block(data: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Entries of one block; each key shares a prefix with the one before."""
    offset, size = handle
    if offset + size + TRAILER_SIZE > len(data):
        raise ValueError("a block lies outside the file")
    compression, checksum = struct.unpack_from("<BI", data, offset + size)
    if masked_crc32c(data[offset : offset + size + 1]) != checksum:
        raise ValueError("a block's checksum does not match")
    block = data[offset : offset + size]
    if compression == 1:
        block = snappy_decompress(block)
    elif compression:
        raise ValueError(f"compression {compression} is not known")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        NAME_CHARACTERS.check(len(key), "a name in the index", AssetFormatError)
        position += unshared
        yield key, block[position : position + length]
        position += length


def snappy_decompress(block: bytes) -> bytes:
    """Decompress a raw Snappy block (no framing): TensorFlow 1.1 compressed the index of its checkpoints.

    Raises:
        ValueError: The block is damaged, or would grow too large.
    """
    import pyarrow  # slow to import, and only old files need it

    try:
        length, _ = _varint(block, 0)
        HEADER_BYTES.check(length, "a Snappy block")
        return pyarrow.Codec("snappy").decompress(block, length, asbytes=True)
    except (OSError, IndexError) as error:
        raise ValueError(f"a Snappy block is damaged: {error}") from None


def _block_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A base-128 integer and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protocol-buffer message by number, undecoded."""
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value: int | bytes
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 1:
                value, position = struct.unpack_from("<Q", message, position)[0], position + 8
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case 5:
                value, position = struct.unpack_from("<I", message, position)[0], position + 4
            case wire:
                raise ValueError(f"wire type {wire} is not known")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _integer(fields: Mapping[int, list[int | bytes]], number: int) -> int:
    """A numeric field; absent means zero, as everywhere in protocol buffers."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {number} is not a number")
    return value


def _messages(fields: Mapping[int, list[int | bytes]], number: int) -> list[dict[int, list[int | bytes]]]:
    return [_fields(value) for value in fields.get(number, []) if isinstance(value, bytes)]


def _entry(message: bytes) -> Entry:
    """BundleEntryProto: dtype 1, shape 2, shard 3, offset 4, size 5, checksum 6, slices 7."""
    fields = _fields(message)
    shapes = _messages(fields, 2)
    return Entry(
        dtype=_integer(fields, 1),
        shape=tuple(_integer(dim, 1) for dim in _messages(shapes[-1], 2)) if shapes else (),
        shard=_integer(fields, 3),
        offset=_integer(fields, 4),
        size=_integer(fields, 5),
        checksum=_integer(fields, 6),
        sliced=bool(fields.get(7)),
    )
