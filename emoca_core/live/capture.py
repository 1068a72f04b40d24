"""The steps of a live capture: newest frame to face, code, ARKit values and head pose."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.errors import RecipeError
from emoca_core.export.angles import head_and_eyes
from emoca_core.export.arkit import ArkitSolver, has_arkit_names
from emoca_core.export.camera import crop_camera_to_photo
from emoca_core.images.crops import black_crop, choose_crop, crops_to_batch
from emoca_core.interfaces import (
    CV_AXES,
    CapturedFace,
    CroppedFace,
    CropRecord,
    Detection,
    EmotionReading,
    FaceCrop,
    FaceParameters,
    LiveFace,
    LiveFrame,
    Photo,
)
from emoca_core.kernels.threads import one_thread
from emoca_core.live.source import LiveSource, Taken
from emoca_core.method import Method
from emoca_core.reconstruction.captured import ReconstructedFace
from emoca_core.reconstruction.glances import Glances
from emoca_core.video.one_euro import OneEuro, OneEuroCode
from emoca_core.video.smoothing import DEFAULT_STRENGTH

PERSON_CROPS = 12
"""From so many frames the person is found."""
PERSON_INTERVAL = 0.15
"""Seconds between them, so that they differ."""
_CROP_CUTOFF, _CROP_BETA = 1.0, 0.02
"""Of the filter that keeps the crop calm: Hz, and Hz for every pixel a second."""


@dataclass(frozen=True)
class _Person:
    """Who is in front of the camera.

    Attributes:
        code: The blocks that stay, a batch of one.
        solver: Their targets; ``None`` for face models without the ARKit names.
    """

    code: FaceParameters
    solver: ArkitSolver | None


@dataclass(frozen=True)
class _Sight:
    """Where a person was seen."""

    photo: Photo
    face: Detection
    cropped: CroppedFace


class LiveCapture:
    """Captures the largest face of a camera while it moves.

    The person (shape, albedo) is taken from the first frame at once, and better from ``PERSON_CROPS`` frames as soon
    as these are there, beside the running capture.
    """

    def __init__(
        self, method: Method, *, smooth: float = DEFAULT_STRENGTH, meet: Callable[[CapturedFace], None] | None = None
    ) -> None:
        """Prepare.

        Args:
            method: What ``emoca_core.load_method`` returned.
            smooth: 0 leaves what was measured as it is, 1 is the calmest.
            meet: Called with the person, at rest, whenever they are known better; also from another thread.

        Raises:
            RecipeError: The method has no landmarker.
        """
        if method.landmarker is None:
            raise RecipeError(f"recipe '{method.name}' has no landmarker, so it cannot find faces")
        self._method, self._landmarker, self._meet = method, method.landmarker, meet
        self._rule = choose_crop("native", method.encoder.crop_rule)
        self._glances = Glances.of(method, "native")
        self._steady = OneEuro(_CROP_CUTOFF, _CROP_BETA) if smooth else None
        self._smooth = OneEuroCode(smooth)
        self._person: _Person | None = None
        self._seen: list[FaceCrop] = []
        self._last_kept = -np.inf
        self._beside: list[Future[_Person] | Future[None]] = []

    def frames(self, source: LiveSource) -> Iterator[LiveFrame]:
        """Capture until the source ends.

        Args:
            source: An open camera.

        Raises:
            ImageError: The camera fails.
        """
        with self._landmarker.follow(1) as follower, ThreadPoolExecutor(1, "person") as pool, one_thread():
            for count, taken in enumerate(source):
                found = follower.detect(taken.pixels, taken.time)
                face = self._captured(taken, found[0], pool) if found else None
                latency = time.monotonic() - taken.given
                yield LiveFrame(count, taken.time, latency, source.dropped, taken.pixels, face)

    def _captured(self, taken: Taken, face: Detection, pool: ThreadPoolExecutor) -> LiveFace | None:
        calm, size = self._calm(face, taken.time), taken.pixels.shape[:2]
        glances = self._glances
        if self._method.encoder.frames_have_pixels or glances.size or self._is_wanted(taken.time):
            cropped = self._rule(taken.pixels, calm)
        else:
            cropped = black_crop(self._rule.size, self._rule.place(calm, (size[0], size[1])))
        photo = Photo(taken.pixels, Path("camera"), "")
        crop = crops_to_batch([cropped], [face], [photo.size])
        person = self._known(crop, _Sight(photo, face, cropped), taken.time, pool)
        with torch.no_grad():
            crop = crop.map(lambda tensor: tensor.to(self._method.device))
            numbers = glances.at(crop) if glances.size else None
            crop = replace(crop, glance=None if numbers is None else glances.of_encoder(numbers))
            code = self._method.encode_frames(crop, person.code).map(lambda tensor: tensor.cpu())
            code = self._smooth(code, taken.time)
        values = self._values(code, person, face)
        if values is None:
            return None
        reading = None if numbers is None else glances.emotion(numbers.cpu())
        return replace(_face(values, code, cropped, crop.size, photo.size), emotion=_emotion(reading))

    def _calm(self, face: Detection, now: float) -> Detection:
        """The detection with landmarks that shake less: for cutting, not for measuring."""
        if self._steady is None:
            return face
        names = sorted(face.landmarks)
        points = self._steady(np.concatenate([face.landmarks[name] for name in names]).astype(np.float64), now)
        parts = np.split(points, np.cumsum([len(face.landmarks[name]) for name in names])[:-1])
        return replace(
            face,
            landmarks=dict(zip(names, parts, strict=True)),
            box=np.concatenate([points.min(axis=0), points.max(axis=0)]),
        )

    def _known(self, crop: FaceCrop, sight: "_Sight", now: float, pool: ThreadPoolExecutor) -> _Person:
        """The person as far as they are known; work on knowing them better goes on beside.

        What fails beside fails here, at the next frame.
        """
        if self._person is None:
            self._person = self._meet_person(crop)
            self._beside.append(pool.submit(self._introduce, self._person, crop.size, sight))
        if self._is_wanted(now):
            self._seen.append(crop)
            self._last_kept = now
            if len(self._seen) == PERSON_CROPS:
                self._beside.append(pool.submit(self._meet_person, FaceCrop.cat(self._seen)))
        for work in [one for one in self._beside if one.done()]:
            self._beside.remove(work)
            if (better := work.result()) is not None:
                self._person = better
                self._beside.append(pool.submit(self._introduce, better, crop.size, sight))
        return self._person

    def _is_wanted(self, now: float) -> bool:
        """Whether another frame is looked at to know the person better."""
        return len(self._seen) < PERSON_CROPS and now - self._last_kept >= PERSON_INTERVAL

    def _meet_person(self, crop: FaceCrop) -> _Person:
        model = self._method.face_model
        crop = replace(crop, identity=torch.zeros(len(crop), dtype=torch.int64))
        with torch.no_grad():
            code = self._method.encode_person(crop.map(lambda tensor: tensor.to(self._method.device)))
            solver = ArkitSolver.of(model, code) if has_arkit_names(model) else None
        return _Person(code, solver)

    def _introduce(self, person: _Person, crop_size: tuple[int, int], sight: "_Sight") -> None:
        """Show whoever wants it the person at rest."""
        if self._meet is None:
            return
        with torch.no_grad():
            geometry = self._method.face_model(person.code).map(torch.Tensor.cpu)
        self._meet(
            ReconstructedFace(
                method=self._method,
                photo=sight.photo,
                index=0,
                detection=sight.face,
                crop=CropRecord("native", self._rule.name, crop_size, sight.cropped.crop_to_image),
                parameters=person.code.map(torch.Tensor.cpu),
                geometry=geometry,
            )
        )

    def _values(self, code: FaceParameters, person: _Person, face: Detection) -> Float[ndarray, "52"] | None:
        """Those of the fitted face where the model has the ARKit names, else the landmarker's."""
        if person.solver is None:
            return None if face.blendshapes is None else np.asarray(face.blendshapes)
        with torch.no_grad():
            still = code.replace(global_pose=None, neck_pose=None)
            geometry = self._method.face_model(still.map(lambda tensor: tensor.to(self._method.device)))
        vertices, points = (part.double().cpu().numpy() for part in (geometry.vertices, geometry.landmarks["ibug68"]))
        return np.asarray(person.solver(vertices - person.solver.neutral, points, code)[0])


def _emotion(reading: EmotionReading | None) -> dict[str, float]:
    """Of one face, by the names that files have for it."""
    if reading is None:
        return {}
    return {name: float(values[0]) for name, values in reading.columns().items()}


def _face(
    values: Float[ndarray, "52"],
    code: FaceParameters,
    cropped: CroppedFace,
    crop_size: tuple[int, int],
    photo_size: tuple[int, int],
) -> LiveFace:
    if code.camera is None:
        head, *eyes = head_and_eyes(code, None)[0]
        return LiveFace(values, head, np.stack(eyes))
    camera = crop_camera_to_photo(code.camera, crop_size, cropped.crop_to_image, photo_size)
    head, *eyes = head_and_eyes(code, [camera])[0]
    return LiveFace(values, head, np.stack(eyes), CV_AXES @ camera.translation)
