"""Only the newest frame counts; late ones are dropped and counted."""

import threading
import time

import numpy as np
import pytest

from emoca_core.errors import ImageError
from emoca_core.live.source import LiveSource, open_camera


def pictures(count, gate=None):
    for number in range(count):
        if gate is not None and number == count - 1:
            gate.wait(10)
        yield 100.0 + number / 10, np.full((2, 2, 3), number, np.uint8)


def test_late_frames_are_dropped_and_counted():
    gate = threading.Event()
    with LiveSource(pictures(50, gate)) as source:
        frames = iter(source)
        deadline = time.monotonic() + 10
        while source.dropped < 48 and time.monotonic() < deadline:
            time.sleep(0.01)  # nobody takes any
        newest = next(frames)
        gate.set()
        last = next(frames)
        assert next(frames, None) is None
    assert (newest.number, newest.time) == (48, pytest.approx(4.8))
    assert (last.number, last.pixels[0, 0, 0]) == (49, 49)
    assert source.dropped == 48


def test_an_error_of_the_camera_reaches_who_takes_the_frames():
    def broken():
        yield from pictures(1)
        raise ImageError("the cable is out")

    with LiveSource(broken()) as source:
        frames = iter(source)
        with pytest.raises(ImageError, match="the cable is out"):
            for _ in frames:
                pass


def test_a_camera_that_is_not_there():
    with pytest.raises(ImageError, match=r"camera 97 gives no picture.*--camera N"):
        open_camera(97)
