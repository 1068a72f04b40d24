"""Tracks by overlap from frame to frame, and by appearance over gaps and cuts."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field

from emoca_core.images.warp import square_to_image
from emoca_core.images.window import cut_window, thinned
from emoca_core.interfaces import Detection, Frame, Tracker
from emoca_core.registry.spec import ComponentParams

_PICTURE = 24
"""Side of the small picture by which a face is known, pixels."""
_PICTURE_SIDE = 5.5
"""Its side in units of the face, so that hair and collar are seen."""
_SAMPLES = 4
"""Pixels of the photo, along each axis, of which one of its pixels is made."""
_NOTHING = np.zeros((_PICTURE, _PICTURE, 3), np.uint8)
_MEMORIES = 12
"""Pictures that are kept of each person."""
_KNOWN = 0.95
"""A picture that is more alike to a kept one teaches nothing."""
_SKIN = np.array([10.0, 12.0])
"""a and b of CIELAB, about the mean of all skin."""
_OVERLAPS = 2.0
"""What a face scores, besides likeness, that overlaps with where somebody is expected."""
_YOUNG = 1.5
"""Seconds in which somebody new may turn out to be somebody who was away: whoever comes out from behind others is seen
in part first."""
_HIDDEN, _NEAR = 2.5, 4.0
"""Seconds, and sizes of the face, for which somebody may be behind another."""
_FASTEST = 3.0
"""Frames ahead that a movement is believed in, in sizes of the face."""


class AppearanceTracker(Tracker):
    """Faces that overlap where they were expected are the same; lost ones come back where they look the same.

    Who looks very different is somebody else in spite of overlap, and across a cut only looks count. They are those of
    a small picture of head and collar: enough to tell people of one clip apart (a person's own pictures are as alike
    as 0.92, those of different people as 0.79 in one of a hundred), not to recognise anybody elsewhere. Frames without
    a photo are tracked by overlap alone.

    Source: assignment as in Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016, and its use of appearance,
    Wojke et al., ICIP 2017; the picture is this project's.
    """

    class Params(ComponentParams):
        """When two faces are one."""

        overlap: float = Field(default=0.2, gt=0, lt=1)
        """Least intersection over union with the place where the face is expected."""
        longest_gap: float = Field(default=0.5, ge=0)
        """Seconds for which that place is believed in."""
        alike: float = Field(default=0.85, gt=0, lt=1)
        """Likeness from which a face elsewhere, or after a cut, is one that was seen before."""
        unlike: float = Field(default=0.4, ge=-1, lt=1)
        """Likeness below which a face that overlaps is somebody else."""

    params: Params

    def track(self, frames: Iterable[Frame]) -> Iterator[tuple[int, ...]]:
        tracks: list[_Track] = []
        for frame in frames:
            faces = [_Face.of(one, frame.photo) for one in frame.detections]
            numbers = self._known(faces, tracks, frame.time, frame.starts_shot)
            for place, face in enumerate(faces):
                if place not in numbers:
                    numbers[place] = len(tracks)
                    tracks.append(_Track(face, frame.time, frame.time))
                tracks[numbers[place]].add(face, frame.time)
            yield tuple(numbers[place] for place in range(len(faces)))

    def _known(self, faces: "list[_Face]", tracks: "list[_Track]", time: float, cut: bool) -> dict[int, int]:
        """Which faces are of which track."""
        from scipy.optimize import linear_sum_assignment

        p = self.params
        scores = np.zeros((len(faces), len(tracks)))
        for column, track in enumerate(tracks):
            if track.ended:
                continue
            recent = not cut and time - track.time <= p.longest_gap
            expected = track.expected(time)
            for row, face in enumerate(faces):
                likeness = track.likeness(face)
                overlap = _overlap(face.box, expected) if recent else 0.0
                if overlap >= p.overlap and (likeness is None or likeness >= p.unlike):
                    scores[row, column] = _OVERLAPS + overlap + (likeness or 0.0)
                elif likeness is not None and likeness >= p.alike:
                    scores[row, column] = likeness
        ended = self._reconsider(scores, faces, tracks, time)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        for place in zip(rows.tolist(), columns.tolist(), strict=True):
            for track in ended.get(place, ()):
                track.ended = True
        return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if scores[row, column] > 0}

    def _reconsider(
        self, scores: Float[ndarray, "F T"], faces: "list[_Face]", tracks: "list[_Track]", time: float
    ) -> dict[tuple[int, int], "list[_Track]"]:
        """Whoever is new, and looks like somebody who has been away since before, is that one.

        Where somebody may have come out from behind another, they are as alike as anybody who comes back; elsewhere
        more so, because every frame of a young track asks again.

        Returns:
            By row and column of ``scores``, which tracks end where that is assigned.
        """
        ended: dict[tuple[int, int], list[_Track]] = {}
        for row, face in enumerate(faces):
            young = [tracks[column] for column in np.flatnonzero(scores[row] >= _OVERLAPS)]
            if not young or any(time - track.born > _YOUNG for track in young):
                continue
            born = min(track.born for track in young)
            for column, track in enumerate(tracks):
                likeness = track.likeness(face) if track.time < born else None
                enough = self.params.alike if track.may_be_hidden(face, time) else (1 + self.params.alike) / 2
                if likeness is not None and likeness >= enough:
                    scores[row, column] = 2 * _OVERLAPS + likeness
                    ended[row, column] = young
        return ended


@dataclass(frozen=True)
class _Face:
    """What is compared of a face: its box and, where there is a photo, its picture as a vector of length 1."""

    box: Float[ndarray, "4"]
    picture: Float[ndarray, "D"] | None

    @classmethod
    def of(cls, detection: Detection, photo: UInt8[ndarray, "H W 3"] | None) -> "_Face":
        box = np.asarray(detection.box, dtype=np.float64)
        return cls(box, None if photo is None else _picture(photo, detection.landmarks["ibug68"]))


@dataclass
class _Track:
    """One person: where they were last, how they move, how they look."""

    face: _Face
    time: float
    born: float
    ended: bool = False
    """It was somebody else, seen in part."""
    _speed: Float[ndarray, "2"] = field(default_factory=lambda: np.zeros(2))
    _pictures: deque[ndarray] = field(default_factory=lambda: deque(maxlen=_MEMORIES))

    def add(self, face: _Face, time: float) -> None:
        if time > self.time:
            self._speed = (_middle(face.box) - _middle(self.face.box)) / (time - self.time)
        likeness = self.likeness(face)
        if face.picture is not None and (likeness is None or likeness < _KNOWN):
            self._pictures.append(face.picture)
        self.face, self.time = face, time

    def expected(self, time: float) -> Float[ndarray, "4"]:
        """Its box, moved on."""
        box = self.face.box
        reach = _FASTEST * float(np.mean(box[2:] - box[:2]))
        moved: ndarray = box + np.tile(np.clip(self._speed * (time - self.time), -reach, reach), 2)
        return moved

    def may_be_hidden(self, face: _Face, time: float) -> bool:
        """Whether it was lost a moment ago, and near a face."""
        size = float(np.mean(self.face.box[2:] - self.face.box[:2]))
        apart = float(np.linalg.norm(_middle(face.box) - _middle(self.face.box)))
        return time - self.time <= _HIDDEN and apart <= _NEAR * size

    def likeness(self, face: _Face) -> float | None:
        """Cosine between the pictures of the most alike view; ``None`` where there are none."""
        if face.picture is None or not self._pictures:
            return None
        return max(float(kept @ face.picture) for kept in self._pictures)


def _picture(photo: UInt8[ndarray, "H W 3"], points: Float[ndarray, "68 2"]) -> Float[ndarray, "D"]:
    """Brightness without its mean and scale, and colours relative to skin, of a small upright picture of the head."""
    import cv2

    right, left, mouth = points[36:42].mean(0), points[42:48].mean(0), points[[48, 54]].mean(0)
    across, down = left - right, mouth - (left + right) / 2
    size = max(float(np.hypot(*across)), 1.1 * float(np.hypot(*down)), 1.0)
    to_photo = square_to_image(
        (right + left + mouth) / 3, _PICTURE_SIDE * size, _PICTURE, float(np.arctan2(across[1], across[0]))
    )
    step = max(1, int(_PICTURE_SIDE * size / _PICTURE / _SAMPLES))
    first = step // 2
    to_fewer = np.array([[1 / step, 0, -first / step], [0, 1 / step, -first / step], [0, 0, 1]])
    rest = photo[first:, first:]
    found = rest.size > 0
    window = cut_window(thinned(rest, step), to_fewer @ to_photo, _PICTURE, border="replicate") if found else _NOTHING
    lab = cv2.cvtColor(window.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light, colors = lab[..., 0], lab[..., 1:]
    light = (light - light.mean()) / (light.std() + 3)
    vector: ndarray = np.concatenate([light.ravel(), ((colors - _SKIN) / 12).ravel()]).astype(np.float64)
    vector /= np.linalg.norm(vector)
    return vector


def _middle(box: Float[ndarray, "4"]) -> Float[ndarray, "2"]:
    middle: ndarray = (box[:2] + box[2:]) / 2
    return middle


def _overlap(one: Float[ndarray, "4"], other: Float[ndarray, "4"]) -> float:
    """Intersection over union."""
    common = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(common / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - common))
