"""Tensors as safetensors files: the same content gives the same bytes, and a full disk is noticed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Shaped

from emoca_core.files import atomic_write

_LENGTH = 8
"""Bytes of the number in front of the header, and what the header is padded to."""


def write_tensors(
    path: Path | str,
    tensors: Mapping[str, Shaped[torch.Tensor, "..."]] | Mapping[str, Shaped[np.ndarray, "..."]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file atomically, of tensors on any device, views too.

    The library writes the entries of the metadata in another order in every process; here they are sorted. Its own
    file writer hides a full disk, so the bytes are written here, tensor by tensor, in the library's order.

    Raises:
        OSError: The file cannot be written.
    """
    header, end = {}, 0
    for name, entry in _library_header(tensors, metadata).items():
        if name != "__metadata__":
            shape = list(tensors[name].shape)
            begin, end = end, end + math.prod(shape) * _empty(tensors[name]).element_size()
            entry = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [begin, end]}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        for name in [name for name in header if name != "__metadata__"]:
            file.write(_bytes_of(tensors[name]))


def _library_header(
    tensors: Mapping[str, Shaped[torch.Tensor, "..."]] | Mapping[str, Shaped[np.ndarray, "..."]],
    metadata: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The header as the library writes it of empty tensors: names of types, and the order."""
    empty = {name: _empty(tensor) for name, tensor in tensors.items()}
    data = safetensors.torch.save(empty, dict(metadata or {}))
    header: dict[str, Any] = json.loads(data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "little")])
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    return header


def _empty(tensor: Shaped[torch.Tensor, "..."] | Shaped[np.ndarray, "..."]) -> Shaped[torch.Tensor, "0"]:
    """Of the same type."""
    if isinstance(tensor, np.ndarray):
        return torch.from_numpy(np.empty(0, tensor.dtype))
    return torch.empty(0, dtype=tensor.dtype)


def _bytes_of(tensor: Shaped[torch.Tensor, "..."] | Shaped[np.ndarray, "..."]) -> memoryview:
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.flatten().view(torch.uint8).numpy().data
