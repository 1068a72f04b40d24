"""A manifest whose faces were found before, by whoever encoded them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from jaxtyping import Float
from numpy import ndarray

from emoca_core.datasets.encoded import Encoded, lists_to_array
from emoca_core.datasets.manifest import SCHEMA, Manifest

_SAME_FACE = 0.3
"""Least intersection over union of a row's own box and that of the code; data sets draw boxes in many ways."""
_MARKS = ("box", "landmarks")


def marked(manifest: Manifest, encoded: Encoded) -> Manifest:
    """The manifest with the boxes and landmarks of its codes, so that nobody has to look for its faces again.

    Codes are of the largest face of an image. Where a row marks another face than that, its own marks stay. A row
    without any mark has no face.

    Args:
        manifest: The images.
        encoded: Codes of at least these images.

    Raises:
        EmocaError: An image has no code.
    """
    found = encoded.table(_MARKS).take(encoded.rows_of(manifest.table["path"].to_pylist()))
    own = _boxes(manifest.table)
    taken = np.isnan(own[:, 0]) | (_overlaps(own, lists_to_array(found["box"], 4)) >= _SAME_FACE)
    table, mask = manifest.table, pa.array(taken)
    for name in _MARKS:
        field = SCHEMA.field(name)
        theirs, ours = found[name].cast(field.type), table[name].cast(field.type)
        column = compute.if_else(mask, theirs.combine_chunks(), ours.combine_chunks())
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return Manifest(table, manifest.folder)


def _boxes(table: pa.Table) -> Float[ndarray, "N 4"]:
    """What each row marks: its box, else that of its landmarks, else NaN."""
    boxes, points = lists_to_array(table["box"], 4), lists_to_array(table["landmarks"], 136).reshape(-1, 68, 2)
    around = np.concatenate([points.min(1), points.max(1)], axis=1)
    return np.where(np.isnan(boxes), around, boxes)


def _overlaps(one: Float[ndarray, "N 4"], other: Float[ndarray, "N 4"]) -> Float[ndarray, "N"]:
    """Intersection over union of boxes, row by row; NaN where one is not known."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    inside = (high - low).clip(0).prod(1)
    areas: ndarray = sum((box[:, 2:] - box[:, :2]).prod(1) for box in (one, other))
    return inside / np.maximum(areas - inside, 1e-12)
