"""Everything that people and programs ask about a face, as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from emoca_core.export.codes import write_record
from emoca_core.export.sequence_codes import describe_sequence
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter


class Record(Exporter):
    """``face.json``: recipe, photo, codes, camera, landmarks, ARKit values, and the files of the other exporters.

    Of a clip ``sequence.json``: what has no row for each frame, and the times, flags, emotion and trust of the frames.

    It runs last: the file says that the face is complete, and what the contact sheet shows of it.

    Source: this project, docs/outputs.md.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        return _write(folder / "face.json", face.record(), files)

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        return _write(folder / "sequence.json", sequence.record() | describe_sequence(sequence), files)


def _write(path: Path, record: Mapping[str, object], files: Sequence[ExportedFile]) -> Sequence[ExportedFile]:
    own = ExportedFile(path, "JSON")
    page = {
        "links": {file.label: file.path.name for file in (*files, own) if file.label},
        "picture": next((file.path.name for file in files if file.shows == "picture"), None),
        "thumbnail": next((file.path.name for file in files if file.shows == "thumbnail"), None),
    }
    write_record(own.path, {**record, "files": [file.path.name for file in files], "page": page})
    return [own]
