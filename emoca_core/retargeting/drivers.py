"""Whatever may drive, read by the reader that knows it. Another kind of driver is another row of ``READERS``."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel

from emoca_core.errors import AssetFormatError, EmocaError, ImageError
from emoca_core.export.angles import rotation_of_angles
from emoca_core.export.codes import read_codes
from emoca_core.export.sequence_codes import read_sequence
from emoca_core.files import sha256_of
from emoca_core.interfaces import (
    CV_AXES,
    CapturedFace,
    CapturedSequence,
    FaceParameters,
    FrameFlag,
    PerspectiveCamera,
)
from emoca_core.method import Method
from emoca_core.parsing import read_record
from emoca_core.reconstruction import reconstruct_sequence
from emoca_core.reconstruction.capture import reconstruct
from emoca_core.retargeting.arkit_table import read_arkit_table
from emoca_core.retargeting.driving import Driving, Pictures
from emoca_core.retargeting.face_model_facts import face_model_facts, same_face_model
from emoca_core.retargeting.heads import seen_heads, to_sight
from emoca_core.retargeting.lips import lip_openings
from emoca_core.retargeting.retarget_settings import RetargetSettings
from emoca_core.retargeting.still_clip import StillClip
from emoca_core.video import is_clip
from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototype
from emoca_core.vocabulary.emotions import expression_name

EMOTION = "emotion:"
SEQUENCE, FACE = "sequence.safetensors", "face.safetensors"
_TABLES = frozenset({".csv", ".tsv", ".txt"})


@dataclass(frozen=True)
class Reader:
    """One kind of driver.

    Attributes:
        what: What it is, for ``--help`` and messages.
        takes: Whether a text names one.
        read: What drives then.
    """

    what: str
    takes: Callable[[str], bool]
    read: Callable[[str, Method, RetargetSettings, Path | None], Driving]


def open_driving(
    text: str | Path, method: Method, settings: RetargetSettings | None = None, kept: Path | None = None
) -> Driving:
    """Read what drives.

    Args:
        text: Path of a photo, a clip, ``sequence.safetensors`` or ``face.safetensors`` (or the folder that holds one),
            a table of ARKit values; or ``emotion:NAME``.
        method: Captures photos and clips.
        settings: Curve of poses, part of clips, and the like.
        kept: Folder that belongs to this driver, method and settings alone: a clip that was stopped goes on from there.

    Raises:
        ImageError: A photo or clip cannot be read, or shows no face.
        AssetFormatError: A table or a sequence is damaged.
        UnknownNameError: There is no such emotion.
        EmocaError: There is no such file.
    """
    chosen, text = settings or RetargetSettings(), str(text)
    if not text.startswith(EMOTION):
        _require_file(text)
    reader = next(reader for reader in READERS if reader.takes(text))
    return reader.read(text, method, chosen, kept)


# named emotions


def _emotion(text: str, method: Method, settings: RetargetSettings, kept: Path | None) -> Driving:
    name = expression_name(text.removeprefix(EMOTION))
    times, intensity = settings.curve.sample(settings.pose_rate)
    values = np.array([_prototype_values(name, share) for share in intensity.tolist()])
    return _of_numbers(
        f"{EMOTION}{name}", _text_hash(name, settings), times, arkit=values, intensity=intensity, emotion=name
    )


def _prototype_values(name: str, intensity: float) -> list[float]:
    """The 52, with the jaw."""
    prototype = emotion_prototype(name, intensity)
    values = prototype.vector()
    values[ARKIT_NAMES.index("jawOpen")] = min(1.0, prototype.jaw_open)
    return values


# tables


def _table(text: str, method: Method, settings: RetargetSettings, kept: Path | None) -> Driving:
    path = Path(text).expanduser()
    table = read_arkit_table(path, settings.rate)
    heads = None if table.head is None else rotation_of_angles(table.head)
    driving = _of_numbers(path.name, sha256_of(path), table.times, arkit=table.values, heads=heads, notes=table.notes)
    return _part(driving, settings)


# what this program captured before


class _Part(BaseModel):
    uses: str


class _Recipe(BaseModel):
    parts: dict[str, _Part]


class _Asset(BaseModel):
    sha256: str


class _Record(BaseModel):
    """What ``sequence.json`` and ``face.json`` say of the method."""

    recipe: _Recipe
    assets: dict[str, _Asset] = {}
    smoothing: float = 0.0


def _stored(text: str) -> Path | None:
    """The codes behind a path: themselves, or those in the folder of a person or a face."""
    path = Path(text).expanduser()
    if path.is_dir():
        return next((path / name for name in (SEQUENCE, FACE) if (path / name).is_file()), None)
    return path if path.suffix.lower() == ".safetensors" else None


def _codes(text: str, method: Method, settings: RetargetSettings, kept: Path | None) -> Driving:
    path = _stored(text)
    assert path is not None
    try:
        return _sequence(path, method, settings)
    except AssetFormatError as error:
        if path.name != FACE:
            raise AssetFormatError(f"{error}; what drives is a {SEQUENCE} or a {FACE}") from None
    code, facts = read_codes(path), _facts_beside(path, "face.json")
    if facts is None or not same_face_model(facts, method):
        raise EmocaError(f"{path}: its code is not of the face model of '{method.name}', or face.json is not beside it")
    return _posed(_name_of(path), sha256_of(path), code, method, settings, facts, None)


def _sequence(path: Path, method: Method, settings: RetargetSettings) -> Driving:
    stored, facts = read_sequence(path), _facts_beside(path, "sequence.json")
    frames, parameters = stored.frames, stored.parameters
    known = facts is not None and same_face_model(facts, method)
    if not known and "arkit" not in frames:
        raise EmocaError(
            f"{path}: it has no ARKit values, and its codes are not of the face model of '{method.name}' (or "
            "sequence.json is not beside it)"
        )
    try:
        heads = np.asarray(frames["head"], np.float64)[:, :3, :3]
        if "R" in frames:
            heads = CV_AXES @ np.asarray(frames["R"], np.float64) @ heads
        if isinstance(parameters.camera, PerspectiveCamera):
            heads = to_sight(np.asarray(frames["t"], np.float64)) @ heads
        driving = Driving(
            name=_name_of(path),
            sha256=sha256_of(path),
            times=np.asarray(frames["times"], np.float64),
            numbers=np.asarray(frames["numbers"], np.int64),
            codes=parameters if known else None,
            face_model=facts,
            arkit=np.asarray(frames["arkit"], np.float64) if "arkit" in frames else None,
            heads=heads,
            confidence=np.asarray(frames["confidence"], np.float64),
            flags=_flags(frames),
            smoothing=0.0 if facts is None else read_record(path.with_name("sequence.json"), _Record).smoothing,
            lips=lip_openings(method, parameters) if known else None,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise AssetFormatError(f"{path} is damaged: {error}") from None
    return _part(driving, settings)


def _flags(frames: Mapping[str, ndarray]) -> list[frozenset[FrameFlag]]:
    names: tuple[FrameFlag, ...] = ("bridged", "doubtful", "cut")
    table = np.stack([np.asarray(frames[name], bool) for name in names], axis=1)
    return [frozenset(name for name, is_set in zip(names, row, strict=True) if is_set) for row in table.tolist()]


def _facts_beside(path: Path, record: str) -> Mapping[str, object] | None:
    """Which face model codes belong to; ``None`` where the record is not beside them."""
    beside = path.with_name(record)
    if not beside.is_file():
        return None
    found = read_record(beside, _Record)
    uses = found.recipe.parts["face_model"].uses if "face_model" in found.recipe.parts else None
    return {"uses": uses, "assets": {name: asset.sha256 for name, asset in found.assets.items()}}


# clips and photos


def _is_clip(text: str) -> bool:
    path = Path(text).expanduser()
    return path.is_dir() or is_clip(path)


def _clip(text: str, method: Method, settings: RetargetSettings, kept: Path | None) -> Driving:
    clip = settings.clip.open(Path(text).expanduser())
    chosen = {name: getattr(settings.clip, name) for name in ("track", "smooth", "crop", "min_score", "batch_size")}
    people = reconstruct_sequence(method, clip, kept=kept, **chosen)
    if not people:
        raise ImageError(f"{text}: no face found in it, so nobody drives")
    return sequence_to_driving(people[0], method)


def sequence_to_driving(sequence: CapturedSequence, method: Method) -> Driving:
    """A captured person as a driver.

    Args:
        sequence: What ``reconstruct_sequence`` found.
        method: What captured it.
    """
    return Driving(
        name=sequence.clip.path.name,
        sha256=sequence.clip.sha256,
        times=sequence.times,
        numbers=sequence.numbers,
        codes=sequence.parameters,
        face_model=face_model_facts(method),
        arkit=sequence.detected_arkit,
        heads=seen_heads(sequence.parameters, sequence.cameras),
        confidence=sequence.confidence,
        flags=sequence.flags,
        smoothing=sequence.smoothing,
        lips=lip_openings(method, sequence.parameters),
        pictures=Pictures(
            clip=sequence.clip,
            crop_to_image=sequence.crop_to_image,
            crop_size=sequence.crop_size,
            landmarks=sequence.landmarks,
        ),
    )


def _photo(text: str, method: Method, settings: RetargetSettings, kept: Path | None) -> Driving:
    face = largest_face(method, Path(text).expanduser(), settings)
    heads = seen_heads(face.parameters, None if face.camera is None else [face.camera])
    facts, photo = face_model_facts(method), face.photo
    return _posed(photo.path.name, photo.sha256, face.parameters, method, settings, facts, face, heads)


def largest_face(method: Method, path: Path, settings: RetargetSettings) -> CapturedFace:
    """The largest face of a photo.

    Raises:
        ImageError: There is none, or the photo cannot be read.
        RecipeError: The method has no landmarker.
    """
    faces = reconstruct(method, path, crop=settings.clip.crop, min_score=settings.clip.min_score)
    if not faces:
        raise ImageError(f"{path}: no face found in it")
    return faces[0]


def _posed(
    name: str,
    sha256: str,
    code: FaceParameters,
    method: Method,
    settings: RetargetSettings,
    facts: Mapping[str, object],
    face: CapturedFace | None,
    heads: Float[ndarray, "1 3 3"] | None = None,
) -> Driving:
    """A pose that comes and goes with the curve."""
    times, intensity = settings.curve.sample(settings.pose_rate)
    count, numbers = len(times), np.arange(len(times))
    many = code.map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))
    share = torch.from_numpy(intensity).float()[:, None]
    moving = {
        name: block * share
        for name in ("expression", "jaw_pose", "eye_pose", "eyelids", *code.others)
        if isinstance(block := many.get(name), torch.Tensor)
    }
    codes, pictures = many.replace(**moving), None
    if face is not None:
        still = StillClip.of(face.photo, numbers, times, settings.pose_rate)
        points = face.detection.landmarks["ibug68"]
        places = np.repeat(np.asarray(face.crop.crop_to_image)[None], count, axis=0)
        pictures = Pictures(
            clip=still,
            crop_to_image=places,
            crop_size=face.crop.size,
            landmarks=np.repeat(np.asarray(points, np.float64)[None], count, axis=0),
        )
    return Driving(
        name=name,
        sha256=sha256,
        times=times,
        numbers=numbers,
        codes=codes,
        face_model=facts,
        heads=None if heads is None else np.repeat(heads, count, axis=0),
        confidence=np.ones(count),
        flags=[frozenset()] * count,
        lips=lip_openings(method, codes),
        pictures=pictures,
        intensity=intensity,
    )


READERS: tuple[Reader, ...] = (
    Reader("a named emotion, emotion:happy", lambda text: text.startswith(EMOTION), _emotion),
    Reader(f"a {SEQUENCE} of emoca reconstruct, or its folder", lambda text: _stored(text) is not None, _codes),
    Reader("a table of ARKit values", lambda text: Path(text).suffix.lower() in _TABLES, _table),
    Reader("a clip", _is_clip, _clip),
    Reader("a photo", lambda text: True, _photo),
)
"""The first that takes a text reads it."""


# what all share


def _of_numbers(
    name: str,
    sha256: str,
    times: Float[ndarray, "N"],
    *,
    arkit: Float[ndarray, "N 52"],
    heads: Float[ndarray, "N 3 3"] | None = None,
    intensity: Float[ndarray, "N"] | None = None,
    emotion: str | None = None,
    notes: tuple[str, ...] = (),
) -> Driving:
    return Driving(
        name=name,
        sha256=sha256,
        times=times,
        numbers=np.arange(len(times)),
        arkit=arkit,
        heads=heads,
        confidence=np.ones(len(times)),
        flags=[frozenset()] * len(times),
        intensity=intensity,
        emotion=emotion,
        notes=notes,
    )


def _part(driving: Driving, settings: RetargetSettings) -> Driving:
    """The rows that ``--start``, ``--end`` and ``--every`` leave, as of a clip."""
    end = np.inf if settings.clip.end is None else settings.clip.end
    rows = np.flatnonzero((driving.times >= settings.clip.start) & (driving.times < end))[:: settings.clip.every]
    if not len(rows):
        raise ImageError(f"{driving.name}: no frame there; it is {driving.times[-1]:.2f} s long")
    return driving.at(rows)


def driver_hash(text: str, settings: RetargetSettings) -> str:
    """Hash of what a driver is read from, before it is.

    Raises:
        ImageError: It is not there, or cannot be read.
    """
    path = _stored(text) or Path(text).expanduser()
    if text.startswith(EMOTION):
        return _text_hash(text, settings)
    _require_file(text)
    return settings.clip.open(path).sha256 if path.is_dir() else sha256_of(path)


def _require_file(text: str) -> None:
    if not Path(text).expanduser().exists():
        raise ImageError(f"{text}: no such file or folder. A named emotion is written {EMOTION}happy")


def driver_label(text: str) -> str:
    """What the folder of a driver is called after."""
    if text.startswith(EMOTION):
        return text.removeprefix(EMOTION)
    stored = _stored(text)
    return Path(text).resolve().stem if stored is None else _name_of(stored)


def _name_of(stored: Path) -> str:
    """Clip or photo, and person or face, of codes in a folder of ``emoca reconstruct``."""
    folder = stored.resolve().parent
    return f"{folder.parent.name}_{folder.name}" if stored.name in (SEQUENCE, FACE) else stored.stem


def _text_hash(name: str, settings: RetargetSettings) -> str:
    return hashlib.sha256(f"{name} {settings.curve} {settings.pose_rate:g}".encode()).hexdigest()
