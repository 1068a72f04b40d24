"""The machine that pickles run on, restricted to building arrays.

A pickle is a program for a small machine that calls whatever it names. This machine knows a short list of names, all of
which only build arrays: NumPy, SciPy sparse matrices and chumpy arrays; and it checks what it is told to
do, step by step, before it does it. Classes of absent libraries become passive stand-ins.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.limits import PICKLE_BYTES, PICKLE_STEPS
from emoca_core.weights.pickled_arrays import (
    Array,
    ChumpyArray,
    ChumpySelection,
    CompressedRows,
    Coordinates,
    Passive,
    SparseMatrix,
    Type,
    checked_shape,
    type_of,
)

Builder = Callable[..., Any]


class Machine(pickle._Unpickler):
    """The steps of a pickle, each checked.

    The Python form of the unpickler, because the C form believes sizes, calls and states before anybody can look.

    Args:
        file: Open binary file, read from where it stands.
        name: What to call it in messages.
        find: What a dotted name means; ``None`` refuses it.
        persistent: What an id of data outside the pickle means; none are allowed without.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    # what the base class has, for the type checker
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(
        self,
        file: io.BufferedIOBase,
        name: str,
        find: Callable[[str], Builder | None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        """Look at the file; ``run`` reads it."""
        self._source, self._name, self._find, self._persistent = _Source(file), name, find, persistent
        self._named: dict[int, Builder] = {}
        super().__init__(self._source, encoding="latin1")  # the published files were written by Python 2

    def run(self) -> Any:
        """Do all steps.

        Raises:
            AssetFormatError: One of them is refused, or the pickle is damaged.
        """
        try:
            PICKLE_BYTES.check(self._source.left, "", AssetFormatError)
            return self.load()
        except EmocaError as error:
            raise AssetFormatError(f"{self._name}: {error}") from None
        except Exception as error:  # a damaged pickle can fail in any way: EOF, key, index, type, memory
            raise AssetFormatError(f"{self._name} cannot be unpickled: {type(error).__name__}: {error}") from None

    def find_class(self, module: str, name: str) -> Builder:
        """The builder of a name.

        Raises:
            AssetFormatError: It is not one of those that only build arrays.
        """
        builder = self._find(f"{module}.{name}")
        if builder is None:
            raise AssetFormatError(
                f"refuses to build '{module}.{name}': only arrays are read from pickles, "
                "and a published model needs nothing else"
            )
        self._named[id(builder)] = builder
        return builder

    def persistent_load(self, pid: Any) -> Any:
        """What an id means."""
        if self._persistent is None:
            raise AssetFormatError("refers to data outside the file")
        return self._persistent(pid)

    def get_extension(self, code: int) -> None:
        """No registered extensions."""
        raise AssetFormatError("uses a registered extension, which no published model does")

    def _instantiate(self, kind: Any, arguments: Any) -> None:  # of the opcodes INST and OBJ
        self.append(_made(kind))

    def _frame(self) -> None:
        self.read(8)  # only a hint how much to read ahead

    def _bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if id(function) not in self._named or type(arguments) is not tuple:
            raise AssetFormatError("calls something that is not a builder")
        self.stack[-1] = function(*arguments)

    def _new(self) -> None:
        self.stack.pop()
        self.stack[-1] = _made(self.stack[-1])

    def _new_with_names(self) -> None:
        self.stack.pop()
        self._new()

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Passive | Array):
            target.__setstate__(state)
        elif type(target) is not dict:  # of a dictionary it is bookkeeping
            raise AssetFormatError(f"changes a {type(target).__name__}")

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        _put(self.stack[-1], items)

    def _dictionary(self) -> None:
        items = self.pop_mark()
        self.append({})
        _put(self.stack[-1], items)

    def _add_items(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise AssetFormatError("adds elements to what is no set")
        self.stack[-1].update(map(_key, items))

    def _frozen_set(self) -> None:
        self.append(frozenset(map(_key, self.pop_mark())))

    for _code, _step in (
        (pickle.FRAME, _frame),
        (pickle.BYTEARRAY8, _bytearray),
        (pickle.REDUCE, _reduce),
        (pickle.NEWOBJ, _new),
        (pickle.NEWOBJ_EX, _new_with_names),
        (pickle.BUILD, _build),
        (pickle.SETITEM, _set_item),
        (pickle.SETITEMS, _set_items),
        (pickle.DICT, _dictionary),
        (pickle.ADDITEMS, _add_items),
        (pickle.FROZENSET, _frozen_set),
    ):
        dispatch[_code[0]] = _step
    del _code, _step


class _Source:
    """A file that gives no more than it has, so that no length in it is believed, and that counts the steps."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        here = file.tell()
        self.left = file.seek(0, io.SEEK_END) - here
        file.seek(here)
        self._file, self._steps = file, 0

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, or none at the end."""
        self._steps += 1
        PICKLE_STEPS.check(self._steps, "", AssetFormatError)
        if size > self.left and self.left:
            raise AssetFormatError(f"ends early: {size} bytes are announced, {self.left} are there")
        data = self._file.read(size)
        self.left -= len(data)
        return data

    def readline(self) -> bytes:
        """To the end of the line."""
        self._steps += 1
        PICKLE_STEPS.check(self._steps, "", AssetFormatError)
        data = self._file.readline()
        self.left -= len(data)
        return data


def _made(kind: object) -> Passive:
    if not (isinstance(kind, type) and issubclass(kind, Passive)) or issubclass(kind, Type):
        raise AssetFormatError("an object of an unknown class")
    return kind()


def _put(target: Any, items: list[Any]) -> None:
    """Keys and values, alternating."""
    if type(target) is not dict and not (isinstance(target, Passive) and hasattr(target, "__setitem__")):
        raise AssetFormatError(f"sets entries of a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_key(key)] = value


def _key(key: Any) -> Any:
    """A key; the hash of a deep tuple overflows the stack."""
    if key is not None and not isinstance(key, str | bytes | int | float | type):
        raise AssetFormatError(f"a {type(key).__name__} as a key")
    return key


def ordered_dictionary(pairs: object = ()) -> dict[Any, Any]:
    """``collections.OrderedDict``; ours keep their order anyway."""
    made: dict[Any, Any] = {}
    if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise AssetFormatError("a dictionary of something else than pairs")
    _put(made, [item for pair in pairs for item in pair])
    return made


def _array_class(*_: object) -> None:
    """Stands for ``numpy.ndarray``, which says of what kind an array is."""
    raise AssetFormatError("an array without a state")


def _object_class(*_: object) -> None:
    """Stands for ``object``, which says of what kind a class is."""
    raise AssetFormatError("an object of an unknown class")


def _empty_array(kind: object, shape: object, code: object) -> Array:
    if kind is not _array_class:
        raise AssetFormatError("an array of an unknown class")
    return Array((0,), np.dtype("b"))  # the pickled state that follows brings shape and type


def _scalar(kind: object, data: bytes | str = b"") -> Any:
    dtype = type_of(kind, objects=False)
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(raw, bytes) or len(raw) != dtype.itemsize:
        raise AssetFormatError("a number whose bytes are not there")
    return np.frombuffer(raw, dtype)[0]


def _from_buffer(data: bytes | bytearray, kind: object, shape: object, order: object) -> np.ndarray:
    """Protocol 5 makes arrays like this."""
    if not isinstance(data, bytes | bytearray):
        raise AssetFormatError("an array whose bytes are not there")
    array = np.frombuffer(data, type_of(kind, objects=False))
    return array.reshape(checked_shape(shape), order="F" if order == "F" else "C")


def _bytes(text: str = "", encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise AssetFormatError(f"bytes in the encoding '{encoding}'")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes empty bytes for Python 2."""
    return b""


def _reconstruct_object(kind: object, base: object, state: object) -> object:
    """Protocol 0 and 1 make objects like this; only stand-ins may be made."""
    return _made(kind)


def _table() -> dict[str, Builder]:
    table: dict[str, Builder] = {
        "numpy.ndarray": _array_class,
        "numpy.dtype": Type,
        "collections.OrderedDict": ordered_dictionary,
        "_codecs.encode": _bytes,
        "builtins.bytes": _no_bytes,
        "__builtin__.bytes": _no_bytes,
        "copy_reg._reconstructor": _reconstruct_object,
        "copyreg._reconstructor": _reconstruct_object,
        "builtins.object": _object_class,
        "__builtin__.object": _object_class,
        "chumpy.ch.Ch": ChumpyArray,
        "chumpy.ch.ch": ChumpyArray,
        "chumpy.Ch": ChumpyArray,
        "chumpy.reordering.Select": ChumpySelection,
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table |= {f"{core}._reconstruct": _empty_array, f"{core}.scalar": _scalar}
    for numeric in ("numpy.core.numeric", "numpy._core.numeric"):
        table[f"{numeric}._frombuffer"] = _from_buffer
    for layout, kind in {"csc": SparseMatrix, "csr": CompressedRows, "coo": Coordinates}.items():
        for form in ("matrix", "array"):
            for module in (layout, f"_{layout}"):
                table[f"scipy.sparse.{module}.{layout}_{form}"] = kind
    return table


ARRAY_BUILDERS: Mapping[str, Builder] = _table()
"""The only names that a pickled model may use, besides those of CPU tensors."""
