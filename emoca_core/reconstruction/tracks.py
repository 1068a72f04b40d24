"""People of a clip, from what the first look found: who is seen how large and long, and in which frames."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from emoca_core.errors import EmocaError
from emoca_core.interfaces import Detection
from emoca_core.reconstruction.observations import Observations, detection_of
from emoca_core.reconstruction.sequence_settings import Which
from emoca_core.video.repeated_frames import taken_times
from emoca_core.video.smoothing import LONGEST_GAP, find_segments

_SHORTEST = 0.3
"""Seconds that a person has to be seen, unless the clip is shorter: what is shorter is mostly no face."""
_LEAST_SCORE = 1e-3
"""Of a row that shows the face; 0 is for those that are filled in."""


@dataclass(frozen=True)
class TrackedFace:
    """What was found of a person in one frame.

    Attributes:
        row: Of the track.
        detection: The face.
        glance: What a glance at it told; nothing where nobody looked.
    """

    row: int
    detection: Detection
    glance: Float[ndarray, "G"]


@dataclass(frozen=True)
class Track:
    """One person. The rows are the frames that show the face, and those of short gaps between.

    Attributes:
        number: 0 is seen largest and longest.
        numbers: Of the frames in the clip.
        times: Seconds.
        starts_shot: Whether a cut lies between a row and the one before it.
        scores: Of the landmarker; 0 where the row is filled in.
        sharpness: Of the face; 0 where the row is filled in.
        landmarks: The 68 points, frame pixels; on straight lines where the row is filled in.
        repeats: Whether a row shows the one before again; none shows one that is filled in, none begins a stretch.
    """

    number: int
    numbers: Int[ndarray, "N"]
    times: Float[ndarray, "N"]
    starts_shot: Bool[ndarray, "N"]
    scores: Float[ndarray, "N"]
    sharpness: Float[ndarray, "N"]
    landmarks: Float[ndarray, "N 68 2"]
    repeats: Bool[ndarray, "N"]
    _observations: Observations
    _label: int

    def __len__(self) -> int:
        return len(self.times)

    @property
    def is_bridged(self) -> Bool[ndarray, "N"]:
        """Rows that are filled in."""
        return np.asarray(self.scores == 0)

    @property
    def is_new(self) -> Bool[ndarray, "N"]:
        """Rows that show the face as none did before: neither filled in nor shown again."""
        return np.asarray(~self.is_bridged & ~self.repeats)

    @property
    def source(self) -> Int[ndarray, "N"]:
        """Which of the new rows, counted without the others, each row is like: itself, or the last."""
        return np.cumsum(self.is_new) - 1

    @property
    def shown(self) -> Int[ndarray, "N"]:
        """The row that each is to look like: itself, or the one that it repeats."""
        return np.maximum.accumulate(np.where(self.repeats, 0, np.arange(len(self))))

    @property
    def confidence(self) -> Float[ndarray, "N"]:
        """What each row adds to what is known of the face: its score; 0 where it is not new."""
        return np.where(self.repeats, 0.0, self.scores)

    @cached_property
    def taken(self) -> Float[ndarray, "N"]:
        """When each row was taken, seconds: between copies at even times, else when it is shown."""
        return taken_times(self.times, self.repeats, self.segments)

    @property
    def segments(self) -> Int[ndarray, "N"]:
        """Stretches across which nothing is smoothed."""
        return find_segments(self.times, self.starts_shot)

    def faces(self) -> Iterator[TrackedFace]:
        """What was found in the new rows, read part by part."""
        rows, is_new = iter(np.flatnonzero(~self.is_bridged).tolist()), self.is_new
        for table in self._observations.tables():
            for face in np.flatnonzero(table["track"] == self._label).tolist():
                if is_new[row := next(rows)]:
                    yield TrackedFace(row, detection_of(table, face), table["glance"][face])


@dataclass(frozen=True)
class People:
    """Everybody in a clip, largest and longest first.

    Attributes:
        frames: How many frames were looked at.
        labels: What the tracker calls those who are seen long enough.
        scores: Of the landmarker, the mean of each of them.
        short: How many are not.
        mistaken: How many were nobody at a second look.
    """

    frames: int
    labels: Sequence[int]
    scores: Sequence[float]
    short: int
    mistaken: int = 0

    def chosen(self, which: Which) -> Sequence[int]:
        """Numbers of those that are asked for.

        Raises:
            EmocaError: There is none with this number.
        """
        if isinstance(which, int):
            if which >= len(self.labels):
                raise EmocaError(f"there is no track {which}: {len(self.labels)} people are seen, counted from 0")
            return [which]
        return range(len(self.labels)) if which == "all" else range(min(1, len(self.labels)))


def find_people(observations: Observations) -> People:
    """Who is in a clip."""
    times: list[float] = []
    sizes: dict[int, float] = defaultdict(float)
    spans: dict[int, tuple[float, float]] = {}
    scores: dict[int, list[float]] = defaultdict(lambda: [0.0, 0])
    for table in observations.tables("frame.time", "frame.faces", "box", "score", "track"):
        times += table["frame.time"].tolist()
        seen = np.repeat(table["frame.time"], table["frame.faces"])
        areas = np.prod(table["box"][:, 2:] - table["box"][:, :2], axis=1)
        for label in np.unique(table["track"]).tolist():
            own = table["track"] == label
            sizes[label] += float(areas[own].sum())
            scores[label] = [scores[label][0] + float(table["score"][own].sum()), scores[label][1] + own.sum()]
            spans[label] = spans.get(label, (seen[own][0], 0.0))[0], seen[own][-1]
    enough = min(_SHORTEST, times[-1] - times[0]) if times else 0.0
    largest = sorted(sizes, key=lambda label: -sizes[label])
    labels = [label for label in largest if spans[label][1] - spans[label][0] >= enough]
    means = [scores[label][0] / scores[label][1] for label in labels]
    return People(len(times), labels, means, len(sizes) - len(labels))


def read_track(observations: Observations, people: People, number: int) -> Track:
    """One person of a clip."""
    label = people.labels[number]
    frames, seen = _frames(observations, label)
    times, shots = frames["frame.time"], np.cumsum(frames["frame.starts_shot"])
    rows = np.flatnonzero(_covered(seen, times, shots))
    found = np.searchsorted(rows, seen)
    columns = {"score": np.zeros(len(rows)), "sharpness": np.zeros(len(rows))}
    columns["landmarks.ibug68"] = np.zeros((len(rows), 68, 2), np.float32)
    place = 0
    for table in observations.tables(*columns, "track"):
        own = table["track"] == label
        here = found[place : place + np.count_nonzero(own)]
        place += len(here)
        for name, column in columns.items():
            column[here] = table[name][own]
    columns["score"][found] = np.maximum(columns["score"][found], _LEAST_SCORE)
    _bridge(columns["landmarks.ibug68"], found, times[rows])
    starts_shot = np.diff(shots[rows], prepend=shots[rows[:1]]) > 0
    repeats = frames["frame.repeats"][rows] & np.isin(rows, seen) & np.isin(rows - 1, seen)
    return Track(
        number=number,
        numbers=frames["frame.number"][rows],
        times=times[rows],
        starts_shot=starts_shot,
        scores=columns["score"],
        sharpness=columns["sharpness"],
        landmarks=columns["landmarks.ibug68"],
        repeats=repeats & (np.diff(find_segments(times[rows], starts_shot), prepend=-1) == 0),
        _observations=observations,
        _label=label,
    )


def _covered(seen: Int[ndarray, "S"], times: Float[ndarray, "F"], shots: Int[ndarray, "F"]) -> Bool[ndarray, "F"]:
    """Frames with the face, and those of gaps that are short and without a cut."""
    before, after = seen[:-1], seen[1:]
    short = (times[after] - times[before] <= LONGEST_GAP) & (shots[after] == shots[before])
    inside = np.zeros(len(times) + 1, np.int64)
    np.add.at(inside, before[short], 1)
    np.add.at(inside, after[short], -1)
    covered: ndarray = np.cumsum(inside)[:-1] > 0
    covered[seen] = True
    return covered


def _bridge(points: Float[ndarray, "N 68 2"], found: Int[ndarray, "S"], times: Float[ndarray, "N"]) -> None:
    """Put the points of rows between those that were found on straight lines."""
    between = np.setdiff1d(np.arange(len(times)), found)
    after = np.searchsorted(found, between)
    before, after = found[after - 1], found[after]
    weight = ((times[between] - times[before]) / (times[after] - times[before])).astype(np.float32)[:, None, None]
    points[between] = points[before] + weight * (points[after] - points[before])


def _frames(observations: Observations, label: int) -> tuple[dict[str, ndarray], Int[ndarray, "S"]]:
    """All frames that were looked at, and which of them show a person."""
    names = ("frame.number", "frame.time", "frame.starts_shot", "frame.repeats", "frame.faces")
    read = [(table, table.pop("track")) for table in observations.tables(*names, "track")]
    frames = {name: np.concatenate([table[name] for table, _ in read]) for name in names}
    tracks = np.concatenate([track for _, track in read])
    return frames, np.repeat(np.arange(len(frames["frame.faces"])), frames["frame.faces"])[tracks == label]
