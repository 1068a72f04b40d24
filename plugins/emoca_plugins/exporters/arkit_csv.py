"""ARKit values as Live Link Face records them: one row for each frame."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.files import write_text
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import CapturedFace, ExportedFile, Exporter

_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
_SIDES = ("Left", "Right")
_VALUES = (
    *(f"Eye{name}{side}" for side in _SIDES for name in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{name}{side}" for name in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
_ROTATIONS = tuple(f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll"))
COLUMNS = ("Timecode", "BlendShapeCount", *_VALUES, *_ROTATIONS)
"""In the order of the app."""
_RATE = 60.0
"""Frames a second that the time code of a single face is counted in; the app's default."""
_FLIP = np.diag([1.0, -1.0, -1.0])
"""OpenCV's camera axes to those of the head (y up)."""


class ArkitCsv(Exporter):
    """``arkit.csv``: the 52 values, and the rotations of head and eyes in radians; a row for each frame.

    The head's rotation is that against the camera: yaw about the upward axis (positive to the subject's left), then
    pitch (positive downwards), then roll. Nothing is written of a face whose ARKit values are unknown.

    Source: columns and time code of recordings of Epic's app Live Link Face.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        return _write(folder / "arkit.csv", [0.0], [face], _RATE)


def _write(path: Path, times: Sequence[float], faces: Sequence[CapturedFace], rate: float) -> Sequence[ExportedFile]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    known = [(time, face, face.arkit) for time, face in zip(times, faces, strict=True)]
    rows = [_row(time_code(time, rate), face, arkit) for time, face, arkit in known if arkit is not None]
    if not rows:
        return []
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return [ExportedFile(path, "ARKit CSV")]


def time_code(time: float, rate: float) -> str:
    """``hours:minutes:seconds:frame.fraction``, as the app writes it.

    Example:
        >>> time_code(61.25, 60.0)
        '00:01:01:15.000'
    """
    second, rest = divmod(round(time * rate, 3), rate)
    return f"{second // 3600:02.0f}:{second // 60 % 60:02.0f}:{second % 60:02.0f}:{rest:06.3f}"


def _row(code: str, face: CapturedFace, arkit: Mapping[str, float]) -> list[str]:
    values = [arkit[name[0].lower() + name[1:]] for name in _VALUES]
    angles = [angle for rotation in _rotations(face) for angle in yaw_pitch_roll(rotation)]
    return [code, str(len(values) + len(angles)), *(f"{number:.6f}" for number in [*values, *angles])]


def _rotations(face: CapturedFace) -> list[Float[ndarray, "3 3"]]:
    """Of the head against the camera, and of the left and the right eye in the head."""
    still = torch.zeros(1, 6)
    code = face.parameters
    head, neck = (still[:, :3] if pose is None else pose for pose in (code.global_pose, code.neck_pose))
    eyes = still if code.eye_pose is None else code.eye_pose
    vectors = torch.cat([head, neck, eyes[:, :3], eyes[:, 3:]]).double()
    turned, bent, *looks = rotation_vector_to_matrix(vectors).numpy()
    view = np.eye(3) if face.camera is None else _FLIP @ face.camera.rotation
    return [view @ turned @ bent, *looks]


def yaw_pitch_roll(rotation: Float[ndarray, "3 3"]) -> tuple[float, float, float]:
    """Angles of Ry(yaw) Rx(pitch) Rz(roll), radians."""
    pitch = float(np.arcsin(np.clip(-rotation[1, 2], -1, 1)))
    return float(np.arctan2(rotation[0, 2], rotation[2, 2])), pitch, float(np.arctan2(rotation[1, 0], rotation[1, 1]))
