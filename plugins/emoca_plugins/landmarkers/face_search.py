"""Where to look for faces in a photo: the whole, padded, in tiles, turned; and which findings are the same face.

MediaPipe's short-range detector sees 128 x 128 pixels, roughly upright faces, and none smaller than about an eighth of
its picture. A view is a small picture of part of the photo for it to look at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from emoca_core.images.warp import square_to_image, transform_points

VIEW_SIZE = 128
"""Side of a view in pixels: what the detector sees."""

SURE = 0.8
"""The detector's confidence from which its finding needs no second look."""

_PADDED = 1.6
_OVERLAP = 0.5
_QUARTER_TURNS = tuple(np.deg2rad([90, -90, 180]))
_EIGHTH_TURNS = tuple(np.deg2rad([45, -45, 135, -135]))
_SAME_FACE = 0.5
_SMALLEST_TILE = 64
_AROUND = 2.0
_SMALL = {2: 0.4, 4: 0.12}
_PROFILE = 0.25
"""Largest distance of the eyes of a head in profile, in units of its box."""


class Pyramid:
    """A photo that is cut from many times: shrunken copies are made once.

    Pillow's sampling is several times as fast as the exact ``emoca_core.images.warp``, and does for looking.
    """

    def __init__(self, photo: UInt8[ndarray, "H W 3"]) -> None:
        self.height, self.width = photo.shape[:2]
        self._levels = {1: Image.fromarray(np.ascontiguousarray(photo))}

    def cut(self, to_photo: Float[ndarray, "3 3"], size: int) -> UInt8[ndarray, "S S 3"]:
        """A square crop, averaged where the photo is finer; black beyond the photo."""
        factor = max(1, int(np.sqrt(abs(np.linalg.det(to_photo[:2, :2]))) + 1e-6))
        if factor not in self._levels:
            self._levels[factor] = self._levels[1].reduce(factor)
        edges = np.eye(3)
        edges[:2, 2] = 0.5  # Pillow counts from the edges of pixels; so does the shrinking
        data = np.diag([1 / factor, 1 / factor, 1.0]) @ edges @ to_photo @ np.linalg.inv(edges)
        level = self._levels[factor]
        view = level.transform((size, size), Image.Transform.AFFINE, data[:2].ravel(), Image.Resampling.BILINEAR)
        return np.asarray(view)


@dataclass(frozen=True)
class View:
    """A square picture of part of a photo.

    Attributes:
        image: RGB.
        to_photo: Pixel-centre transform, view to photo.
    """

    image: UInt8[ndarray, "S S 3"]
    to_photo: Float[ndarray, "3 3"]


@dataclass(frozen=True)
class Candidate:
    """A face as the detector reports it, in photo pixels.

    Attributes:
        centre: Of its box.
        side: Mean side of its box.
        roll: Direction from the right to the left eye, radians, clockwise as seen.
        score: Confidence in [0, 1].
        eye_distance: Of the eyes from each other, in units of ``side``: about 0.45 from the front.
        marks: The subject's right and left eye, tip of the nose, middle of the mouth; unknown where a face was found by
            other means.
    """

    centre: Float[ndarray, "2"]
    side: float
    roll: float
    score: float
    eye_distance: float
    marks: Float[ndarray, "4 2"] | None = None

    @property
    def is_profile(self) -> bool:
        """Whether this surely is a head, and one that is seen from the side."""
        return self.score >= SURE and self.eye_distance < _PROFILE


def first_views(photo: Pyramid) -> Iterator[View]:
    """The whole photo, and the whole photo with a margin, for faces that fill it."""
    yield _view(photo, _middle(photo), max(photo.height, photo.width))
    yield _view(photo, _middle(photo), _PADDED * max(photo.height, photo.width))


def closer_views(photo: Pyramid, tiles: int, found: Iterable[Candidate]) -> Iterator[View]:
    """Overlapping tiles of 1/2 or 1/4 of the shorter side, if the photo may hold faces too small for larger views.

    Args:
        photo: Where to look.
        tiles: 2 or 4.
        found: Seen in larger views. Who is near the camera is alone or in good company: beside a large face, no small
            ones are looked for.
    """
    shorter = min(photo.height, photo.width)
    if max((candidate.side for candidate in found), default=0.0) < _SMALL[tiles] * shorter:
        yield from _tiles(photo, shorter / tiles)


def turned_views(photo: Pyramid) -> Iterator[View]:
    """The photo turned by multiples of 45 degrees, and its tiles by multiples of 90, for faces that lie or hang."""
    for turn in (*_QUARTER_TURNS, *_EIGHTH_TURNS):
        yield _view(photo, _middle(photo), max(photo.height, photo.width), turn)
    for turn in _QUARTER_TURNS:
        yield from _tiles(photo, min(photo.height, photo.width) / 1.5, turn)


def both_ways(photo: Pyramid, candidate: Candidate) -> Iterator[View]:
    """A closer look at an uncertain candidate, as it was found and upside down; nothing for a certain one.

    An upside-down face often passes for an upright one, but the detector is far surer of it the right way up
    (0.9 against 0.6).
    """
    if candidate.score < SURE:
        for turn in (0.0, np.pi):
            yield _view(photo, candidate.centre, _AROUND * candidate.side, candidate.roll + turn)


def distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate per face, the most confident, best first."""
    kept: list[Candidate] = []
    for one in sorted(candidates, key=lambda candidate: -candidate.score):
        if not any(same_face(one, other) for other in kept):
            kept.append(one)
    return kept


def same_face(one: Candidate, other: Candidate) -> bool:
    """Whether two findings overlap so much that they are one face."""
    apart = float(np.linalg.norm(one.centre - other.centre))
    return apart < _SAME_FACE * max(one.side, other.side)


def _middle(photo: Pyramid) -> Float[ndarray, "2"]:
    return np.array([(photo.width - 1) / 2, (photo.height - 1) / 2])


def _tiles(photo: Pyramid, side: int | float, turn: float = 0.0) -> Iterator[View]:
    if side < _SMALLEST_TILE:
        return
    for y in _positions(photo.height, side):
        for x in _positions(photo.width, side):
            yield _view(photo, np.array([x, y]), side, turn)


def _positions(length: int, side: int | float) -> Float[ndarray, " n"]:
    """Centres of overlapping tiles that cover a length."""
    count = int(np.ceil((length - side) / (side * (1 - _OVERLAP)))) + 1 if length > side else 1
    return np.linspace(side / 2, length - side / 2, count) - 0.5 if count > 1 else np.array([(length - 1) / 2])


def _view(photo: Pyramid, centre: Float[ndarray, "2"], side: int | float, turn: float = 0.0) -> View:
    to_photo = square_to_image(centre, side, VIEW_SIZE, turn)
    return View(photo.cut(to_photo, VIEW_SIZE), to_photo)


def candidate_from_view(view: View, box: Float[ndarray, "4"], marks: Float[ndarray, "4 2"], score: float) -> Candidate:
    """A detection in a view as a candidate in the photo.

    Args:
        view: Where it was detected.
        box: x0, y0, x1, y1 in view pixels (pixel-centre coordinates).
        marks: The subject's right and left eye, nose and mouth, view pixels.
        score: Confidence in [0, 1].
    """
    centre, *found = transform_points(view.to_photo, np.stack([(box[:2] + box[2:]) / 2, *marks]))
    side = float(np.sqrt(np.linalg.det(view.to_photo[:2, :2])) * np.mean(box[2:] - box[:2]))
    across = found[1] - found[0]
    roll, apart = float(np.arctan2(across[1], across[0])), float(np.linalg.norm(across)) / side
    return Candidate(centre, side, roll, score, apart, np.stack(found))
