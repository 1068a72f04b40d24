"""Whether somebody in a clip is anybody at all: a logo or a wall may pass for a face for some frames."""

from dataclasses import replace

import numpy as np

from emoca_core.interfaces import Clip
from emoca_core.method import Method
from emoca_core.reconstruction import quality
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.tracks import People, Track, read_track

_SURE = 0.8
"""Mean score of the landmarker from which it is believed; people of real clips have 0.9."""
_LOOKS = 3
"""Frames that are looked at again."""
_SIGNS = ("movement", "second_opinion")
"""Of ``Detection``: what a second look tells."""


def without_mistakes(people: People, method: Method, clip: Clip, observations: Observations) -> People:
    """Those who are people at a second look too; whom the landmarker is sure of needs none.

    Nobody is who has other landmarks, and no other sign of a face, in every frame that is looked at again.

    Args:
        people: Found at first.
        method: Its landmarker looks again (``Landmarker.look_again``).
        clip: Where they are.
        observations: Of the first look.
    """
    kept = [
        number
        for number, score in enumerate(people.scores)
        if score >= _SURE or _is_person(read_track(observations, people, number), method, clip)
    ]
    return replace(
        people,
        labels=[people.labels[number] for number in kept],
        scores=[people.scores[number] for number in kept],
        mistaken=len(people.labels) - len(kept),
    )


def _is_person(track: Track, method: Method, clip: Clip) -> bool:
    assert method.landmarker is not None
    seen = np.flatnonzero(track.is_new & ~track.is_bridged)
    rows = np.unique(seen[np.linspace(0, len(seen) - 1, _LOOKS).round().astype(int)]).tolist()
    faces = {face.row: face.detection for face in track.faces() if face.row in rows}
    limits = [limit for limit in quality.LIMITS if limit.figure in _SIGNS]
    for row, frame in zip(rows, clip.at(track.numbers[rows].tolist()), strict=True):
        (face,) = method.landmarker.look_again(frame.pixels, [faces[row]])
        if not limits or any(limit.reason(getattr(face, limit.figure)) is None for limit in limits):
            return True
    return False
