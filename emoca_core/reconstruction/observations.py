"""What the first look at a clip found, in parts on disk: memory stays flat, and a stopped run goes on where it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.files import atomic_write, write_text
from emoca_core.interfaces import Detection

PART = 1024
"""Frames in one part: what a run that is killed loses at most. Following begins anew with each, also in a run that is
not killed, so that the results are the same; that costs few frames only if parts are long."""
_DONE = "seen_whole"


@dataclass(frozen=True)
class ObservedFrame:
    """One decoded frame.

    Attributes:
        number: In the clip.
        time: Seconds since the clip's first frame.
        starts_shot: Whether a cut lies before it.
        faces: Found in it.
        sharpness: Of each face.
        tracks: Of each face, as the tracker numbers them.
        repeats: Whether it shows the frame before again; its faces are the very same.
        glances: What a glance at each face told; none where nobody looked.
    """

    number: int
    time: float
    starts_shot: bool
    faces: Sequence[Detection]
    sharpness: Sequence[float] = ()
    tracks: Sequence[int] = ()
    repeats: bool = False
    glances: Sequence[Float[ndarray, "G"]] = ()


class Observations:
    """Frames of one clip in a folder, in order. Landmarks are kept in single precision.

    Args:
        folder: Belongs to these observations alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = sorted(folder.glob("frames_*.npz"))
        self._waiting: list[ObservedFrame] = []

    @property
    def are_whole(self) -> bool:
        """Whether the clip was seen to its end."""
        return (self._folder / _DONE).exists()

    @property
    def part(self) -> int:
        """Frames in a full part."""
        return PART

    def __len__(self) -> int:
        """Frames on disk; all parts but the last of a clip are full."""
        return sum(len(table["frame.number"]) for table in self.tables("frame.number"))

    def add(self, frame: ObservedFrame) -> None:
        """Keep another frame.

        Raises:
            OSError: It cannot be written.
        """
        self._waiting.append(frame)
        if len(self._waiting) == PART:
            self._write()

    def finish(self) -> None:
        """Note that there are no more.

        Raises:
            OSError: It cannot be written.
        """
        if self._waiting:
            self._write()
        write_text(self._folder / _DONE, "")

    def tables(self, *names: str) -> Iterator[dict[str, ndarray]]:
        """Columns of the parts on disk, by default all: ``frame.*`` with a row for each frame, others for each face."""
        for part in self._parts:
            with np.load(part, allow_pickle=False) as table:
                yield {name: table[name] for name in names or table.files}

    def __iter__(self) -> Iterator[ObservedFrame]:
        for table in self.tables():
            ends = np.cumsum(table["frame.faces"])
            for row, (end, count) in enumerate(zip(ends, table["frame.faces"], strict=True)):
                rows = range(end - count, end)
                yield ObservedFrame(
                    int(table["frame.number"][row]),
                    float(table["frame.time"][row]),
                    bool(table["frame.starts_shot"][row]),
                    [detection_of(table, face) for face in rows],
                    [float(table["sharpness"][face]) for face in rows],
                    [int(table["track"][face]) for face in rows],
                    bool(table["frame.repeats"][row]),
                    list(table["glance"][rows.start : rows.stop]),
                )

    def _write(self) -> None:
        path = self._folder / f"frames_{len(self._parts):06}.npz"
        with atomic_write(path) as temporary:
            np.savez(temporary, **_table(self._waiting))  # type: ignore[arg-type]
        self._parts.append(path)
        self._waiting = []


def in_single_precision(face: Detection) -> Detection:
    """A face as it will be read again: whoever sees it now and whoever sees it then see the same."""
    return replace(
        face,
        box=face.box.astype(np.float32),
        score=float(np.float32(face.score)),
        landmarks={name: points.astype(np.float32) for name, points in face.landmarks.items()},
        blendshapes=None if face.blendshapes is None else face.blendshapes.astype(np.float32),
    )


def detection_of(table: dict[str, ndarray], row: int) -> Detection:
    """One face of a part."""
    blendshapes = table["blendshapes"][row]
    return Detection(
        box=table["box"][row],
        score=float(table["score"][row]),
        landmarks={
            name.removeprefix("landmarks."): points[row]
            for name, points in table.items()
            if name.startswith("landmarks.")
        },
        blendshapes=None if np.isnan(blendshapes).any() else blendshapes,
    )


def _table(frames: Sequence[ObservedFrame]) -> dict[str, ndarray]:
    faces = [face for frame in frames for face in frame.faces]
    sets = set.intersection(*(set(face.landmarks) for face in faces)) if faces else set()
    scores = [np.full(52, np.nan) if face.blendshapes is None else face.blendshapes for face in faces]
    width = max((len(glance) for frame in frames for glance in frame.glances), default=0)
    none = np.full(width, np.nan)
    glances = [g for frame in frames for g in (frame.glances or [none] * len(frame.faces))]
    return {
        "frame.number": np.array([frame.number for frame in frames], np.int64),
        "frame.time": np.array([frame.time for frame in frames], np.float64),
        "frame.starts_shot": np.array([frame.starts_shot for frame in frames], bool),
        "frame.repeats": np.array([frame.repeats for frame in frames], bool),
        "frame.faces": np.array([len(frame.faces) for frame in frames], np.int64),
        "track": np.array([track for frame in frames for track in frame.tracks], np.int64),
        "sharpness": np.array([value for frame in frames for value in frame.sharpness], np.float32),
        "score": np.array([face.score for face in faces], np.float32),
        "box": np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        "blendshapes": np.array(scores, np.float32).reshape(-1, 52),
        "glance": np.array(glances, np.float32).reshape(len(faces), width),
        **{f"landmarks.{name}": np.array([face.landmarks[name] for face in faces], np.float32) for name in sets},
    }
