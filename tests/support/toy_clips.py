"""Clips whose frames say in their first row which faces they show; a landmarker and a tracker that read it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from clips import write_clip

from emoca_core.interfaces import Detection, Follower, Landmarker, Tracker

SIZE = (120, 160)
Face = tuple[int, int, int]
"""Who it is (1, 2, ...), and the middle of the face, x and y."""


def frame(faces: Sequence[Face], shade: int = 100) -> np.ndarray:
    pixels = np.full((*SIZE, 3), shade, np.uint8)
    pixels[:, :, 1] += np.arange(SIZE[1], dtype=np.uint8) // 2
    pixels[0, : len(faces)] = np.array(faces, np.uint8).reshape(-1, 3)
    pixels[0, len(faces) : 8] = 0
    return pixels


def toy_clip(path: Path, frames: Iterable[np.ndarray], rate: int = 25, **options: object) -> Path:
    """Without loss, so that the first row survives."""
    return write_clip(path.with_suffix(".mkv"), frames, rate=rate, codec="ffv1", pixel_format="bgr0", **options)


class Reader(Landmarker):
    """Finds the faces that the first row names; the second person is half as large, and less certain.

    ``seen`` counts the frames.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def detect(self, photo: np.ndarray) -> list[Detection]:
        self.seen += 1
        faces = [face for face in photo[0, :8].tolist() if face[0]]
        return [self._face(*face) for face in sorted(faces)]

    @staticmethod
    def _face(person: int, x: int, y: int) -> Detection:
        angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        points = np.column_stack([1.1 * np.cos(angle), np.sin(angle)]) * (40 / person) + [x, y]
        points[36:48] += np.linspace(-20, 20, 12)[:, None] / person * [1, 0.3]
        box = np.concatenate([points.min(0), points.max(0)])
        return Detection(box, 1.0 - 0.1 * person, {"ibug68": points}, np.linspace(0, 1, 52), notes=(str(person),))


class Remembering(Reader):
    """Its followers find a face where it is and a little towards where it was in all frames since they began.

    Args:
        stop: Time of a frame that is never seen: looking at it is stopped by hand.
    """

    needs = 0
    """Frames that a follower has to see before it finds anything."""

    def __init__(self, stop: float | None = None) -> None:
        super().__init__()
        self.stop = stop

    def follow(self, faces: int | None = None) -> Follower:
        return _Remembering(self)


class _Remembering(Follower):
    def __init__(self, landmarker: Remembering) -> None:
        self.landmarker, self.places = landmarker, []

    def detect(self, photo: np.ndarray, time: float) -> list[Detection]:
        if self.landmarker.stop is not None and time >= self.landmarker.stop - 1e-6:
            raise KeyboardInterrupt
        found = self.landmarker.detect(photo)
        self.places.append(np.mean([face.box for face in found], axis=0) if found else np.zeros(4))
        if len(self.places) <= self.landmarker.needs:
            return []
        shift = np.mean(self.places, axis=0)[:2] / 50 + len(self.places) / 10
        points = [face.landmarks["ibug68"] + shift for face in found]
        return [replace(face, landmarks={"ibug68": moved}) for face, moved in zip(found, points, strict=True)]


class ByNote(Tracker):
    """Tells people apart by where they are and what the landmarker notes."""

    def track(self, frames):
        known: dict[float, int] = {}
        for one in frames:
            yield tuple(known.setdefault(face.score, len(known)) for face in one.detections)
