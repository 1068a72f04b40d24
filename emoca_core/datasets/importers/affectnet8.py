"""AffectNet's release of 8 classes: face crops in ``images/``, one NumPy file for each label in ``annotations/``.

``train_set`` and ``val_set`` each hold ``images/{id}.jpg`` and ``annotations/{id}_exp.npy``, ``_val.npy``, ``_aro.npy``
and ``_lnd.npy``. Values are stored as text or as numbers. Landmarks are in pixels of the crops.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from emoca_core.datasets.arrays import read_array
from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.names import AFFECTNET_EXCLUDED, split_name
from emoca_core.datasets.importers.values import affectnet_class, folder, level_or_mark, number, points
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photo_search import photos_in

SETS = ("train_set", "val_set")


def read_npy_release(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Rows of both sets, or of one set whose folder is named; its rows then have no split.

    Raises:
        AssetFormatError: Not this layout, or an annotation that cannot be understood; the message names the file.
    """
    sets = [name for name in SETS if (folder(root) / name / "annotations").is_dir()]
    if not sets and (root / "annotations").is_dir():
        sets = [""]
    if not sets:
        raise AssetFormatError(
            f"{root} holds neither {' nor '.join(SETS)} with images/ and annotations/. For the first release with CSV "
            "files, import affectnet."
        )
    for name in sets:
        yield from _read_set(root, name, tally)


def _read_set(root: Path, name: str, tally: Tally) -> Iterator[ManifestRow]:
    images = root / name / "images"
    if not images.is_dir():
        raise AssetFormatError(f"{root / name} lacks the folder images")
    annotations = root / name / "annotations"
    for image in photos_in(images, tally.pass_over):
        if not os.path.isfile(annotations / f"{image.stem}_exp.npy"):
            tally.dropped["image without annotation"] += 1
            continue
        row = _row(image, annotations, image.relative_to(root).as_posix(), split_name(name) or None, tally)
        if row is not None:
            yield row


def _row(image: Path, annotations: Path, path: str, split: str | None, tally: Tally) -> ManifestRow | None:
    def label(kind: str) -> tuple[str, str]:
        file = annotations / f"{image.stem}_{kind}.npy"
        values = read_array(file, AssetFormatError).reshape(-1)
        if len(values) != 1:
            raise AssetFormatError(f"{file} holds {len(values)} values instead of 1")
        return str(values[0]), str(file)

    expression = affectnet_class(*label("exp"))
    if expression in AFFECTNET_EXCLUDED:
        tally.dropped[f"class {expression}"] += 1
        return None

    def affect(kind: str, what: str) -> float | None:
        text, place = label(kind)
        return level_or_mark(number(text, place, what), place, what, tally)

    valence, arousal = affect("val", "valence"), affect("aro", "arousal")
    file = annotations / f"{image.stem}_lnd.npy"
    landmarks = points(read_array(file, AssetFormatError).reshape(-1), str(file)) if file.is_file() else None
    return ManifestRow(path, split, expression, valence, arousal, landmarks=landmarks)
