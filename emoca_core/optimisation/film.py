"""A film of an optimisation: the target, and the face on its way."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emoca_core.interfaces import CapturedFace
from emoca_core.method import Method
from emoca_core.optimisation.descent import ENERGY, Trajectory
from emoca_core.optimisation.pictures import grey_and_coloured, photo_cell, side_by_side
from emoca_core.video.writer import clip_writer

SIDE, RATE = 224, 25.0
FRAMES = 100
"""At most so many steps are shown, evenly spread."""
_HOLD, _BAR, _FONT = 25, 28, 15
"""Frames for which the result stays; height of the line below, pixels; size of its letters."""
_AT_ONCE = 10


def write_film(method: Method, source: CapturedFace, target: CapturedFace, way: Trajectory, path: Path) -> None:
    """Write source, target and the face from the first step to the best one as an MP4.

    Raises:
        OSError: The file cannot be written.
    """
    steps = np.unique(np.linspace(0, way.best, FRAMES).round().astype(int))
    photos = [photo_cell(method, face, SIDE) for face in (source, target)]
    time = 0.0
    with clip_writer(path, (SIDE + _BAR, 4 * SIDE), RATE) as writer:
        for first in range(0, len(steps), _AT_ONCE):
            chosen = steps[first : first + _AT_ONCE]
            grey, coloured = grey_and_coloured(method, way.codes.map(lambda t, c=chosen: t[c]), SIDE, 0.0)  # type: ignore[misc]
            for row, step in enumerate(chosen):
                frame = side_by_side([*photos, coloured[row], grey[row]])
                frame = _with_line(frame, f"step {step}   energy {float(way.history[ENERGY][step]):.4f}")
                for _ in range(1 + _HOLD * (step == way.best)):
                    writer.write(frame, time)
                    time += 1 / RATE


def _with_line(frame: np.ndarray, text: str) -> np.ndarray:
    picture = Image.new("RGB", (frame.shape[1], frame.shape[0] + _BAR))
    picture.paste(Image.fromarray(frame), (0, 0))
    place = (2 * SIDE + 8, SIDE + _BAR / 2)
    ImageDraw.Draw(picture).text(place, text, fill=(235, 235, 238), font=ImageFont.load_default(_FONT), anchor="lm")
    return np.asarray(picture)
