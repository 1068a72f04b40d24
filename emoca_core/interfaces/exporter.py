"""Captured faces to files."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoca_core.errors import EmocaError
from emoca_core.interfaces.captured import CapturedFace
from emoca_core.interfaces.component import Component
from emoca_core.interfaces.sequence import CapturedSequence


@dataclass(frozen=True)
class ExportedFile:
    """One file that an exporter wrote.

    Attributes:
        path: Where it is: in the folder that the exporter was given, not below.
        label: What the contact sheet calls a link to it; files without a label have no link.
        shows: Whether the contact sheet shows it as the face's picture, or as the small form of that picture.
    """

    path: Path
    label: str = ""
    shows: Literal["picture", "thumbnail"] | None = None


class Exporter(Component):
    """Writes captured faces in one format, and people through clips where the format holds movement.

    Several threads may export different faces at the same time. Each file appears whole or not at all
    (``emoca_core.files.atomic_write``), and equal faces give equal bytes: no times, no random names, no paths of this
    machine.
    """

    @abstractmethod
    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        """Write one face.

        Args:
            face: What to write.
            folder: Where; it exists.
            files: What other exporters have written of the face before.

        Returns:
            The files written, none where the face has nothing for this format.

        Raises:
            OSError: A file cannot be written.
        """

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        """Write one person through a clip, for formats that hold movement. Memory must not grow with the length.

        Args:
            sequence: What to write.
            folder: Where; it exists.
            files: What other exporters have written of the sequence before.

        Returns:
            The files written, none where the sequence has nothing for this format.

        Raises:
            EmocaError: The format holds no movement.
            OSError: A file cannot be written.
        """
        raise EmocaError(f"{type(self).__name__} writes single faces, no movement")
