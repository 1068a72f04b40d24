"""The face code: every block with its unit, as safetensors."""

from collections.abc import Sequence
from pathlib import Path

from emoca_core.export.codes import write_codes
from emoca_core.interfaces import CapturedFace, ExportedFile, Exporter


class Codes(Exporter):
    """``face.safetensors``: the code as the encoder gave it; ``emoca_core.export.codes.read_codes`` reads it.

    Source: the safetensors format, Hugging Face.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        write_codes(folder / "face.safetensors", face.parameters)
        return [ExportedFile(folder / "face.safetensors", "codes")]
