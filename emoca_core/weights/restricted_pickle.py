"""Pickles of published models, read without running code and without the libraries that wrote them.

An unpickler calls whatever its file names. This one knows a short list of names, all of which only build arrays: NumPy,
SciPy sparse matrices, chumpy arrays and CPU tensors. Classes of absent libraries become passive stand-ins.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emoca_core.errors import AssetFormatError


class Passive:
    """Holds the state of an object whose class is not imported."""

    state: Any = None

    def __new__(cls, *_: object, **__: object) -> "Passive":
        """Whatever the arguments."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def entry(self, *names: str) -> Any:
        """The first of the named entries that the state has.

        Raises:
            AssetFormatError: It has none.
        """
        state = self.state if isinstance(self.state, Mapping) else {}
        for name in names:
            if name in state:
                return state[name]
        raise AssetFormatError(
            f"a pickled {type(self).__name__} lacks '{names[0]}' (it has: {sorted(map(str, state))})"
        )


class ChumpyArray(Passive):
    """``chumpy.ch.Ch``: the array is its entry ``x``."""

    def to_array(self) -> np.ndarray:
        """The values."""
        return to_array(self.entry("x"))


class ChumpySelection(Passive):
    """``chumpy.reordering.Select``: elements of another array."""

    def to_array(self) -> np.ndarray:
        """The values, in the selection's shape."""
        flat = to_array(self.entry("a")).ravel()[to_array(self.entry("idxs")).astype(np.int64).ravel()]
        return flat.reshape(self.entry("preferred_shape"))


class SparseMatrix(Passive):
    """A SciPy sparse matrix in compressed-column, compressed-row or coordinate form."""

    layout: str = "csc"

    def to_array(self) -> np.ndarray:
        """The dense matrix."""
        import scipy.sparse

        shape, data = tuple(self.entry("_shape", "shape")), to_array(self.entry("data"))
        if self.layout == "coo":
            # newer SciPy keeps a tuple of coordinates, older ones two arrays
            state = self.state
            rows, columns = state["coords"] if "coords" in state else (state["row"], state["col"])
            matrix = scipy.sparse.coo_matrix((data, (rows, columns)), shape=shape)
        else:
            make = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[self.layout]
            matrix = make((data, self.entry("indices"), self.entry("indptr")), shape=shape)
        return np.asarray(matrix.toarray())


class _CompressedRows(SparseMatrix):
    layout = "csr"


class _Coordinates(SparseMatrix):
    layout = "coo"


def to_array(value: Any) -> np.ndarray:
    """Plain NumPy values of an array, a stand-in, a tensor or nested numbers.

    Raises:
        AssetFormatError: It does not hold numbers.
    """
    if isinstance(value, ChumpyArray | ChumpySelection | SparseMatrix):
        return value.to_array()
    if isinstance(value, Passive):
        raise AssetFormatError(f"a pickled {type(value).__name__} is not an array")
    if hasattr(value, "detach"):  # a tensor, without importing torch for files that have none
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype == object:
        if array.shape == ():
            raise AssetFormatError(f"a {type(value).__name__} is not an array of numbers")
        array = np.array([to_array(item) for item in array.ravel()]).reshape(*array.shape, -1).squeeze(-1)
    return array


def load_pickle(source: Path | str | bytes | io.BufferedIOBase, name: str | None = None) -> Any:
    """Unpickle numbers, and nothing but numbers.

    Args:
        source: A file, its bytes, or an open binary file (read from where it stands).
        name: What to call it in messages.

    Returns:
        Dictionaries and lists of arrays and stand-ins; ``to_array`` makes arrays of both.

    Raises:
        AssetFormatError: It is not a pickle, is damaged, or names something outside the list of array builders.
    """
    if isinstance(source, Path | str):
        with open(source, "rb") as file:
            return load_pickle(file, name or str(source))
    try:
        return _Unpickler(io.BytesIO(source) if isinstance(source, bytes) else source).load()
    except AssetFormatError as error:
        raise AssetFormatError(f"{name or 'pickle'}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way: EOF, key, index, type, memory
        raise AssetFormatError(f"{name or 'pickle'} cannot be unpickled: {type(error).__name__}: {error}") from None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file, encoding="latin1")  # the published files were written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ARRAY_BUILDERS[f"{module}.{name}"]
        except KeyError:
            raise AssetFormatError(
                f"refuses to build '{module}.{name}': only arrays are read from pickles, "
                "and a published model needs nothing else"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise AssetFormatError("refers to data outside the file")


def _empty_array(kind: object, shape: object, dtype: object) -> np.ndarray:
    if kind is not np.ndarray:
        raise AssetFormatError("an array of an unknown class")
    return np.ndarray((0,), np.dtype("b"))  # the pickled state that follows brings shape and type


def _scalar(dtype: np.dtype, data: bytes | str = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise AssetFormatError("a scalar of an unknown type")
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype)[0]


def _from_buffer(data: bytes | bytearray, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Protocol 5 makes arrays like this."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise AssetFormatError("an array of an unknown type")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise AssetFormatError(f"bytes in the encoding '{encoding}'")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes empty bytes for Python 2."""
    return b""


def _reconstruct_object(kind: type, base: type, state: object) -> object:
    """Protocol 0 and 1 make objects like this; only stand-ins may be made."""
    if not (isinstance(kind, type) and issubclass(kind, Passive)):
        raise AssetFormatError("an object of an unknown class")
    return kind()


def _tensor_storage(data: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Any:
    import torch

    if isinstance(storage, torch.storage.TypedStorage):
        dtype, untyped = storage.dtype, storage._untyped_storage
    elif isinstance(storage, torch.storage.UntypedStorage):
        dtype, untyped = torch.uint8, storage
    else:
        raise AssetFormatError("a tensor without a storage")
    return torch.empty(0, dtype=dtype).set_(untyped, offset, size, stride).clone()


def _table() -> dict[str, Callable[..., Any] | type]:
    table: dict[str, Callable[..., Any] | type] = {
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "collections.OrderedDict": OrderedDict,
        "_codecs.encode": _bytes,
        "builtins.bytes": _no_bytes,
        "__builtin__.bytes": _no_bytes,
        "copy_reg._reconstructor": _reconstruct_object,
        "copyreg._reconstructor": _reconstruct_object,
        "builtins.object": object,
        "__builtin__.object": object,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor": _tensor,
        "torch.storage._load_from_bytes": _tensor_storage,
        "chumpy.ch.Ch": ChumpyArray,
        "chumpy.ch.ch": ChumpyArray,
        "chumpy.Ch": ChumpyArray,
        "chumpy.reordering.Select": ChumpySelection,
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table |= {f"{core}._reconstruct": _empty_array, f"{core}.scalar": _scalar}
    for numeric in ("numpy.core.numeric", "numpy._core.numeric"):
        table[f"{numeric}._frombuffer"] = _from_buffer
    for layout, kind in {"csc": SparseMatrix, "csr": _CompressedRows, "coo": _Coordinates}.items():
        for form in ("matrix", "array"):
            for module in (layout, f"_{layout}"):
                table[f"scipy.sparse.{module}.{layout}_{form}"] = kind
    return table


ARRAY_BUILDERS = _table()
"""The only names that a pickled model may use."""
