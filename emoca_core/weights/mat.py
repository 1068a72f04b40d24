"""MATLAB 5 files, with structs flattened to dotted names."""

from pathlib import Path
from typing import Any

import numpy as np

from emoca_core.errors import AssetFormatError


def mat_shapes(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Shape of every numeric variable; the fields of a struct ``BFM`` are called ``BFM.shapeMU`` and so on.

    Raises:
        AssetFormatError: The file is damaged, or in the HDF5-based version 7.3.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape, kind in _open(path, "whosmat"):
        if kind == "struct":
            shapes |= {f"{name}.{field}": array.shape for field, array in _fields(path, name).items()}
        elif kind not in ("cell", "char", "function", "object", "opaque"):
            shapes[name] = tuple(shape)
    return shapes


def read_mat(path: Path | str, name: str) -> np.ndarray:
    """One variable, or one field of a struct by its dotted name.

    Raises:
        AssetFormatError: There is no such variable, or the file is damaged.
    """
    variable, _, field = name.partition(".")
    if field:
        return _fields(path, variable)[field]
    values = _open(path, "loadmat", variable_names=[variable])
    if variable not in values:
        raise AssetFormatError(f"{path} lacks the variable '{variable}'")
    return np.asarray(values[variable])


def _fields(path: Path | str, name: str) -> dict[str, np.ndarray]:
    struct = _open(path, "loadmat", variable_names=[name], squeeze_me=True, struct_as_record=False)[name]
    fields = {field: np.asarray(getattr(struct, field)) for field in struct._fieldnames}
    return {field: array for field, array in fields.items() if array.dtype.kind in "fiub"}


def _open(path: Path | str, function: str, **options: Any) -> Any:
    import scipy.io

    try:
        return getattr(scipy.io, function)(str(path), **options)
    except NotImplementedError:
        raise AssetFormatError(f"{path} is a MATLAB 7.3 file; save it with '-v7' and try again") from None
    except Exception as error:  # truncated files fail in zlib, struct or the reader itself
        raise AssetFormatError(f"{path} is not a readable MATLAB file: {error}") from None
