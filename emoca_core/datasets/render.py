"""Any data set of the registry as image files and a manifest, e.g. synthetic faces for a training elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from emoca_core.datasets.manifest import ManifestRow, write_manifest
from emoca_core.errors import ParamsError
from emoca_core.files import atomic_write, path_below
from emoca_core.interfaces import EXPRESSIONS, FaceDataset, FaceSample
from emoca_core.progress import progress_bar

BATCH = 32


def render_dataset(faces: FaceDataset, out: Path, labels: tuple[str, ...] = EXPRESSIONS) -> Path:
    """Write every face as a PNG, then ``manifest.parquet`` beside the images, and return its path.

    Args:
        faces: A data set; one with ``__getitems__`` is asked for whole batches.
        out: A folder; made where it is missing.
        labels: Names of the expression classes of ``faces``.

    Raises:
        OSError: The folder cannot be written to.
        ParamsError: Some landmarks are marked as not seen.
    """
    manifest = out / "manifest.parquet"
    write_manifest(
        iter(progress_bar(_rows(faces, out, labels), total=len(faces), label="rendering", unit="face")), manifest
    )
    return manifest


def _rows(faces: FaceDataset, out: Path, labels: tuple[str, ...]) -> Iterator[ManifestRow]:
    at_once = getattr(faces, "__getitems__", lambda indices: [faces[i] for i in indices])
    for start in range(0, len(faces), BATCH):
        indices = range(start, min(start + BATCH, len(faces)))
        for index, sample in zip(indices, at_once(list(indices)), strict=True):
            names = "images", f"{index:07d}.png"
            _write_image(sample.image, path_below(out, *names))
            yield _row(sample, "/".join(names), labels)


def _row(sample: FaceSample, path: str, labels: tuple[str, ...]) -> ManifestRow:
    height, width = sample.image.shape[-2:]
    landmarks = None
    if sample.landmarks is not None:  # NDC to pixel centres
        if not sample.landmarks.isfinite().all():
            raise ParamsError(f"{sample.key} has landmarks that are not seen, which a manifest cannot say: draw all")
        landmarks = (((sample.landmarks + 1) * torch.tensor([width, height]) - 1) / 2).flatten().tolist()
    return ManifestRow(
        path=path,
        expression=None if sample.expression is None else labels[sample.expression],
        valence=sample.valence,
        arousal=sample.arousal,
        identity=sample.identity,
        clip=sample.clip,
        landmarks=landmarks,
    )


def _write_image(image: torch.Tensor, path: Path) -> None:
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)
