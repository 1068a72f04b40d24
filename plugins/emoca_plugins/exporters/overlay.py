"""The picture that tells whether a reconstruction is right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emoca_core.export.png import png_bytes
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, ExportedFile, Exporter


class Overlay(Exporter):
    """``overlay.png`` and ``thumbnail.jpg`` of half its size: photo, landmarks, mesh over photo, mesh; needs a camera.

    Source: this project.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        picture = face.overlay()
        if picture is None:
            return []
        large, small = folder / "overlay.png", folder / "thumbnail.jpg"
        with atomic_write(large) as temporary:
            temporary.write_bytes(png_bytes(np.asarray(picture)))
        with atomic_write(small) as temporary:
            picture.reduce(2).save(temporary, quality=88)
        return [ExportedFile(large, "picture", "picture"), ExportedFile(small, shows="thumbnail")]
