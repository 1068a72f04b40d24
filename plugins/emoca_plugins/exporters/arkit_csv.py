"""ARKit values as Live Link Face records them: one row for each frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.angles import head_and_eyes, yaw_pitch_roll
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.live_link import FROM_ARKIT, LIVE_LINK_ROTATIONS, LIVE_LINK_VALUES

COLUMNS = ("Timecode", "BlendShapeCount", *LIVE_LINK_VALUES, *LIVE_LINK_ROTATIONS)
"""In the order of the app."""
_RATE = 60.0
"""Frames a second that the time code of a single face is counted in; the app's default."""


class ArkitCsv(Exporter):
    """``arkit.csv``: the 52 values, and the rotations of head and eyes in radians; a row for each frame.

    The head's rotation is that against the camera: yaw about the upward axis (positive to the subject's left), then
    pitch (positive downwards), then roll. Nothing is written of a face whose ARKit values are unknown. Of a clip, the
    time codes are those of its frames; there are no rows while the person is away.

    Source: columns and time code of recordings of Epic's app Live Link Face.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        if face.arkit is None:
            return []
        values = np.array([[face.arkit[name] for name in ARKIT_NAMES]])
        turns = head_and_eyes(face.parameters, None if face.camera is None else [face.camera])
        return _write(folder / "arkit.csv", [time_code(0.0, _RATE)], values, turns)

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        if sequence.arkit is None:
            return []
        rate = max(1.0, float(round(sequence.clip.frame_rate)))
        codes = [time_code(time, rate) for time in sequence.times.tolist()]
        turns = head_and_eyes(sequence.parameters, sequence.cameras)
        return _write(folder / "arkit.csv", codes, sequence.arkit, turns)


def _write(
    path: Path, codes: Sequence[str], values: Float[ndarray, "N 52"], turns: Float[ndarray, "N 3 3 3"]
) -> Sequence[ExportedFile]:
    in_order = np.clip(values[:, FROM_ARKIT], 0, 1)
    numbers = np.hstack([in_order, yaw_pitch_roll(turns).reshape(len(turns), -1)])
    form = f",{numbers.shape[1]}" + ",%.6f" * numbers.shape[1]
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(COLUMNS) + "\n")
        for row, code in enumerate(codes):  # one at a time: an hour is 50 MB of text, and more in lists
            file.write(code + form % tuple(numbers[row].tolist()) + "\n")
    return [ExportedFile(path, "ARKit CSV")]


def time_code(time: float, rate: float) -> str:
    """``hours:minutes:seconds:frame.fraction``, as the app writes it.

    Example:
        >>> time_code(61.25, 60.0)
        '00:01:01:15.000'
    """
    second, rest = divmod(round(time * rate, 3), rate)
    return f"{second // 3600:02.0f}:{second // 60 % 60:02.0f}:{second % 60:02.0f}:{rest:06.3f}"
