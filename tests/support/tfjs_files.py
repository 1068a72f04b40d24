"""Files in the published layout of TensorFlow.js: manifests, shards and npm archives, from arrays."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np


def quantised(array: np.ndarray, dtype: str = "uint8") -> tuple[dict, bytes, np.ndarray]:
    """Manifest's ``quantization``, stored bytes, and the values that a reader must find, in float64."""
    if dtype == "float16":
        stored = array.astype("<f2")
        return {"dtype": dtype}, stored.tobytes(), stored.astype(np.float64)
    steps = np.iinfo(dtype).max
    low, scale = float(array.min()), float(np.ptp(array)) / steps or 1.0
    stored = np.rint((array - low) / scale).astype(np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "scale": scale, "min": low}, stored.tobytes(), stored * scale + low


def manifest_of(
    arrays: dict[str, np.ndarray], shard: str, dtype: str = "uint8"
) -> tuple[list[dict], bytes, dict[str, np.ndarray]]:
    """Groups, bytes of the shard, and what a reader must find. Vectors stay float32, as published."""
    weights, content, expected = [], b"", {}
    for name, array in arrays.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if array.ndim > 1:
            entry["quantization"], data, expected[name] = quantised(array, dtype)
        else:
            data, expected[name] = array.astype("<f4").tobytes(), array.astype(np.float32).astype(np.float64)
        content += data
        weights.append(entry)
    return [{"paths": [shard], "weights": weights}], content, expected


def write_npm(path: Path, files: dict[str, bytes]) -> Path:
    """A ``.tgz`` as ``npm pack`` makes it: everything below ``package/``."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def as_json(value: object) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(value).encode()
