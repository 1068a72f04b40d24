"""The picture, or the clip, that tells whether a reconstruction is right."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from emoca_core.export.png import png_bytes
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, CapturedSequence, ClipFrame, ExportedFile, Exporter
from emoca_core.kernels.ahead import ahead
from emoca_core.progress import progress_bar

_AHEAD = 4
"""Frames of the clip that are drawn and not yet encoded."""


class Overlay(Exporter):
    """``overlay.png`` and ``thumbnail.jpg`` of half its size: photo, landmarks, mesh over photo, mesh; needs a camera.

    Of a clip ``overlay.mp4``, with the clip's times and sound, and a thumbnail of its middle: original, mesh over it,
    mesh.

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

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        overlay = sequence.overlay()
        frames = ahead((frame for frame in overlay or ()), _AHEAD)  # drawn while others are encoded
        with closing(frames):
            return self._export_frames(sequence, folder, frames)

    def _export_frames(
        self, sequence: CapturedSequence, folder: Path, frames: Iterator[ClipFrame]
    ) -> Sequence[ExportedFile]:
        from emoca_core.video.writer import clip_writer  # loads FFmpeg

        first = next(frames, None)
        if first is None:
            return []
        video, small = folder / "overlay.mp4", folder / "thumbnail.jpg"
        size, rate, middle = first.pixels.shape[:2], sequence.clip.frame_rate, sequence.numbers[len(sequence) // 2]
        shown = first
        bar = progress_bar(chain([first], frames), label="overlay", unit="frame", total=sequence.clip.length)
        with bar, clip_writer(video, size, rate, start=first.time, sound=sequence.clip) as writer:
            for frame in bar:
                writer.write(frame.pixels, frame.time)
                shown = frame if frame.number == middle else shown
        with atomic_write(small) as temporary:
            Image.fromarray(shown.pixels).reduce(2).save(temporary, quality=88)
        return [ExportedFile(video, "video", "picture"), ExportedFile(small, shows="thumbnail")]
