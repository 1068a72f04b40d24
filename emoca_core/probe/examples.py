"""Faces that a method reads well and badly, for the report."""

import base64
import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray
from scipy.special import softmax

from emoca_core.datasets import Manifest
from emoca_core.images.crops import SHARED_CROP
from emoca_core.images.photos import read_photo
from emoca_core.probe.detections import Detections
from emoca_core.probe.evaluate import Labels, Predictions
from emoca_core.probe.result import Example

EXAMPLES = 8
"""Of each sort."""
SIDE = 96
"""Of a thumbnail, pixels."""


def example_faces(
    predictions: Predictions,
    labels: Labels,
    rows: Int[ndarray, "N"],
    manifest: Manifest,
    detections: Detections,
) -> list[Example]:
    """The faces with the surest right and the surest wrong class; without classes, least and largest error.

    Args:
        predictions: Of the faces tested.
        labels: Of the faces used.
        rows: Where the faces used are in the manifest.
        manifest: The images.
        detections: Their faces.
    """
    known = labels[predictions.rows]
    good, bad = _chosen(predictions, known)
    examples = []
    for index, is_good in [*((i, True) for i in good), *((i, False) for i in bad)]:
        row = int(rows[predictions.rows[index]])
        truth, prediction = _described(predictions, known, int(index))
        picture = _thumbnail(manifest, detections, row)
        path = manifest[row].path
        examples.append(Example(path=path, truth=truth, prediction=prediction, good=is_good, thumbnail=picture))
    return examples


def _chosen(predictions: Predictions, known: Labels) -> tuple[Int[ndarray, "_"], Int[ndarray, "_"]]:
    if predictions.logits is not None:
        sure = softmax(predictions.logits.astype(np.float64), axis=1).max(1)
        guess, labelled = predictions.logits.argmax(1), known.expression >= 0
        right = np.flatnonzero(labelled & (guess == known.expression))
        wrong = np.flatnonzero(labelled & (guess != known.expression))
        good = _spread(right[np.argsort(-sure[right], kind="stable")], known.expression)
        return good, _spread(wrong[np.argsort(-sure[wrong], kind="stable")], known.expression)
    error = np.hypot(predictions.valence - known.valence, predictions.arousal - known.arousal)
    order = np.flatnonzero(np.isfinite(error))
    order = order[np.argsort(error[order], kind="stable")]
    half = min(EXAMPLES, len(order) // 2)
    return order[:half], order[::-1][:half]


def _spread(order: Int[ndarray, "K"], classes: Int[ndarray, "N"]) -> Int[ndarray, "_"]:
    """The first few, one class after the other, so that not all are of the easiest class."""
    return np.array(list(_turns(order, classes))[:EXAMPLES], np.int64)


def _turns(order: Int[ndarray, "K"], classes: Int[ndarray, "N"]) -> Iterator[int]:
    queues = [order[classes[order] == c].tolist() for c in np.unique(classes[order])]
    while any(queues):
        yield from (queue.pop(0) for queue in queues if queue)


def _described(predictions: Predictions, known: Labels, index: int) -> tuple[str, str]:
    """Truth and prediction as text."""
    truth, guess = [], []
    if predictions.logits is not None and known.expression[index] >= 0:
        truth.append(known.names[known.expression[index]])
        guess.append(known.names[int(predictions.logits[index].argmax())])
    if np.isfinite(known.valence[index]) and np.isfinite(known.arousal[index]):
        truth.append(_pair(known.valence[index].item(), known.arousal[index].item()))
        guess.append(_pair(predictions.valence[index].item(), predictions.arousal[index].item()))
    return ", ".join(truth), ", ".join(guess)


def _pair(valence: float, arousal: float) -> str:
    return f"V {valence:+.2f} A {arousal:+.2f}"


def _thumbnail(manifest: Manifest, detections: Detections, row: int) -> str:
    photo = read_photo(manifest.image_path(manifest[row]))
    return jpeg_base64(SHARED_CROP(photo.pixels, detections.faces[row]).image)


def jpeg_base64(image: UInt8[ndarray, "H W 3"]) -> str:
    """A small JPEG as text."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
