"""VGGFace2 with DECA's annotations: photos by person, landmarks, segmentations, and lists of people.

``train/<person>/<photo>.jpg``, ``train_annotated_torch7/<person>/<photo>.npy``, segmentations in ``seg``, ``train_seg``
or a folder that is named. A list (``--list``) is a NumPy file [N, 6] of ``<person>/<photo>``: five photos of one person
and, last, one of ANOTHER person. Who is on a photo is read from its name, so the last column never becomes the person
of its row. Without a list all photos with landmarks are taken. Every photo becomes one row, however often it is listed.
"""

from collections.abc import Iterator
from pathlib import Path

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.annotated_lists import Annotated, annotated, read_list
from emoca_core.datasets.importers.values import folder
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError

PER_ROW = 6
"""Photos in a row of a list; the last one is of another person."""


def read_people(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Every photo of the list, or of the folder.

    Raises:
        AssetFormatError: Not this layout; the message names the file.
    """
    places = annotated(folder(root), "train", "train_annotated_torch7", ("seg", "train_seg"), options)
    names = _listed(options.file, tally) if options.file else places.names(tally)
    yield from _rows(places, names, tally)


def _listed(file: Path, tally: Tally) -> list[str]:
    names = read_list(file, dimensions=2)
    if names.shape[1] != PER_ROW:
        raise AssetFormatError(f"{file}: {names.shape[1]} photos in a row instead of {PER_ROW}")
    for row in names:
        people = [_person(name) for name in row]
        if len(set(people[:-1])) > 1:
            tally.unknown["row of the list whose first five photos are not of one person"] += 1
    return list(dict.fromkeys(names.reshape(-1).tolist()))


def _rows(places: Annotated, names: list[str], tally: Tally) -> Iterator[ManifestRow]:
    for name in names:
        row = places.row(ManifestRow(name, "train", identity=_person(name)), tally)
        if row is not None:
            yield row


def _person(name: str) -> str:
    person, slash, photo = name.rpartition("/")
    if not (person and slash and photo):
        raise AssetFormatError(f"'{name}' does not say who is on the photo: expected <person>/<photo>")
    return person
