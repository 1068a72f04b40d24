"""The face code: every block with its unit, as safetensors."""

from collections.abc import Sequence
from pathlib import Path

from emoca_core.export.codes import write_codes
from emoca_core.export.sequence_codes import write_sequence
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter


class Codes(Exporter):
    """``face.safetensors``: the code as the encoder gave it; ``emoca_core.export.codes.read_codes`` reads it.

    Of a clip ``sequence.safetensors``, with all that there is of every frame; see ``read_sequence``.

    Source: the safetensors format, Hugging Face.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        write_codes(folder / "face.safetensors", face.parameters)
        return [ExportedFile(folder / "face.safetensors", "codes")]

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        write_sequence(folder / "sequence.safetensors", sequence)
        return [ExportedFile(folder / "sequence.safetensors", "codes")]
