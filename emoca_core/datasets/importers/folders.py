"""One folder for each expression class, as FER2013 is spread; folders of splits around them where there are any."""

from collections.abc import Iterator
from pathlib import Path

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.names import SPLIT_SYNONYMS, split_name
from emoca_core.datasets.importers.values import folder
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photo_search import photos_in
from emoca_core.vocabulary.emotions import expression_name


def read_folders(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Rows by split, class and name.

    Raises:
        AssetFormatError: No folders, folders of splits beside folders of classes, or no pictures.
    """
    photos = [(path, path.relative_to(root).parts[:-1]) for path in photos_in(folder(root), tally.pass_over)]
    outermost = sorted({folders[0] for _, folders in photos if folders})
    splits = [name for name in outermost if name.lower() in SPLIT_SYNONYMS]
    if splits and len(splits) < len(outermost):
        other = next(name for name in outermost if name not in splits)
        raise AssetFormatError(f"{root} holds splits ({splits[0]}) and something else ({other}) side by side")
    depth = 2 if splits else 1
    labelled = sorted((entry for entry in photos if len(entry[1]) >= depth), key=lambda entry: entry[1][:depth])
    if not labelled:
        raise AssetFormatError(f"{root} holds no pictures in folders that are named like expressions")
    for path, folders in photos:
        if len(folders) < depth:
            tally.pass_over(path, "it is in no folder of a class")
    for path, folders in labelled:
        yield ManifestRow(
            path=path.relative_to(root).as_posix(),
            split=split_name(folders[0]) if splits else None,
            expression=expression_name(folders[depth - 1]),
        )
