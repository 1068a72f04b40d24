"""A face code on disk: every block in a safetensors file, and everything a person asks about it in a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import torch
from jaxtyping import Float
from numpy import ndarray
from pydantic import RootModel

from emoca_core.errors import AssetFormatError
from emoca_core.export.camera import camera_to_gltf
from emoca_core.files import json_text, write_text
from emoca_core.interfaces import (
    BLOCKS,
    Camera,
    FaceParameters,
    PerspectiveCamera,
    PhotoCamera,
    Unit,
    WeakPerspectiveCamera,
)
from emoca_core.parsing import parse_record
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_core.weights.write_tensors import write_tensors

FORMAT = "emoca-codes-1"
_CAMERAS: Mapping[str, type[PerspectiveCamera] | type[WeakPerspectiveCamera]] = {
    "perspective": PerspectiveCamera,
    "weak_perspective": WeakPerspectiveCamera,
}


class _Units(RootModel[dict[str, Unit]]):
    """Of the blocks of a code, by name."""


def write_codes(path: Path | str, parameters: FaceParameters) -> None:
    """Write every block of a batch of codes as safetensors: one tensor per block, units and camera kind as metadata.

    Raises:
        OSError: The file cannot be written.
    """
    tensors, metadata = code_to_tensors(parameters)
    write_tensors(path, tensors, {"format": FORMAT} | metadata)


def code_to_tensors(parameters: FaceParameters) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Every block in its own shape, the camera as its code; and units and camera kind as texts."""
    tensors = {name: block.detach().cpu().float().contiguous() for name, block in _natural_blocks(parameters).items()}
    metadata = {"units": json.dumps({name: parameters.unit_of(name) for name in parameters.blocks()})}
    if parameters.camera is not None:
        metadata["camera"] = camera_kind(parameters.camera)
    return tensors, metadata


def read_codes(path: Path | str) -> FaceParameters:
    """Read a face code that ``write_codes`` wrote: ``method.face_model(read_codes(path))`` is the face again.

    Raises:
        AssetFormatError: Not such a file.
        FileNotFoundError: There is no file.
    """
    return tensors_to_code(*read_tensors(Path(path), FORMAT, "a face code"), path)


def read_tensors(path: Path, form: str, what: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and texts of a safetensors file of this project.

    Raises:
        AssetFormatError: Not such a file.
        FileNotFoundError: There is no file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise AssetFormatError(f"{path} is not a safetensors file: {error}") from None
    if metadata.get("format") != form:
        raise AssetFormatError(f"{path} does not hold {what} (format {metadata.get('format')!r})")
    return tensors, metadata


def tensors_to_code(tensors: dict[str, torch.Tensor], metadata: Mapping[str, str], path: Path | str) -> FaceParameters:
    """The reverse of ``code_to_tensors``.

    Raises:
        AssetFormatError: Not such tensors.
    """
    camera = tensors.pop("camera", None)
    units = parse_record(metadata.get("units", ""), _Units, f"'units' of {path}").root
    if odd := sorted(tensors.keys() - BLOCKS - units.keys()):
        raise AssetFormatError(f"{path} does not hold a face code: nobody knows what {odd[0]} means")
    code = FaceParameters(units={name: unit for name, unit in units.items() if name in tensors}).replace(**tensors)
    return code.replace(camera=None if camera is None else _camera_from_code(metadata.get("camera", ""), camera))


def camera_kind(camera: Camera) -> str:
    """``"perspective"`` or ``"weak_perspective"``.

    Raises:
        TypeError: Another class of camera.
    """
    for name, cls in _CAMERAS.items():
        if isinstance(camera, cls):
            return name
    raise TypeError(f"cannot export a camera of class {type(camera).__name__}")


def describe_codes(parameters: FaceParameters) -> dict[str, object]:
    """Unit, size and values of every block of one face, JSON-ready."""
    return {
        name: {"unit": parameters.unit_of(name), "size": block.shape[1], "values": block[0].tolist()}
        for name, block in parameters.map(lambda tensor: tensor.detach().cpu()).blocks().items()
    }


def describe_camera(camera: PhotoCamera) -> dict[str, object]:
    """The photo's camera in OpenCV's and in glTF's convention, JSON-ready.

    ``opencv.P`` maps model space (metres) to homogeneous photo pixels in either model. For an orthographic camera,
    ``K`` acts on ``[x_cam, y_cam, 1]``, and ``long_focal_equivalent`` is a pinhole camera for programs that know no
    other.
    """
    height, width = camera.photo_size
    record: dict[str, object] = {
        "model": camera.model,
        "photo_size": {"width": width, "height": height},
        "opencv": _opencv(camera),
    }
    gltf = camera_to_gltf(camera)
    record["gltf"] = gltf and {
        "camera": gltf.camera,
        "camera_to_world": gltf.matrix.tolist(),
        "frame_size": {"width": gltf.frame_size[0], "height": gltf.frame_size[1]},
        "photo_in_frame": {"x": gltf.photo_offset[0], "y": gltf.photo_offset[1]},
    }
    if camera.model == "orthographic":
        record["long_focal_equivalent"] = _opencv(camera.long_focal_equivalent())
    return record


def describe_landmarks(
    fitted: Float[ndarray, "68 2"], detected: Mapping[str, Float[ndarray, "_ 2"]]
) -> dict[str, object]:
    """Landmarks in photo pixels, and how far the fitted ones are from the detected ones, JSON-ready."""
    record: dict[str, object] = {
        "ibug68_px": np.round(fitted, 4).tolist(),
        "detected_px": {name: np.round(points.astype(np.float64), 3).tolist() for name, points in detected.items()},
    }
    if "ibug68" in detected:
        record["mean_error_interocular"] = landmark_error(fitted, detected["ibug68"])
    return record


def landmark_error(fitted: Float[ndarray, "68 2"], detected: Float[ndarray, "68 2"]) -> float:
    """Mean distance of the 68 points, as a fraction of the distance between the outer corners of the eyes.

    Source: normalised mean error of the 300-W challenge (Sagonas et al. 2013).
    """
    right, left = (detected[corner] for corner in IBUG68_OUTER_EYE_CORNERS)
    size = max(float(np.linalg.norm(right - left)), 1e-9)
    return float(np.linalg.norm(fitted - detected, axis=1).mean() / size)


def write_record(path: Path | str, record: Mapping[str, object]) -> None:
    """Write a JSON file with lists of plain values on one line each.

    Raises:
        OSError: The file cannot be written.
        ValueError: The record holds numbers that JSON does not know (NaN, infinities).
    """
    write_text(path, _json_lines(record, "\n") + "\n")


def _json_lines(value: object, newline: str) -> str:
    """JSON of which all that holds other containers is spread over lines; twenty times as fast as ``json``'s indent."""
    inner = newline + "  "
    if isinstance(value, Mapping) and value:
        items = [
            f"{json_text(str(key), indent=None, strict=True)}: {_json_lines(item, inner)}"
            for key, item in value.items()
        ]
        return "{" + inner + f",{inner}".join(items) + newline + "}"
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping | list | tuple):
        return "[" + inner + f",{inner}".join([_json_lines(item, inner) for item in value]) + newline + "]"
    return json_text(value, indent=None, strict=True)


def _opencv(camera: PhotoCamera) -> dict[str, list[object]]:
    return {
        "K": camera.intrinsics.tolist(),
        "R": camera.rotation.tolist(),
        "t": camera.translation.tolist(),
        "P": camera.matrix.tolist(),
    }


def _natural_blocks(parameters: FaceParameters) -> dict[str, torch.Tensor]:
    """The blocks in their own shapes; the camera as its code."""
    natural = {name: parameters.get(name) for name in parameters.blocks()}
    return {
        name: value.code() if isinstance(value, Camera) else value
        for name, value in natural.items()
        if value is not None
    }


def _camera_from_code(kind: str, code: torch.Tensor) -> Camera:
    if kind == "weak_perspective":
        return WeakPerspectiveCamera.from_code(code)
    return PerspectiveCamera(code[:, :2], code[:, 2:4], code[:, 4:])
