"""The second look at a clip: one person at a time, first who it is, then every frame, then smooth."""

from collections.abc import Callable, Iterator, Sequence
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
    EmotionReading,
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
from emoca_core.reconstruction.glances import Glances
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.quality import doubtful_frames
from emoca_core.reconstruction.rows import Rows
from emoca_core.reconstruction.second_look import without_mistakes
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.reconstruction.tracks import Track, TrackedFace, find_people, read_track
from emoca_core.video import open_clip
from emoca_core.video.head_path import smooth_head
from emoca_core.video.smoothing import map_movement, smooth_code, smooth_crops

_PERSON_FRAMES = 8
"""Frames of which the pixels tell who a person is; encoders may ask for the landmarks of more."""


def reconstruct_sequence(
    method: Method, clip: Clip | str | Path, *, kept: Path | None = None, **settings: Any
) -> list[CapturedSequence]:
    """Reconstruct people through a clip: one identity each, and a smooth code for every frame that shows them.

    Args:
        method: What ``emoca_core.load_method`` returned.
        clip: What ``open_clip`` returned, or the path of a file or folder.
        kept: Folder that belongs to this method, clip and settings alone: a stopped run goes on from what it saw there.
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
        people = without_mistakes(find_people(observations), method, clip, observations)
        tracks = [read_track(observations, people, number) for number in people.chosen(chosen.track)]
        with progress_bar(
            total=sum(int(track.is_new.sum()) for track in tracks), label="capturing", unit="frame"
        ) as bar:
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
    glances = Glances.of(method, settings.crop)
    look = _Look(clip, track, rule, places, glances, exact=settings.smooth == 0)
    person = _meet(method, look)
    parameters, emotion = _encode(look, person, settings.batch_size, progress)
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
        emotion=None if emotion is None else _shown(emotion, source),
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
    look: "_Look", person: FaceParameters, batch_size: int, progress: Callable[[int], object]
) -> tuple[FaceParameters, EmotionReading | None]:
    """What moves in all new rows, on the CPU, and what the method reads of emotion in them."""
    count, glances, method = int(look.track.is_new.sum()), look.glances, look.glances.method
    codes, seen = Rows(count), Rows(count)
    code = FaceParameters()
    for crop, numbers in look.batches(batch_size):
        crop = crop.map(lambda tensor: tensor.to(method.device))
        if numbers is None and glances.size:
            numbers = glances.at(crop)
        with torch.no_grad():
            own = None if numbers is None else glances.of_encoder(numbers.to(method.device))
            code = _moving(method.encode_frames(replace(crop, glance=own), person))
        codes.add(code.tensors())
        if numbers is not None:
            seen.add([numbers])
        progress(len(crop))
    return code.with_tensors(codes.whole()), glances.emotion(*seen.whole()) if glances.size else None


def _places(track: Track, rule: CropRule, size: tuple[int, int], strength: float) -> Float[ndarray, "N 3 3"]:
    """Where the crop of every row lies, smooth: jitter of crops is the jitter that people see."""
    seen = np.stack([rule.place(face.detection, size) for face in track.faces()])
    places: ndarray = seen[track.source]
    if strength == 0 and not track.is_bridged.any():
        return places
    how = {"confidence": track.confidence, "segments": track.segments}
    return smooth_crops(places, rule.size, track.taken, strength, **how)[track.shown]


@dataclass(frozen=True)
class _Look:
    """Crops of one person.

    Attributes:
        places: Where they lie.
        glances: What is wanted of their pixels.
        exact: They are cut as the rule was published, and not where they were smoothed to.
    """

    clip: Clip
    track: Track
    rule: CropRule
    places: Float[ndarray, "N 3 3"]
    glances: Glances
    exact: bool

    def best(self, count: int, landmarks: int) -> tuple[FaceCrop, FaceCrop | None]:
        """The frames that tell most of the person; those that add their landmarks are black, and not decoded."""
        track = self.track
        told = track.landmarks, track.sharpness, track.confidence
        rows = best_frames(*told, count).tolist()
        others = np.setdiff1d(best_frames(*told, landmarks), rows).tolist() if landmarks else []
        wanted = {*rows, *others}
        faces = {face.row: face for face in track.faces() if face.row in wanted}
        frames = frames_of(self.clip, track.numbers[rows].tolist())
        seen = self._batch([faces[row] for row in rows], [frame.pixels for frame in frames])
        return seen, self._batch([faces[row] for row in others]) if others else None

    def batches(self, size: int) -> Iterator[tuple[FaceCrop, Float[torch.Tensor, "B G"] | None]]:
        """All new rows, with what a glance told before; black where pixels are not wanted: then nothing is decoded."""
        wanted, encoder = self.glances.size, self.glances.method.encoder
        first = next(self.track.faces(), None)
        told = wanted > 0 and first is not None and first.glance.size == wanted  # not by another method
        with_pixels = encoder.frames_have_pixels or (wanted > 0 and not told)
        numbers = self.track.numbers[self.track.is_new].tolist()
        frames = frames_of(self.clip, numbers) if with_pixels else None
        for faces in batched(self.track.faces(), size):
            crop = self._batch(faces, None if frames is None else [next(frames).pixels for _ in faces])
            yield crop, torch.from_numpy(np.stack([face.glance for face in faces])) if told else None

    def _batch(self, faces: Sequence[TrackedFace], pixels: Sequence[UInt8[ndarray, "H W 3"]] | None = None) -> FaceCrop:
        crops = [self._cut(*each) for each in zip(faces, repeat(None) if pixels is None else pixels, strict=False)]
        batch = crops_to_batch(crops, [face.detection for face in faces], [self.clip.size] * len(faces))
        return replace(batch, keys=tuple(f"{self.clip.path}#{self.track.numbers[face.row]}" for face in faces))

    def _cut(self, face: TrackedFace, pixels: UInt8[ndarray, "H W 3"] | None) -> CroppedFace:
        place, size = self.places[face.row], self.rule.size
        if pixels is None:
            return black_crop(size, place)
        if self.exact:
            return self.rule(pixels, face.detection)
        return CroppedFace(to_uint8(warp(pixels, place, size, antialias=True)), place)


def _smoothed(method: Method, code: FaceParameters, track: Track, strength: float) -> FaceParameters:
    """Smooth along time: the head as the picture shows it, where the face model can tell, and all else by itself."""
    how = track.taken, track.confidence, strength, track.segments
    if (
        strength == 0
        or code.global_pose is None
        or code.camera is None
        or "global_pose" not in method.face_model.blocks
    ):
        smooth = smooth_code(code, *how)
    else:
        head = smooth_head(code, head_points(method.face_model, code), *how)
        rest = smooth_code(code.replace(global_pose=None, camera=None), *how)
        smooth = rest.replace(global_pose=head.global_pose, camera=head.camera)
    shown = torch.from_numpy(track.shown)
    return map_movement(smooth, lambda name, block, rotations: block[shown]) if track.repeats.any() else smooth


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


def _shown(reading: EmotionReading, source: torch.Tensor) -> SequenceEmotion:
    """What was read in the new rows, in all rows."""
    scores, levels = (
        {name: values[source].numpy() for name, values in part.items()} for part in (reading.scores(), reading.levels())
    )
    return SequenceEmotion(reading.backbone, scores, **levels)
