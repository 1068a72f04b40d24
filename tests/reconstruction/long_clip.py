"""A clip of so many frames through the toy method: prints the most memory that it took, MiB.

``python long_clip.py FRAMES``; the frames are made as they are asked for, 25 a second.
"""

import importlib.util
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emoca_core.interfaces import Clip, ClipFrame
from emoca_core.reconstruction import reconstruct_sequence

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from toy_clips import SIZE, ByNote, Reader, frame

spec = importlib.util.spec_from_file_location("toy_method", Path(__file__).with_name("conftest.py"))
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)


@dataclass(frozen=True)
class LongClip(Clip):
    def frames(self, first=0):
        random = np.random.default_rng(0)
        for number in range(first, self.length):
            pixels = frame([(1, 60 + number % 30, 60 + int(random.integers(2)))])
            yield ClipFrame(number, number / 25, pixels)


method = toys.build()
method.landmarker, method.tracker = Reader(), ByNote()
method.encoder.frames_have_pixels = False
(person,) = reconstruct_sequence(method, LongClip(Path("long.mp4"), "0" * 64, SIZE, 25.0, int(sys.argv[1]), False))
assert len(person) == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
