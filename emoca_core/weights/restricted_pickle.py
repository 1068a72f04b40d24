"""Pickles of published models, read without running code and without the libraries that wrote them."""

import io
from pathlib import Path

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import PICKLE_BYTES
from emoca_core.weights.pickle_machine import ARRAY_BUILDERS, Builder, Machine


def load_pickle(source: Path | str | bytes | io.BufferedIOBase, name: str | None = None) -> object:
    """Unpickle numbers, and nothing but numbers.

    Args:
        source: A file, its bytes, or an open binary file (read from where it stands).
        name: What to call it in messages.

    Returns:
        Dictionaries and lists of arrays and stand-ins; ``to_array`` makes arrays of both.

    Raises:
        AssetFormatError: It is not a pickle, is damaged, names something outside the list of array builders, or is
            larger or deeper than ``emoca_core.limits`` lets pass.
    """
    if isinstance(source, Path | str):
        with open_regular(source, PICKLE_BYTES, AssetFormatError) as opened:
            return load_pickle(opened, name or str(source))
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return Machine(file, name or "pickle", _find).run()


def _tensor_storage(data: object) -> object:
    from emoca_core.weights.torch_file import read_storage

    if not isinstance(data, bytes):
        raise AssetFormatError("a tensor without bytes")
    return read_storage(data)


def _tensor(*arguments: object) -> object:
    from emoca_core.weights.torch_file import build_tensor

    return build_tensor(*arguments)


_TENSOR_BUILDERS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch.storage._load_from_bytes": _tensor_storage,
}


def _find(name: str) -> Builder | None:
    return ARRAY_BUILDERS.get(name) or _TENSOR_BUILDERS.get(name)
