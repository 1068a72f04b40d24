"""What an exporter promises."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from emoca_core.interfaces import ExportedFile, Exporter
from emoca_core.testing.common import Subject
from emoca_core.testing.sample_face import sample_face
from emoca_core.testing.sample_sequence import sample_sequence

Export = Callable[[Path, Sequence[ExportedFile]], Sequence[ExportedFile]]


def check(subject: Subject[Exporter]) -> None:
    """It writes what it says into the folder, nothing else; equal faces give equal bytes, from several threads too.

    The same of people through clips, where the exporter holds movement.
    """
    exporter = subject.component
    faces = [sample_face(), sample_face(bare=True)] if subject.sample is None else [subject.sample]
    _check_captures(subject, "face", [partial(exporter.export, face) for face in faces])
    if type(exporter).export_sequence is not Exporter.export_sequence:
        sequences = [sample_sequence(), sample_sequence(bare=True)]
        _check_captures(subject, "sequence", [partial(exporter.export_sequence, one) for one in sequences])


def _check_captures(subject: Subject[Exporter], what: str, exports: Sequence[Export]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, f"{i}") for i in range(3 * len(exports))]
        first = [_written(subject, export, folder) for export, folder in zip(exports, folders, strict=False)]
        subject.require(any(first), f"must write something of at least one {what}")
        with ThreadPoolExecutor(2) as pool:
            again = pool.map(lambda e, d: _written(subject, e, d), [*exports, *exports], folders[len(exports) :])
            for number, content in enumerate(again):
                subject.require(content == first[number % len(exports)], f"equal {what}s must give equal bytes")


def _written(subject: Subject[Exporter], export: Export, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    before = (ExportedFile(folder / "face.before", "before"),)
    before[0].path.write_bytes(b"another exporter's")
    files = export(folder, before)
    _check_files(subject, files, folder)
    subject.require(before[0].path.read_bytes() == b"another exporter's", "must not touch files of other exporters")
    before[0].path.unlink()
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    unnamed = sorted(content.keys() - {file.path.name for file in files})
    subject.require(not unnamed, f"must name all files that it writes, not only some: {', '.join(unnamed)}")
    place = str(folder.parent).encode()
    subject.require(not any(place in data for data in content.values()), "must not write this machine's paths")
    return content


def _check_files(subject: Subject[Exporter], files: Sequence[ExportedFile], folder: Path) -> None:
    subject.require(all(isinstance(file, ExportedFile) for file in files), "must return ExportedFile objects")
    for file in files:
        subject.require(file.path.parent == folder, f"{file.path.name} must be in the folder that it was given")
        subject.require(file.path.is_file(), f"{file.path.name} is not there")
    for shows in ("picture", "thumbnail"):
        subject.require(sum(file.shows == shows for file in files) <= 1, f"a face has one {shows}")
