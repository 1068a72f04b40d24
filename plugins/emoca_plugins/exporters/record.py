"""Everything that people and programs ask about a face, as JSON."""

from collections.abc import Sequence
from pathlib import Path

from emoca_core.export.codes import write_record
from emoca_core.interfaces import CapturedFace, ExportedFile, Exporter


class Record(Exporter):
    """``face.json``: recipe, photo, codes, camera, landmarks, ARKit values, and the files of the other exporters.

    It runs last: the file says that the face is complete, and what the contact sheet shows of it.

    Source: this project, docs/outputs.md.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        own = ExportedFile(folder / "face.json", "JSON")
        page = {
            "links": {file.label: file.path.name for file in (*files, own) if file.label},
            "picture": next((file.path.name for file in files if file.shows == "picture"), None),
            "thumbnail": next((file.path.name for file in files if file.shows == "thumbnail"), None),
        }
        write_record(own.path, {**face.record(), "files": [file.path.name for file in files], "page": page})
        return [own]
