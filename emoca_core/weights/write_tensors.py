"""Tensors as safetensors files: the same content gives the same bytes, and a full disk is noticed."""

import json
from collections.abc import Mapping
from pathlib import Path

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
    file writer hides a full disk, so the bytes are made in memory.

    Raises:
        OSError: The file cannot be written.
    """
    data = memoryview(safetensors.torch.save({n: _plain(t) for n, t in tensors.items()}, dict(metadata or {})))
    start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(bytes(data[_LENGTH:start]))
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        file.write(data[start:])


def _plain(tensor: Shaped[torch.Tensor, "..."] | Shaped[np.ndarray, "..."]) -> Shaped[torch.Tensor, "..."]:
    """A copy of its own, so that views of one tensor can be written."""
    if isinstance(tensor, np.ndarray):
        return torch.from_numpy(np.array(tensor, order="C"))
    return tensor.detach().cpu().contiguous().clone()
