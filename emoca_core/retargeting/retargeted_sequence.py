"""A person who moves as somebody else does: what exporters read, made by the method that captured the person."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.geometry.project import project_points
from emoca_core.interfaces import CapturedFace, ClipFrame, SequenceRig
from emoca_core.method import Method
from emoca_core.reconstruction.captured import describe_photo
from emoca_core.reconstruction.captured_sequence import ReconstructedSequence
from emoca_core.retargeting.drivers import largest_face, open_driving
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.movement import Movement, retargeted_code
from emoca_core.retargeting.pictures import retargeted_frames
from emoca_core.retargeting.retarget_settings import RetargetSettings
from emoca_core.retargeting.still_clip import StillClip

_SLICE = 64


@dataclass(frozen=True, kw_only=True, repr=False)
class RetargetedSequence(ReconstructedSequence):
    """The source's head with the driver's movement. Its clip is the source's photo, with the driver's times and sound.

    Attributes:
        source: Whose face it is.
        driving: Whose movement it is.
        settings: How it was handed on.
        movement: What came of that.
        own_rig: A head of another mesh that moves instead; ``None`` for that of the face model.
    """

    source: CapturedFace
    driving: Driving
    settings: RetargetSettings
    movement: Movement
    own_rig: SequenceRig | None = None

    def __repr__(self) -> str:
        return f"RetargetedSequence({self.source.photo.path.name!r} by {self.driving.name!r}, {len(self)} frames)"

    @property
    def title(self) -> str:
        """See ``CapturedSequence``."""
        return f"{self.source.photo.path.name} by {self.driving.name}"

    @property
    def panels(self) -> tuple[str, ...]:
        """See ``CapturedSequence``: the driver, where there is something to see of them, and the source."""
        source = f"source: {self.source.photo.path.name}"
        shown = ("retargeted", "its shape")
        return (source, *shown) if self.driving.pictures is None else (f"driver: {self.driving.name}", *shown, source)

    @cached_property
    def rig(self) -> SequenceRig:
        """See ``CapturedSequence``."""
        return super().rig if self.own_rig is None else self.own_rig

    def overlay(self) -> Iterator[ClipFrame] | None:
        """The ``panels`` for every frame of the driver; ``None`` without a camera."""
        return None if self.cameras is None else retargeted_frames(self, self.source, self.driving.pictures)

    def record(self) -> dict[str, object]:
        """See ``CapturedSequence``; ``retargeting`` says whose face, whose movement, and how."""
        return {**super().record(), "retargeting": self.describe()}

    def describe(self) -> dict[str, object]:
        """Source, driver and settings, JSON-ready."""
        driving, rest = self.driving, self.movement.rest
        return {
            "source": describe_photo(self.source.photo),
            "driver": {
                "name": driving.name,
                "sha256": driving.sha256,
                "frames": len(driving),
                "emotion": driving.emotion,
                "notes": list(driving.notes),
            },
            "settings": self.settings.describe(),
            "rest_s": None if rest is None else float(driving.times[rest.row]),
            "rest_of_mouth": None if rest is None else rest.mouth,
            "by": "ARKit names" if self.movement.across else "codes",
            "wrinkles": self.wrinkles,
        }

    @property
    def wrinkles(self) -> str:
        """Where the detail of the moving face is from."""
        if self.method.detail is None:
            return f"none: '{self.method.name}' has no detail part"
        return "the source's detail code, decoded with the driver's expression and jaw"


def retarget(
    method: Method,
    source: CapturedFace | str | Path,
    driving: Driving | str | Path,
    settings: RetargetSettings | None = None,
    *,
    kept: Path | None = None,
) -> RetargetedSequence:
    """Let the face of a photo move as somebody else does.

    Identity, albedo, light, camera and the detail code are the source's; expression, jaw, gaze and the turn of the head
    are the driver's. The result is a captured sequence: ``save`` writes it in every format that holds movement.

    Args:
        method: What ``emoca_core.load_method`` returned.
        source: A photo, of which the largest face is taken, or a captured face.
        driving: What moves it, see ``open_driving``: a photo, a clip, captured codes, a table of ARKit values, or
            ``emotion:happy``.
        settings: Relative movement, gain, curve, and the like.
        kept: Folder that belongs to this driver, method and settings alone: a clip that was stopped goes on from there.

    Raises:
        ImageError: No face in the photo or in the clip, or one of them cannot be read.
        AssetFormatError: A table or a captured sequence is damaged.
        RecipeError: The movement cannot be said in terms of the method's face model.
        EmocaError: What else is wrong with the input.

    ``retarget(load_method("open_fit"), "me.jpg", "emotion:happy").save("moved")`` is a whole use.

    Source: Danecek et al., EMOCA, CVPR 2022, supplementary material, section 7; Feng et al., DECA, SIGGRAPH 2021
    (animation of the detail: the source's detail code with the driver's expression and jaw).
    """
    chosen = settings or RetargetSettings()
    if not isinstance(source, CapturedFace):
        source = largest_face(method, Path(source).expanduser(), chosen)
    if not isinstance(driving, Driving):
        driving = open_driving(driving, method, chosen, kept)
    movement = retargeted_code(method, source, driving, chosen)
    sound = None if driving.pictures is None else driving.pictures.clip
    count = len(driving)
    crops = np.repeat(np.asarray(source.crop.crop_to_image, np.float64)[None], count, axis=0)
    return RetargetedSequence(
        method=method,
        crop_rule=source.crop.rule,
        clip=StillClip.of(source.photo, driving.numbers, driving.times, driving.rate, sound),
        track=0,
        numbers=driving.numbers,
        times=driving.times,
        parameters=movement.parameters,
        crop_size=source.crop.size,
        crop_to_image=crops,
        landmarks=_landmarks(method, source, movement),
        confidence=driving.confidence,
        flags=driving.flags,
        smoothing=driving.smoothing,
        source=source,
        driving=driving,
        settings=chosen,
        movement=movement,
    )


def _landmarks(method: Method, source: CapturedFace, movement: Movement) -> Float[ndarray, "N 68 2"]:
    """Where the moved mesh has its 68 points in the source's photo; where the photo has them, without a camera."""
    count = len(movement.parameters)
    if source.camera is None:
        return np.repeat(np.asarray(source.detection.landmarks["ibug68"])[None], count, axis=0)
    points = []
    for start in range(0, count, _SLICE):
        rows = slice(start, start + _SLICE)
        code = movement.parameters.map(lambda tensor, rows=rows: tensor[rows].to(method.device))  # type: ignore[misc]
        with torch.no_grad():
            posed = method.face_model(code).landmarks["ibug68"].double().cpu().numpy()
        points.append(project_points(np.repeat(source.camera.matrix[None], len(posed), axis=0), posed))
    return np.concatenate(points)
