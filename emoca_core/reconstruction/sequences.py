"""The second look at a clip: one person at a time, first who it is, then every frame, then smooth."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.export.sequence_rig import head_points
from emoca_core.images.crops import black_crop, choose_crop, crops_to_batch
from emoca_core.images.warp import to_uint8, warp
from emoca_core.interfaces import (
    IDENTITY,
    CapturedSequence,
    Clip,
    CroppedFace,
    CropRule,
    Detection,
    EmotionPrediction,
    FaceCrop,
    FaceParameters,
    FrameFlag,
    SequenceEmotion,
)
from emoca_core.method import Method
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.best_frames import best_frames
from emoca_core.reconstruction.capture import batched
from emoca_core.reconstruction.captured_sequence import ReconstructedSequence, frames_of
from emoca_core.reconstruction.following import follow_faces
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.quality import doubtful_frames
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.reconstruction.tracks import Track, find_people, read_track
from emoca_core.video import open_clip
from emoca_core.video.head_path import smooth_head
from emoca_core.video.smoothing import smooth_code, smooth_crops

_PERSON_FRAMES = 8
"""Frames of which the pixels tell who a person is; encoders may ask for the landmarks of more."""


def reconstruct_sequence(
    method: Method, clip: Clip | str | Path, *, kept: Path | None = None, **settings: Any
) -> list[CapturedSequence]:
    """Reconstruct people through a clip: one identity each, and a smooth code for every frame that shows them.

    Args:
        method: What ``emoca_core.load_method`` returned.
        clip: What ``open_clip`` returned, or the path of a file or folder.
        kept: Folder that belongs to this clip and these settings alone: a stopped run goes on from what it saw there.
        **settings: Fields of ``SequenceSettings``: ``track``, ``smooth``, ``crop``, ``min_score``, ``batch_size``.

    Returns:
        The people that were asked for, the one seen largest and longest first; none where no face is found.

    Raises:
        ImageError: The clip cannot be read.
        RecipeError: The method has no landmarker, or no tracker.
        EmocaError: There is no such track.
    """
    chosen = SequenceSettings(**settings)
    clip = clip if isinstance(clip, Clip) else open_clip(clip)
    with TemporaryDirectory(prefix="emoca-", ignore_cleanup_errors=True) as folder:
        observations = Observations(kept or Path(folder))
        with progress_bar(total=clip.length, label="following", unit="frame") as bar:
            follow_faces(method, clip, chosen, observations, bar.update)
        people = find_people(observations)
        tracks = [read_track(observations, people, number) for number in people.chosen(chosen.track)]
        with progress_bar(total=sum(map(len, tracks)), label="capturing", unit="frame") as bar:
            return [capture_track(method, clip, track, chosen, bar.update) for track in tracks]


def capture_track(
    method: Method,
    clip: Clip,
    track: Track,
    settings: SequenceSettings,
    progress: Callable[[int], object] = lambda frames: None,
) -> ReconstructedSequence:
    """Who a person is, from their best frames; then every frame, then smooth.

    Args:
        method: Its encoder does the work.
        clip: Where the person is.
        track: In which frames, and where in them.
        settings: Crop policy, smoothing.
        progress: Told how many frames were encoded.

    Raises:
        ImageError: The clip cannot be read any more.
    """
    rule = choose_crop(settings.crop, method.encoder.crop_rule)
    places = _places(track, rule, clip.size, settings.smooth)
    look = _Look(clip, track, rule, places, exact=settings.smooth == 0)
    person = _meet(method, look)
    parameters, emotions = _encode(method, look, person, settings.batch_size, progress)
    if track.is_bridged.any():
        source = torch.from_numpy(track.source)
        parameters = parameters.map(lambda tensor: tensor[source])
    parameters = _with_person(parameters, person.map(torch.Tensor.cpu), len(track))
    parameters = _smoothed(method, parameters, track, settings.smooth)
    return ReconstructedSequence(
        method=method,
        crop_rule=rule.name,
        clip=clip,
        track=track.number,
        numbers=track.numbers,
        times=track.times,
        parameters=parameters,
        crop_size=(rule.size, rule.size),
        crop_to_image=places,
        landmarks=track.landmarks,
        confidence=track.scores,
        flags=_flags(track, parameters),
        smoothing=settings.smooth,
        emotion=_joined(method, emotions, track.source) if emotions else None,
    )


def _meet(method: Method, look: "_Look") -> FaceParameters:
    """Who somebody is, from their best frames."""
    crop, others = look.best(_PERSON_FRAMES, method.encoder.person_landmarks)
    with torch.no_grad():
        return method.encode_person(
            crop.map(lambda tensor: tensor.to(method.device)),
            others and others.map(lambda tensor: tensor.to(method.device)),
        )


def _encode(
    method: Method, look: "_Look", person: FaceParameters, batch_size: int, progress: Callable[[int], object]
) -> tuple[FaceParameters, list[EmotionPrediction]]:
    """What moves in all rows that show the face, on the CPU, and what the method reads of emotion in them."""
    codes, emotions = [], []
    backbone = method.emotion_backbone
    if backbone is not None and not backbone.asset_paths:
        backbone = None  # its weights were never trained
    for crop in look.batches(batch_size, method.encoder.frames_have_pixels or backbone is not None):
        crop = crop.map(lambda tensor: tensor.to(method.device))
        with torch.no_grad():
            codes.append(_moving(method.encode_frames(crop, person)).map(torch.Tensor.cpu))
            if backbone is not None:
                emotions.append(replace(backbone(crop.image), features={}))  # which are large
        progress(len(crop))
    return FaceParameters.cat(codes), emotions


def _places(track: Track, rule: CropRule, size: tuple[int, int], strength: float) -> Float[ndarray, "N 3 3"]:
    """Where the crop of every row lies, smooth: jitter of crops is the jitter that people see."""
    seen = np.stack([rule.place(detection, size) for _, detection in track.detections()])
    places: ndarray = seen[track.source]
    if strength == 0 and not track.is_bridged.any():
        return places
    return smooth_crops(places, rule.size, track.times, strength, confidence=track.scores, segments=track.segments)


@dataclass(frozen=True)
class _Look:
    """Crops of one person.

    Attributes:
        places: Where they lie.
        exact: They are cut as the rule was published, and not where they were smoothed to.
    """

    clip: Clip
    track: Track
    rule: CropRule
    places: Float[ndarray, "N 3 3"]
    exact: bool

    def best(self, count: int, landmarks: int) -> tuple[FaceCrop, FaceCrop | None]:
        """The frames that tell most of the person; those that add their landmarks are black, and not decoded."""
        track = self.track
        told = track.landmarks, track.sharpness, track.scores
        rows = best_frames(*told, count).tolist()
        others = np.setdiff1d(best_frames(*told, landmarks), rows).tolist() if landmarks else []
        wanted = {*rows, *others}
        detections = {row: detection for row, detection in track.detections() if row in wanted}
        frames = frames_of(self.clip, track.numbers[rows].tolist())
        seen = self._batch((row, detections[row], frame.pixels) for row, frame in zip(rows, frames, strict=True))
        return seen, self._batch((row, detections[row], None) for row in others) if others else None

    def batches(self, size: int, with_pixels: bool) -> Iterator[FaceCrop]:
        """All rows that show the face; black where pixels are not wanted, and then nothing is decoded."""
        numbers = self.track.numbers[~self.track.is_bridged].tolist()
        frames = (frame.pixels for frame in frames_of(self.clip, numbers)) if with_pixels else repeat(None)
        faces = ((row, detection, next(frames)) for row, detection in self.track.detections())
        for batch in batched(faces, size):
            yield self._batch(batch)

    def _batch(self, faces: Iterable[tuple[int, Detection, UInt8[ndarray, "H W 3"] | None]]) -> FaceCrop:
        rows, detections, pixels = zip(*faces, strict=True)
        crops = [self._cut(*face) for face in zip(rows, detections, pixels, strict=True)]
        batch = crops_to_batch(crops, detections, [self.clip.size] * len(rows))
        return replace(batch, keys=tuple(f"{self.clip.path}#{self.track.numbers[row]}" for row in rows))

    def _cut(self, row: int, detection: Detection, pixels: UInt8[ndarray, "H W 3"] | None) -> CroppedFace:
        place, size = self.places[row], self.rule.size
        if pixels is None:
            return black_crop(size, place)
        if self.exact:
            return self.rule(pixels, detection)
        return CroppedFace(to_uint8(warp(pixels, place, size, antialias=True)), place)


def _smoothed(method: Method, code: FaceParameters, track: Track, strength: float) -> FaceParameters:
    """Smooth along time: the head as the picture shows it, where the face model can tell, and all else by itself."""
    how = track.times, track.scores, strength, track.segments
    if (
        strength == 0
        or code.global_pose is None
        or code.camera is None
        or "global_pose" not in method.face_model.blocks
    ):
        return smooth_code(code, *how)
    head = smooth_head(code, head_points(method.face_model, code), *how)
    rest = smooth_code(code.replace(global_pose=None, camera=None), *how)
    return rest.replace(global_pose=head.global_pose, camera=head.camera)


def _moving(code: FaceParameters) -> FaceParameters:
    """What differs from frame to frame: the rest is kept once."""
    return code.replace(**dict.fromkeys(IDENTITY))


def _with_person(code: FaceParameters, person: FaceParameters, rows: int) -> FaceParameters:
    known = {name: block for name in IDENTITY if (block := getattr(person, name)) is not None}
    return code.replace(**{name: block.expand(rows, *block.shape[1:]) for name, block in known.items()})


def _flags(track: Track, parameters: FaceParameters) -> list[frozenset[FrameFlag]]:
    doubtful = doubtful_frames(track.scores, track.landmarks, parameters) & ~track.is_bridged
    marks: dict[FrameFlag, ndarray] = {"bridged": track.is_bridged, "doubtful": doubtful, "cut": track.starts_shot}
    nothing: frozenset[FrameFlag] = frozenset()
    flags = [nothing] * len(track)
    for row in np.flatnonzero(np.any(list(marks.values()), axis=0)).tolist():
        flags[row] = frozenset(flag for flag, rows in marks.items() if rows[row])
    return flags


def _joined(method: Method, predictions: list[EmotionPrediction], source: ndarray) -> SequenceEmotion:
    def rows(name: str) -> torch.Tensor | None:
        values = [getattr(one, name) for one in predictions]
        return None if values[0] is None else torch.cat(values).cpu()[torch.from_numpy(source)]

    def in_range(values: torch.Tensor | None) -> ndarray | None:
        return None if values is None else values.clamp(-1, 1).numpy()

    logits = rows("logits")
    labels = method.emotion_backbone.labels if method.emotion_backbone else ()
    scores = {} if logits is None else dict(zip(labels, logits.softmax(1).T.numpy(), strict=True))
    name = method.recipe.parts()["emotion_backbone"].uses
    return SequenceEmotion(name, scores, in_range(rows("valence")), in_range(rows("arousal")))
