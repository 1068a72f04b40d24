"""Checkpoints in the published formats with reproducible weights, and the golden outputs that belong to them."""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emoca_core.weights.crc32c import masked_crc32c
from emoca_core.weights.tf_checkpoint import DTYPES, TABLE_MAGIC

GOLDENS = Path(__file__).parents[1] / "goldens"
"""What the published code computed, cut by ``tools/cut_goldens.py``."""
INPUTS = {"3ddfa": (2, 3, 120, 120), "emonet": (2, 3, 256, 256), "mgcnet": (2, 224, 224, 3)}
"""Shapes of the drawn inputs; the other networks see 224 pixels."""


def keyed_arrays(name: str, gain: float, prefix: str = "") -> dict[str, np.ndarray]:
    """Every tensor of the published network, filled from its own key and shape, as when the goldens were made."""
    with zipfile.ZipFile(GOLDENS / "keys.zip") as archive:
        lines = archive.read(f"{name}.txt").decode().splitlines()
    keys = {key: shape for key, shape, _ in (line.split("\t") for line in lines)}
    shapes = {key: tuple(map(int, shape.split("x"))) if shape != "scalar" else () for key, shape in keys.items()}
    return {key: fill_array(prefix + key, shape, gain) for key, shape in shapes.items()}


def fill_array(key: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """Reproducible weights in the range of trained ones; the leaf of a key tells what it is."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    leaf = key.rsplit(".", 1)[-1].rsplit("/", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf in ("running_mean", "mean", "bias", "biases", "offset"):
        return (0.1 * random.standard_normal(shape)).astype(np.float32)
    if leaf in ("running_var", "variance"):
        return (0.5 + random.random_sample(shape)).astype(np.float32)
    if leaf == "scale" or (leaf == "weight" and len(shape) == 1):
        return (0.8 + 0.4 * random.random_sample(shape)).astype(np.float32)
    inputs = int(np.prod(shape[:-1] if leaf == "weights" else shape[1:])) or 1  # TensorFlow's kernels end with outputs
    return (random.standard_normal(shape) * gain * np.sqrt(2.0 / inputs)).astype(np.float32)


def keyed_state(name: str, gain: float, prefix: str = "") -> dict[str, Tensor]:
    """The same as torch tensors."""
    return {key: torch.from_numpy(np.asarray(v)) for key, v in keyed_arrays(name, gain, prefix).items()}


def golden(name: str) -> dict[str, np.ndarray]:
    """Inputs and outputs of a published network or decoder."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    family = name.partition("_")[0]
    shape = INPUTS.get(family, (2, 3, 224, 224))
    drawn = np.random.RandomState(1234).random_sample(shape).astype(np.float32)
    return {"input": drawn * 2 - 1 if family == "3ddfa" else drawn, "input_nhwc": drawn} | arrays


def deviation(actual: Tensor, expected: np.ndarray) -> float:
    """Largest difference in units of the golden output's standard deviation; the bound is 1e-4."""
    difference = np.abs(actual.detach().double().numpy() - expected).max()
    return float(difference / expected.std())


def write_tf_bundle(prefix: Path, variables: Mapping[str, np.ndarray], restart: int = 16) -> Path:
    """A minimal writer of TensorFlow V2 checkpoints: one shard, one index block. Returns the index file."""
    codes = {np.dtype(text): code for code, text in DTYPES.items()}
    data, entries = bytearray(), {b"": _field(1, 1) + _field(3, _field(1, 1))}
    for name in sorted(variables):
        raw = np.ascontiguousarray(variables[name]).tobytes()
        shape = b"".join(_field(2, _field(1, size)) for size in variables[name].shape)
        entries[name.encode()] = (
            _field(1, codes[variables[name].dtype])
            + _field(2, shape)
            + _field(4, len(data))
            + _field(5, len(raw))
            + bytes([6 << 3 | 5])
            + struct.pack("<I", masked_crc32c(raw))
        )
        data += raw
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    index = prefix.with_name(prefix.name + ".index")
    index.write_bytes(write_table(entries, restart))
    return index


def write_table(entries: Mapping[bytes, bytes], restart: int = 16, compression: int = 0) -> bytes:
    """A LevelDB-style table with a single data block; ``compression`` 1 stores it as Snappy literals."""
    table = bytearray()

    def block(items: Mapping[bytes, bytes], kind: int) -> bytes:
        content, last, restarts = bytearray(), b"", []
        for number, (key, value) in enumerate(items.items()):
            shared = 0
            if number % restart:
                while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                    shared += 1
            else:
                restarts.append(len(content))
            content += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
            last = key
        raw = bytes(content) + struct.pack(f"<{len(restarts or [0]) + 1}I", *(restarts or [0]), len(restarts or [0]))
        stored = snappy_literals(raw) if kind else raw
        handle = _varint(len(table)) + _varint(len(stored))
        table.extend(stored + bytes([kind]) + struct.pack("<I", masked_crc32c(stored + bytes([kind]))))
        return handle

    data = block(entries, compression)
    meta = block({}, 0)
    index = block({b"\xff": data}, 0)
    return bytes(table) + (meta + index).ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def snappy_literals(data: bytes) -> bytes:
    """Valid Snappy without any compression: literals of at most 60 bytes."""
    chunks = [data[i : i + 60] for i in range(0, len(data), 60)]
    return _varint(len(data)) + b"".join(bytes([(len(c) - 1) << 2]) + c for c in chunks)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + _varint(value)
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
