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


def test_a_camera_that_is_there(monkeypatch, tmp_path):
    """OpenCV reads a file as it reads a device: pictures come as RGB, and where they end, that is said."""
    import cv2

    colors = np.array([(230, 20, 40), (30, 200, 60), (20, 40, 220)])
    file, size = str(tmp_path / "camera.avi"), (64, 48)
    writer = cv2.VideoWriter(file, cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
    assert writer.isOpened()
    for color in (colors[0], *colors):  # the first picture only shows that there are some
        writer.write(np.full((size[1], size[0], 3), color[::-1], np.uint8))
    writer.release()
    opened, released = [], []

    real = cv2.VideoCapture

    class Device:
        def __init__(self, number):
            opened.append(number)
            self.device = real(file)

        def __getattr__(self, name):
            return getattr(self.device, name)

        def release(self):
            released.append(True)
            self.device.release()

    monkeypatch.setattr(cv2, "VideoCapture", Device)
    source = open_camera(3)
    taken, begun = [], time.monotonic()
    with pytest.raises(ImageError, match="camera 3 stopped giving pictures"):
        for given, pixels in source._pictures:
            assert pixels.shape == (48, 64, 3)
            assert begun <= given <= time.monotonic()
            taken.append(pixels.mean((0, 1)))
    np.testing.assert_allclose(taken, colors, atol=6)  # JPEG
    assert (opened, released) == ([3], [True])
