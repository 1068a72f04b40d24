"""MATLAB 5 files, with structs flattened to dotted names.

SciPy reads them, after a walk over all their elements: it would follow nested cells until the stack overflows, allocate
what dimensions promise, and unpack without end.

Source: MAT-File Format, The MathWorks: level 5, data elements, tables 1-1 to 1-3.
"""

import io
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import ASSET_BYTES, MEMBERS, PICKLE_DEPTH
from emoca_core.weights.archives import check_unpacked

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR = 1, 2, 3, 4
_BLOCK = 2**20
T = TypeVar("T")


class MatFile:
    """The numeric variables of a file, read when asked for; the fields of a struct ``BFM`` are ``BFM.shapeMU`` etc.

    Attributes:
        shapes: Shape of each.
    """

    def __init__(self, path: Path) -> None:
        """Look at the file.

        Raises:
            AssetFormatError: It is damaged, a bomb, or in the HDF5-based version 7.3.
        """
        self._path = path
        with open_regular(path, ASSET_BYTES, AssetFormatError) as file:
            _check_elements(file, path)
        self.shapes: dict[str, tuple[int, ...]] = {}
        from scipy.io import whosmat  # slow to import

        for name, shape, kind in self._guarded(whosmat):
            if kind == "struct":
                self.shapes |= {f"{name}.{field}": array.shape for field, array in self._fields(name).items()}
            elif kind not in ("cell", "char", "function", "object", "opaque", "sparse"):
                self.shapes[name] = tuple(shape)

    def __getitem__(self, name: str) -> np.ndarray:
        """One variable, or one field of a struct by its dotted name.

        Raises:
            AssetFormatError: There is no such variable, or the file is damaged.
        """
        variable, _, field = name.partition(".")
        if field:
            return self._fields(variable)[field]
        values = self._load(variable)
        if variable not in values:
            raise AssetFormatError(f"{self._path} lacks the variable '{variable}'")
        return np.asarray(values[variable])

    def _fields(self, name: str) -> dict[str, np.ndarray]:
        struct = self._load(name, squeeze_me=True, struct_as_record=False)[name]
        fields = {field: np.asarray(value) for field, value in vars(struct).items() if not field.startswith("_")}
        return {field: array for field, array in fields.items() if array.dtype.kind in "fiub"}

    def _load(self, name: str, **options: bool) -> dict[str, object]:
        from scipy.io import loadmat

        return self._guarded(lambda path: loadmat(path, variable_names=[name], **options))

    def _guarded(self, read: Callable[[str], T]) -> T:
        try:
            return read(str(self._path))
        except NotImplementedError:
            raise AssetFormatError(f"{self._path} is a MATLAB 7.3 file; save it with '-v7' and try again") from None
        except Exception as error:  # truncated files fail in zlib, struct or the reader itself
            raise AssetFormatError(f"{self._path} is not a readable MATLAB file: {error}") from None


def _check_elements(file: io.BufferedReader, path: Path) -> None:
    """Walk over all elements; sizes are compared with what is there, and nothing is kept.

    Raises:
        AssetFormatError: A size is wrong, a nesting too deep, or the file a bomb.
    """
    size = os.fstat(file.fileno()).st_size
    order = ">" if file.read(128)[126:128] == b"MI" else "<"
    unpacked, count = 0, 0
    try:
        while (left := size - file.tell()) >= 8:
            MEMBERS.check(count := count + 1, path, AssetFormatError)
            kind, length = struct.unpack(f"{order}II", file.read(8))
            if length > left - 8:
                raise AssetFormatError(f"an element of {length} bytes, where {left - 8} are left")
            end = file.tell() + length
            stream = _Inflated(file, length, unpacked, size) if kind == _COMPRESSED else _Plain(file)
            if kind == _COMPRESSED:
                kind, length = struct.unpack(f"{order}II", stream.read(8))
            if kind == _MATRIX:
                _Walk(stream, order).matrix(length, 0)
            unpacked = stream.unpacked if isinstance(stream, _Inflated) else unpacked
            file.seek(end)
    except (AssetFormatError, struct.error, zlib.error) as error:
        raise AssetFormatError(f"{path} is not a readable MATLAB file: {error}") from None


class _Plain:
    """Bytes of the file as they are."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        return self._file.read(size)

    def skip(self, size: int) -> None:
        """Go on."""
        self._file.seek(size, io.SEEK_CUR)


class _Inflated:
    """Compressed bytes of the file, unpacked block by block.

    Attributes:
        unpacked: How much was unpacked, with what came before.
    """

    def __init__(self, file: io.BufferedReader, length: int, unpacked: int, size: int) -> None:
        self._file, self._left, self.unpacked, self._size = file, length, unpacked, size
        self._zip, self._data = zlib.decompressobj(), b""

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        while len(self._data) < size and (block := self._next()):
            self._data += block
        data, self._data = self._data[:size], self._data[size:]
        return data

    def skip(self, size: int) -> None:
        """Go on."""
        while size > 0 and (data := self.read(min(size, _BLOCK))):
            size -= len(data)

    def _next(self) -> bytes:
        packed = self._zip.unconsumed_tail
        if not packed:
            packed = self._file.read(min(self._left, _BLOCK))
            self._left -= len(packed)
        block = self._zip.decompress(packed, _BLOCK)
        self.unpacked += len(block)
        check_unpacked(self.unpacked, self._size, "")
        return block or (self._next() if packed and not self._zip.eof else b"")


class _Walk:
    """Over the parts of one matrix."""

    def __init__(self, stream: _Plain | _Inflated, order: str) -> None:
        self._stream, self._order = stream, order

    def matrix(self, length: int, depth: int) -> None:
        """One matrix of so many bytes, and all in it.

        Raises:
            AssetFormatError: It promises more than its bytes hold.
        """
        PICKLE_DEPTH.check(depth, "", AssetFormatError)
        if not length:
            return
        flags, used = self._part(length)
        sizes, more = self._part(length - used)
        used += more
        used += self._part(length - used)[1]  # the name
        kind = flags[0 if self._order == "<" else 3] if len(flags) == 8 else 0
        count = math.prod(struct.unpack(f"{self._order}{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4]))
        if kind in (_STRUCT, _OBJECT):
            for _ in range(2 if kind == _OBJECT else 1):  # the class of an object, then the width of the names
                width, more = self._part(length - used)
                used += more
            names, more = self._part(length - used)
            used += more
            count *= len(names) // max(int.from_bytes(width, "little" if self._order == "<" else "big"), 1)
        if kind in (_CELL, _STRUCT, _OBJECT, _CHAR) and count * (1 if kind == _CHAR else 8) > length - used:
            raise AssetFormatError(f"a matrix of {count} elements in {length} bytes")
        if kind not in (_CELL, _STRUCT, _OBJECT):
            self._stream.skip(length - used)
            return
        for _ in range(count):
            part, size = self._tag(length - used)
            if part != _MATRIX:
                raise AssetFormatError("a cell that is no matrix")
            self.matrix(size, depth + 1)
            used += 8 + size
        self._stream.skip(length - used)

    def _part(self, left: int) -> tuple[bytes, int]:
        """A small part of a matrix and how many bytes it takes."""
        first = self._stream.read(4)
        (word,) = struct.unpack(f"{self._order}I", first)
        if word >> 16:  # up to four bytes beside their tag
            return self._stream.read(4)[: word >> 16], 8
        (size,) = struct.unpack(f"{self._order}I", self._stream.read(4))
        padded = 8 + (size + 7) // 8 * 8
        if padded > left or size > _BLOCK:
            raise AssetFormatError(f"a part of {size} bytes, where {left} are left")
        return self._stream.read(padded - 8)[:size], padded

    def _tag(self, left: int) -> tuple[int, int]:
        kind, size = struct.unpack(f"{self._order}II", self._stream.read(8))
        if size > left - 8:
            raise AssetFormatError(f"a part of {size} bytes, where {left - 8} are left")
        return kind, size
