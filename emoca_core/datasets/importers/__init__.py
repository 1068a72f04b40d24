"""Published data sets to manifests, one file for each layout. An importer reads labels, never pictures."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import unknown_name

IMPORTERS: Mapping[str, str] = {
    "affectnet": "affectnet:read_csv_release",
    "affectnet8": "affectnet8:read_npy_release",
    "afew_va": "afew_va:read_clips",
    "folders": "folders:read_folders",
    "table": "table:read_table",
    "vggface2": "vggface2:read_people",
    "voxceleb2": "voxceleb2:read_frames",
}
"""Name -> module and function. Adding a layout adds a line and a file."""


@dataclass(frozen=True)
class ImportOptions:
    """What a user says beside the folder.

    Attributes:
        file: The table, where it is not the only CSV file of the folder; the list of ``vggface2`` or ``voxceleb2``.
        columns: Manifest column -> column of the file.
        classes: Names behind the numbers 0, 1, ... of the expression column.
        va_range: Least and largest value of valence and arousal in the file; brought to [-1, 1].
        masks: Folder of segmentations, where it is not at its usual place.
    """

    file: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    va_range: tuple[float, float] = (-1.0, 1.0)
    masks: Path | None = None


@dataclass
class Tally:
    """What was left out or left unknown while the rows stream past: counted by reason, or named."""

    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    not_taken: list[tuple[Path, str]] = field(default_factory=list)

    def pass_over(self, path: Path, reason: str) -> None:
        """Note a file or folder that is not taken."""
        self.not_taken.append((path, reason))


def storable(rows: Iterable[ManifestRow], tally: Tally) -> Iterator[ManifestRow]:
    """The rows whose texts a manifest can hold: a name that is not UTF-8 costs its row alone."""
    for row in rows:
        try:
            "".join(filter(None, (row.path, row.mask, row.identity, row.clip))).encode()
        except UnicodeEncodeError:
            tally.pass_over(Path(row.path), "its name is not UTF-8; rename it")
        else:
            yield row


Importer = Callable[[Path, ImportOptions, Tally], Iterator[ManifestRow]]
"""Yields rows whose paths start at the given folder."""


def get_importer(name: str) -> Importer:
    """The function behind a name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in IMPORTERS:
        raise unknown_name("data set layout", name, IMPORTERS)
    module, function = IMPORTERS[name].split(":")
    importer: Importer = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return importer
