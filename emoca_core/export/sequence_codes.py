"""A person through a clip on disk: every frame in a safetensors file, and what people ask about it in a JSON file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.codes import code_to_tensors, landmark_error, read_tensors, tensors_to_code
from emoca_core.files import json_text
from emoca_core.geometry.project import project_points
from emoca_core.interfaces import CapturedSequence, FaceParameters, FrameFlag
from emoca_core.interfaces.emotion import emotion_columns
from emoca_core.weights.write_tensors import write_tensors

FORMAT = "emoca-sequence-1"
_CODE = "code."
_SLICE = 256


@dataclass(frozen=True)
class SequenceCodes:
    """What ``sequence.safetensors`` holds.

    Attributes:
        parameters: Codes of all frames.
        frames: Everything else by name, a row for each frame: see ``write_sequence``.
        weight_names: Names of the targets that ``frames["weights"]`` belongs to.
    """

    parameters: FaceParameters
    frames: Mapping[str, ndarray]
    weight_names: tuple[str, ...]


def write_sequence(path: Path, sequence: CapturedSequence) -> None:
    """Write every frame of a person through a clip as safetensors.

    Beside the blocks of the code (``code.shape``, ``code.expression``, ...): ``numbers`` and ``times`` (seconds) of the
    frames; ``head`` (rigid movement in model space, metres), ``weights`` of the rig and ``residual_mm``; ``arkit``;
    ``K``, ``R``, ``t`` of the frame's camera (see ``PhotoCamera``); ``landmarks`` (frame pixels), ``confidence``,
    ``crop_to_image``; each of ``bridged``, ``doubtful``, ``cut``; ``valence``, ``arousal`` and ``emotion.NAME``.

    Raises:
        OSError: The file cannot be written.
    """
    tensors, metadata = code_to_tensors(sequence.parameters)
    arrays = {_CODE + name: tensor.numpy() for name, tensor in tensors.items()} | _frames(sequence)
    names = {"weight_names": json_text(list(sequence.rig.names), indent=None), "weights": sequence.rig.source}
    write_tensors(path, arrays, {"format": FORMAT} | metadata | names)


def read_sequence(path: Path | str) -> SequenceCodes:
    """Read what ``write_sequence`` wrote.

    Raises:
        AssetFormatError: Not such a file.
        FileNotFoundError: There is no file.
    """
    tensors, metadata = read_tensors(Path(path), FORMAT, "a person through a clip")
    code = {name.removeprefix(_CODE): t for name, t in tensors.items() if name.startswith(_CODE)}
    frames = {name: t.numpy() for name, t in tensors.items() if not name.startswith(_CODE)}
    names = tuple(json.loads(metadata.get("weight_names", "[]")))
    return SequenceCodes(tensors_to_code(code, metadata, path), frames, names)


def describe_sequence(sequence: CapturedSequence) -> dict[str, object]:
    """What people ask about the frames, JSON-ready; all numbers of them are in ``sequence.safetensors``."""
    residual, emotion = sequence.rig.residual_mm, sequence.emotion
    return {
        "seconds": {"first": float(sequence.times[0]), "last": float(sequence.times[-1])},
        "gaps": [
            {"from": float(sequence.times[row - 1]), "to": float(sequence.times[row])}
            for row in np.flatnonzero(sequence.is_back).tolist()
        ],
        "rig": {
            "source": sequence.rig.source,
            "targets": list(sequence.rig.names),
            "residual_mm": {"mean": round(float(residual.mean()), 4), "max": round(float(residual.max()), 4)},
        },
        "emotion_backbone": None if emotion is None else emotion.backbone,
        "frame": {
            "number": sequence.numbers.tolist(),
            "time": _rounded(sequence.times, 6),
            "confidence": _rounded(sequence.confidence, 3),
            **{flag: np.flatnonzero(sequence.flagged(flag)).tolist() for flag in get_args(FrameFlag)},
            **{name: _rounded(values, 4) for name, values in emotion_curves(sequence).items()},
        },
    }


def emotion_curves(sequence: CapturedSequence) -> dict[str, Float[ndarray, "N"]]:
    """``valence``, ``arousal`` and ``emotion.NAME`` of every frame, as far as they are known."""
    emotion = sequence.emotion
    return {} if emotion is None else emotion_columns(emotion.scores, valence=emotion.valence, arousal=emotion.arousal)


def landmark_errors(sequence: CapturedSequence) -> Float[ndarray, "N"] | None:
    """How far the 68 landmarks of the mesh are from the detected ones; see ``landmark_error``.

    ``None`` for methods without a camera.
    """
    if sequence.cameras is None:
        return None
    matrices, errors = np.array([camera.matrix for camera in sequence.cameras]), []
    for start in range(0, len(sequence), _SLICE):
        rows = slice(start, min(start + _SLICE, len(sequence)))
        points = sequence.geometry(rows).landmarks["ibug68"].double().numpy()
        pairs = zip(project_points(matrices[rows], points), sequence.landmarks[rows], strict=True)
        errors += [landmark_error(fitted, detected) for fitted, detected in pairs]
    return np.array(errors)


def _frames(sequence: CapturedSequence) -> dict[str, ndarray]:
    rig, cameras = sequence.rig, sequence.cameras or ()
    arrays = {
        "numbers": sequence.numbers.astype(np.int64),
        "times": sequence.times.astype(np.float64),
        "head": rig.heads,
        "weights": rig.weights.astype(np.float32),
        "residual_mm": rig.residual_mm.astype(np.float32),
        "landmarks": sequence.landmarks.astype(np.float32),
        "confidence": sequence.confidence.astype(np.float32),
        "crop_to_image": sequence.crop_to_image.astype(np.float64),
        **{flag: sequence.flagged(flag) for flag in get_args(FrameFlag)},
        **{name: values.astype(np.float32) for name, values in emotion_curves(sequence).items()},
    }
    if sequence.arkit is not None:
        arrays["arkit"] = sequence.arkit.astype(np.float32)
    if cameras:
        arrays["K"] = np.array([camera.intrinsics for camera in cameras])
        arrays["R"] = np.array([camera.rotation for camera in cameras])
        arrays["t"] = np.array([camera.translation for camera in cameras])
    return arrays


def _rounded(values: Float[ndarray, "N"], decimals: int) -> list[float]:
    return [float(value) for value in np.round(values.astype(np.float64), decimals)]
