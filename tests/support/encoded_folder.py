"""A folder as ``emoca encode`` writes it, of synthetic faces whose codes are known, with their pictures beside it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from emoca_core import get_registry
from emoca_core.datasets.encoded import CARD, CODE, UNITS, EncodedCard

SIZE = 64
CROP = np.array([[0.5, 0.0, 10.0], [0.0, 0.5, 8.0], [0.0, 0.0, 1.0]])
"""From a crop of 64 pixels to the picture, of which it is a part."""
BLOCKS = ("shape", "expression", "global_pose", "jaw_pose", "eye_pose", "camera")
STATUS = ("ok", "ok", "no_face", "ok", "ok", "ok")
QUALITY = ("good", "good", None, "good", "doubtful", "good")
SPLITS = ("train", "train", "train", "validation", "train", "train")


def write_encoded(folder: Path) -> Path:
    """Six rows, one of them without a face and one doubtful; returns the folder of the codes."""
    faces = get_registry().build("dataset", "synthetic_faces", {"length": 6, "seed": 5, "image_size": SIZE})
    samples = faces.__getitems__(range(6))
    codes = {name: torch.cat([s.parameters.blocks()[name] for s in samples]).numpy() for name in BLOCKS}
    present = np.array([status == "ok" for status in STATUS])
    points = np.stack([((s.landmarks.numpy() + 1) * SIZE - 1) / 2 for s in samples]) @ CROP[:2, :2].T + CROP[:2, 2]
    for row, sample in enumerate(samples):
        _write_picture(folder / f"{row}.png", sample.image)
    columns = {
        "path": pa.array([f"{row}.png" for row in range(6)]),
        "split": pa.array(SPLITS),
        "identity": pa.array([sample.identity for sample in samples]),
        "status": pa.array(STATUS),
        "quality": pa.array(QUALITY),
        "landmarks": _lists(points.reshape(6, -1).astype(np.float32), present),
        "crop_to_image": _lists(np.tile(CROP.ravel(), (6, 1)), present),
        "photo_size": _lists(np.tile(np.array([50, 60], np.int32), (6, 1)), present),
        **{CODE + name: _lists(values, present) for name, values in codes.items()},
    }
    units = {name: samples[0].parameters.unit_of(name) for name in BLOCKS}
    table = pa.table(columns).replace_schema_metadata({UNITS: json.dumps(units).encode()})
    out = folder / "codes.parquet"
    out.mkdir()
    pq.write_table(table, out / "part-0.parquet")
    card = {"recipe": "open_fit", "probe": ["expression"], "emotion": None, "crop": "native", "rows": 6}
    card |= {"made_of": "0", "files": ["part-0.parquet"]}
    (out / CARD).write_text(EncodedCard(**card).model_dump_json())
    return out


def _write_picture(path: Path, image: torch.Tensor) -> None:
    """The crop at its place in a picture of 60 x 50 pixels, at half the size."""
    small = torch.nn.functional.avg_pool2d(image[None], 2)[0]
    picture = np.zeros((50, 60, 3), np.uint8)
    pixels = (255 * small).round().byte().permute(1, 2, 0).numpy()
    picture[8 : 8 + SIZE // 2, 10 : 10 + SIZE // 2] = pixels
    Image.fromarray(picture).save(path)


def _lists(values: np.ndarray, present: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(~present))
