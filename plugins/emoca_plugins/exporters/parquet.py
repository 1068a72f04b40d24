"""A table for analysts: one row for each frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.angles import head_and_eyes, yaw_pitch_roll
from emoca_core.export.sequence_codes import emotion_curves, landmark_errors
from emoca_core.files import atomic_write
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_PARTS = ("head", "left_eye", "right_eye")


class Parquet(Exporter):
    """``sequence.parquet`` of a clip, ``face.parquet`` with a single row of a photo.

    Columns: ``frame``, ``time`` (seconds), ``bridged``, ``doubtful``, ``cut``; ``confidence``, ``landmark_error`` (of
    the distance of the outer eye corners) and ``residual_mm``; ``head_yaw``, ``head_pitch``, ``head_roll`` against the
    camera and those of ``left_eye`` and ``right_eye``, degrees, as in ``arkit_csv``; the 52 ARKit values by name;
    ``valence``, ``arousal`` and ``emotion.NAME``. What is not known has no column.

    Source: Apache Parquet.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        turns = head_and_eyes(face.parameters, None if face.camera is None else [face.camera])
        error = face.quality.figures.get("landmark_error")
        trust = {"confidence": np.array([float(face.detection.score)])}
        if error is not None:
            trust["landmark_error"] = np.array([error])
        arkit = None if face.arkit is None else np.array([[face.arkit[name] for name in ARKIT_NAMES]])
        return _write(folder / "face.parquet", trust | _angles(turns) | _values(arkit))

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        errors = landmark_errors(sequence)
        columns = {
            "frame": sequence.numbers.astype(np.int64),
            "time": sequence.times,
            "bridged": sequence.flagged("bridged"),
            "doubtful": sequence.flagged("doubtful"),
            "cut": sequence.flagged("cut"),
            "confidence": sequence.confidence,
            **({} if errors is None else {"landmark_error": errors}),
            "residual_mm": sequence.rig.residual_mm,
            **_angles(head_and_eyes(sequence.parameters, sequence.cameras)),
            **_values(sequence.arkit),
            **emotion_curves(sequence),
        }
        return _write(folder / "sequence.parquet", columns)


def _angles(turns: Float[ndarray, "N 3 3 3"]) -> dict[str, ndarray]:
    degrees = np.degrees(yaw_pitch_roll(turns))
    axes = ("yaw", "pitch", "roll")
    return {f"{part}_{axis}": degrees[:, i, j] for i, part in enumerate(_PARTS) for j, axis in enumerate(axes)}


def _values(arkit: Float[ndarray, "N 52"] | None) -> dict[str, ndarray]:
    return {} if arkit is None else dict(zip(ARKIT_NAMES, arkit.T, strict=True))


def _write(path: Path, columns: Mapping[str, ndarray]) -> Sequence[ExportedFile]:
    import pyarrow as pa
    from pyarrow import parquet

    single = {
        name: c.astype(np.float32) if c.dtype == np.float64 and name != "time" else c for name, c in columns.items()
    }
    with atomic_write(path) as temporary:
        parquet.write_table(pa.table(single), temporary, compression="zstd")
    return [ExportedFile(path, "table")]
