"""The faces of a data set component as pictures with a manifest: rendered faces enter the benchmark as photos do."""

from collections.abc import Iterator, Sequence

from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.errors import ParamsError
from emoca_core.files import atomic_write
from emoca_core.interfaces import EXPRESSIONS, FaceDataset, FaceSample
from emoca_core.probe.codes import code_hash
from emoca_core.probe.detections import cache_folder
from emoca_core.probe.processes import PART, Part, fill_parts, here_first

Face = tuple[ManifestRow, ndarray]
"""What is known of a face, and its picture."""
BATCH = 32
"""Faces that a data set makes at once."""
MOST = 50_000
"""Endless data sets must be told how many faces to make."""


def rendered_manifest(dataset: FaceDataset, name: str) -> Manifest:
    """All faces of a data set, made once and kept in the cache.

    On several processes each makes its share. What an interruption leaves is used.

    Args:
        dataset: Faces with labels.
        name: Of the data set, for the cache's key.

    Raises:
        ParamsError: More faces than anybody wants on disk.
    """
    if len(dataset) > MOST:
        raise ParamsError(f"{name} has {len(dataset)} faces: choose how many, e.g. --data-set length=1000")
    description = {"dataset": name, "params": dataset.params.model_dump(mode="json"), "code": code_hash(dataset)}
    folder = cache_folder("rendered", description)
    parts = [
        Part(range(start, min(start + PART, len(dataset))), folder / f"{start:09d}.csv")
        for start in range(0, len(dataset), PART)
    ]

    def write(part: Part, faces: list[Face]) -> None:
        for row, pixels in faces:
            with atomic_write(folder / row.path) as temporary:
                Image.fromarray(pixels).save(temporary)
        write_manifest((row for row, _ in faces), part.file)

    fill_parts(parts, lambda rows: _faces(dataset, rows), write, f"making {name}")
    whole = folder / "manifest.csv"

    def join() -> Manifest:
        if not whole.exists():
            write_manifest((row for part in parts for row in _rows(Manifest.open(part.file))), whole)
        return Manifest.open(whole)

    return here_first(join)


def _faces(dataset: FaceDataset, rows: range) -> list[Face]:
    together = getattr(dataset, "__getitems__", None) or (lambda some: [dataset[index] for index in some])
    batches = (together(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))
    samples = [sample for batch in batches for sample in batch]
    labels = getattr(dataset.params, "labels", EXPRESSIONS)
    return [(_row(index, sample, labels), _pixels(sample)) for index, sample in zip(rows, samples, strict=True)]


def _row(index: int, sample: FaceSample, labels: Sequence[str]) -> ManifestRow:
    return ManifestRow(
        f"faces/{index:09d}.png",
        expression=None if sample.expression is None else labels[sample.expression],
        valence=sample.valence,
        arousal=sample.arousal,
        identity=sample.identity,
        clip=sample.clip,
    )


def _pixels(sample: FaceSample) -> UInt8[ndarray, "H W 3"]:
    pixels: ndarray = (sample.image.permute(1, 2, 0) * 255).round().byte().numpy()
    return pixels


def _rows(manifest: Manifest) -> Iterator[ManifestRow]:
    return (manifest[index] for index in range(len(manifest)))
