"""What pickles of published models are made of: arrays, and stand-ins for objects whose classes are not imported.

Nothing in a pickled state is believed: types come from a list of names, sizes must be those of the bytes that are
there, sparse indices must point into the matrix. NumPy and SciPy take forged ones for granted, and crash.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.limits import EXPANDED_BYTES, PICKLE_DEPTH

_TYPE_NAME = re.compile(r"[<>=|]?(?:[biu][1248]|f[248]|c(?:8|16)|[SU]\d{1,5}|O8?)")


@runtime_checkable
class _Tensor(Protocol):
    """What is needed of ``torch.Tensor``, without importing torch for files that have none."""

    def detach(self) -> "_Tensor": ...
    def cpu(self) -> "_Tensor": ...
    def numpy(self) -> np.ndarray: ...
    def numel(self) -> int: ...


class Passive:
    """Holds the state of an object whose class is not imported."""

    state: object = None

    def __new__(cls, *_: object, **__: object) -> "Passive":
        """Whatever the arguments."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        self.state = state

    def entry(self, *names: str) -> object:
        """The first of the named entries that the state has.

        Raises:
            AssetFormatError: It has none.
        """
        state = self.state if isinstance(self.state, Mapping) else {}
        if (name := next((name for name in names if name in state), None)) is None:
            has = sorted(map(str, state))
            raise AssetFormatError(f"a pickled {type(self).__name__} lacks '{names[0]}' (it has: {has})")
        return state[name]


class ArrayObject(Passive):
    """A stand-in that means an array."""

    def shape(self, depth: int) -> tuple[int, ...]:
        """Of the array."""
        return self.to_array(depth).shape

    def to_array(self, depth: int) -> np.ndarray:
        """The values; ``depth`` counts the objects around it."""
        raise NotImplementedError


class ChumpyArray(ArrayObject):
    """``chumpy.ch.Ch``: the array is its entry ``x``."""

    def to_array(self, depth: int) -> np.ndarray:
        """The values."""
        return to_array(self.entry("x"), depth)


class ChumpySelection(ArrayObject):
    """``chumpy.reordering.Select``: elements of another array."""

    def to_array(self, depth: int) -> np.ndarray:
        """The values, in the selection's shape."""
        flat = to_array(self.entry("a"), depth).ravel()
        chosen = flat[to_array(self.entry("idxs"), depth).astype(np.int64).ravel()]
        return chosen.reshape(checked_shape(self.entry("preferred_shape")))


class SparseMatrix(ArrayObject):
    """A SciPy sparse matrix in compressed-column, compressed-row or coordinate form."""

    layout: str = "csc"

    def shape(self, depth: int) -> tuple[int, ...]:
        """Two sizes."""
        return checked_shape(self.entry("_shape", "shape"), 2)

    def to_array(self, depth: int) -> np.ndarray:
        """The dense matrix."""
        import scipy.sparse

        shape, data = self.shape(depth), to_array(self.entry("data"), depth)
        EXPANDED_BYTES.check(math.prod(shape) * data.itemsize, "a sparse matrix", AssetFormatError)
        first, second = (to_array(indices, depth) for indices in self._indices())
        if any(a.ndim != 1 for a in (data, first, second)) or {first.dtype.kind, second.dtype.kind} - set("iu"):
            raise AssetFormatError("a sparse matrix whose parts are no lists of numbers")
        if self.layout == "coo":  # checks its indices itself
            return np.asarray(scipy.sparse.coo_matrix((data, (first, second)), shape=shape).toarray())
        make = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[self.layout]
        matrix = make((data, first, second), shape=shape)
        matrix.check_format(full_check=True)
        return np.asarray(matrix.toarray())

    def _indices(self) -> tuple[object, object]:
        if self.layout != "coo":
            return self.entry("indices"), self.entry("indptr")
        both = self.entry("coords", "row")  # newer SciPy keeps a tuple of coordinates, older ones two arrays
        return (both[0], both[1]) if isinstance(both, tuple) and len(both) == 2 else (both, self.entry("col"))


class CompressedRows(SparseMatrix):
    """``scipy.sparse.csr_matrix``."""

    layout = "csr"


class Coordinates(SparseMatrix):
    """``scipy.sparse.coo_matrix``."""

    layout = "coo"


class Type(Passive):
    """``numpy.dtype``: its name, and the byte order of its state. Everything else in the state is ignored."""

    def __init__(self, name: object = "", *_: object) -> None:
        if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
            raise AssetFormatError(f"an array of the type {str(name)[:40]!r}, which is not one of numbers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|"):
            raise AssetFormatError("an array type without a byte order")
        self.dtype = self.dtype.newbyteorder(order)


class Array(np.ndarray):
    """``numpy.ndarray`` whose pickled state is checked before NumPy gets it."""

    def __setstate__(self, state: object) -> None:
        shape, kind, fortran, raw = state[-4:] if isinstance(state, tuple) and len(state) in (4, 5) else [None] * 4
        shape, dtype = checked_shape(shape), type_of(kind)
        if dtype.hasobject:
            fits = isinstance(raw, list) and len(raw) == math.prod(shape)
        else:
            raw = raw.encode("latin1") if isinstance(raw, str) else raw  # written by Python 2
            fits = isinstance(raw, bytes) and len(raw) == math.prod(shape) * dtype.itemsize
        if not fits:
            raise AssetFormatError(f"an array of {shape} {dtype}, whose values are not there")
        super().__setstate__((1, shape, dtype, bool(fortran), raw))  # type: ignore[arg-type]


def type_of(kind: object, objects: bool = True) -> np.dtype:
    """The type that a stand-in means.

    Raises:
        AssetFormatError: It is no type, or one of objects where that cannot be.
    """
    if not isinstance(kind, Type) or (kind.dtype.hasobject and not objects) or not kind.dtype.itemsize:
        raise AssetFormatError("an array or a number of an unknown type")
    return kind.dtype


def checked_shape(shape: object, dimensions: int | None = None) -> tuple[int, ...]:
    """Sizes that an array can have.

    Raises:
        AssetFormatError: They are no tuple of a few whole numbers that are not negative.
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) and len(shape) <= 32 else (-1,)
    numbers = [s.item() if isinstance(s, np.integer) else s for s in sizes]
    if any(type(s) is not int or not 0 <= s < 2**48 for s in numbers) or dimensions not in (None, len(numbers)):
        raise AssetFormatError("an array whose sizes are not whole numbers")
    return tuple(int(s) for s in numbers)


def shape_of(value: object) -> tuple[int, ...]:
    """Shape of what ``to_array`` would give, without writing out what is stored in a shorter form.

    Raises:
        AssetFormatError: It does not hold numbers.
    """
    return value.shape(1) if isinstance(value, ArrayObject) else to_array(value).shape


def to_array(value: object, depth: int = 0) -> np.ndarray:
    """Plain NumPy values of an array, a stand-in, a tensor or nested numbers, which lie in ``depth`` objects.

    Raises:
        AssetFormatError: It does not hold numbers, or more of them than the file has bytes for.
    """
    PICKLE_DEPTH.check(depth, "an array", AssetFormatError)
    if isinstance(value, ArrayObject):
        return value.to_array(depth + 1)
    if isinstance(value, Passive):
        raise AssetFormatError(f"a pickled {type(value).__name__} is not an array")
    if isinstance(value, _Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, list | tuple):
        _check_written_out(value)
    array = np.asarray(value)
    if array.dtype == object:
        if array.shape == ():
            raise AssetFormatError(f"a {type(value).__name__} is not an array of numbers")
        items = [to_array(item, depth + 1) for item in array.ravel()]
        _check_written_out(items)
        array = np.array(items).reshape(*array.shape, -1).squeeze(-1)
    return array


def _check_written_out(items: Iterable[object]) -> None:
    """Refuse lists in lists that mean more numbers than memory holds; the same list may stand in many places."""
    sizes: dict[int, int] = {}
    EXPANDED_BYTES.check(8 * _count(items, sizes, 0), "a list", AssetFormatError)


def _count(value: object, sizes: dict[int, int], depth: int) -> int:
    PICKLE_DEPTH.check(depth, "a list", AssetFormatError)
    if isinstance(value, list | tuple):
        if id(value) not in sizes:
            sizes[id(value)] = sum(_count(item, sizes, depth + 1) for item in value)
        return sizes[id(value)]
    if isinstance(value, np.ndarray | np.generic):
        return int(value.size)
    if isinstance(value, int | float | complex):
        return 1
    if isinstance(value, ArrayObject):
        return math.prod(value.shape(depth + 1))
    if isinstance(value, _Tensor):
        return value.numel()
    raise AssetFormatError(f"a {type(value).__name__} is not a number")
