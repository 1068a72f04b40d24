"""One folder for each expression class, as FER2013 is spread; folders of splits around them where there are any."""

from collections.abc import Iterator
from pathlib import Path

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.names import SPLIT_SYNONYMS, split_name
from emoca_core.datasets.importers.values import folder
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photos import PHOTO_SUFFIXES, natural_key
from emoca_core.vocabulary.emotions import expression_name


def read_folders(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Rows by split, class and name.

    Raises:
        AssetFormatError: No folders, folders of splits beside folders of classes, or no pictures.
    """
    inside = _folders(folder(root))
    splits = [path for path in inside if path.name.lower() in SPLIT_SYNONYMS]
    if splits and len(splits) < len(inside):
        other = next(path for path in inside if path not in splits)
        raise AssetFormatError(f"{root} holds splits ({splits[0].name}) and something else ({other.name}) side by side")
    count = 0
    for split in splits or [root]:
        for path in _folders(split):
            for image in sorted((p for p in path.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES), key=natural_key):
                count += 1
                yield ManifestRow(
                    path=image.relative_to(root).as_posix(),
                    split=split_name(split.name) if splits else None,
                    expression=expression_name(path.name),
                )
    if not count:
        raise AssetFormatError(f"{root} holds no pictures in folders that are named like expressions")


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
