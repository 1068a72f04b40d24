"""Eyeballs of human size with an iris ring of their own, and the conjunctiva that joins them to the lids.

MakeHuman's eyeballs have a radius of 16.6 mm in adults. Ours have 12: they touch the old surface where the lids open,
so they lie inside it and lids that cleared the old ball clear the new one. A strip from the inner lid rim to the
ball closes the corners that the smaller ball leaves open.
"""

from dataclasses import dataclass

import numpy as np

RADIUS_RATIO = 0.723
"""New radius over MakeHuman's: 12.0 mm in the mean adult."""
SEGMENTS = 20
IRIS_ANGLE = 29.5
"""Degrees between gaze axis and limbus: an iris of 11.8 mm on a ball of 12 mm radius."""
PUPIL_ANGLE = 9.5
RINGS = (PUPIL_ANGLE, 20.0, IRIS_ANGLE, 36.0, 46.0, 58.0, 72.0, 90.0, 120.0)
"""Degrees from the gaze axis; the poles are added."""
STRIP_ANGLE = 78.0
"""Where the conjunctiva ends under the ball's surface, degrees from the gaze axis."""
STRIP_DEPTH = 0.96
"""Its end's distance from the centre over the radius."""


def ball() -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere with rings around +z, front pole first, back pole last.

    Returns:
        Directions [N, 3] and counter-clockwise triangles [F, 3].
    """
    azimuth = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    directions = [np.array([[0.0, 0.0, 1.0]])]
    for degrees in RINGS:
        t = np.deg2rad(degrees)
        ring = [np.sin(t) * np.cos(azimuth), np.sin(t) * np.sin(azimuth), np.full(SEGMENTS, np.cos(t))]
        directions.append(np.stack(ring, 1))
    directions.append(np.array([[0.0, 0.0, -1.0]]))
    last = 1 + SEGMENTS * len(RINGS)
    triangles: list[tuple[int, int, int]] = []
    for k in range(SEGMENTS):
        n = (k + 1) % SEGMENTS
        triangles.append((0, 1 + k, 1 + n))
        for ring_index in range(len(RINGS) - 1):
            inner, outer = 1 + ring_index * SEGMENTS, 1 + (ring_index + 1) * SEGMENTS
            triangles += [(inner + k, outer + k, outer + n), (inner + k, outer + n, inner + n)]
        triangles.append((last - SEGMENTS + k, last, last - SEGMENTS + n))
    return np.concatenate(directions), np.array(triangles)


def iris_vertices() -> np.ndarray:
    """Ball vertices of MediaPipe's five iris points: centre, then image right, top, left, bottom of the limbus.

    "Image right" is +x of a face that looks at the camera, i.e. the subject's left.
    """
    first = 1 + RINGS.index(IRIS_ANGLE) * SEGMENTS
    return np.array([0, first, first + SEGMENTS // 4, first + SEGMENTS // 2, first + 3 * SEGMENTS // 4])


@dataclass(frozen=True)
class EyePlacement:
    """Centres [n, 3] and radii [n] of one side's new balls."""

    centre: np.ndarray
    radius: np.ndarray


def place_ball(old_ball: np.ndarray, lid_rim: np.ndarray) -> EyePlacement:
    """Shrink MakeHuman's ball towards the lid opening.

    Args:
        old_ball: [n, 72, 3] vertices of MakeHuman's eyeball, an exact sphere about their mean in the base mesh.
        lid_rim: [n, R, 3] inner rim of the lids.
    """
    centre = old_ball.mean(1)
    radius = np.linalg.norm(old_ball - centre[:, None], axis=-1).mean(1)
    outward = lid_rim.mean(1) - centre
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    return EyePlacement(centre + ((1 - RADIUS_RATIO) * radius)[:, None] * outward, RADIUS_RATIO * radius)


def strip_directions(lid_rim: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Directions [R, 3] from the ball's centre to the hidden end of the conjunctiva below each rim vertex."""
    offset = lid_rim - centre
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    t = np.deg2rad(STRIP_ANGLE)
    return np.stack([np.sin(t) * np.cos(azimuth), np.sin(t) * np.sin(azimuth), np.full(len(offset), np.cos(t))], 1)
