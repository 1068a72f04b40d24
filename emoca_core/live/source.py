"""Frames as a camera gives them: only the newest counts, and the others are dropped and counted."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.errors import ImageError
from emoca_core.interfaces import Clip

Picture = tuple[float, UInt8[ndarray, "H W 3"]]
"""When the camera gave it (``time.monotonic``), and the RGB pixels."""


@dataclass(frozen=True)
class Taken:
    """The newest frame.

    Attributes:
        number: Counted from 0, dropped frames included.
        time: Seconds since the first frame.
        given: When the camera gave it, of ``time.monotonic``.
        pixels: RGB.
    """

    number: int
    time: float
    given: float
    pixels: UInt8[ndarray, "H W 3"]


class LiveSource:
    """Reads a camera in a thread of its own and keeps one frame: the newest. A context manager."""

    def __init__(self, pictures: Iterator[Picture]) -> None:
        """Begin; nothing is read before ``with``.

        Args:
            pictures: Waits for each frame, as a camera does.
        """
        self._pictures = pictures
        self._changed = threading.Condition()
        self._newest: Taken | None = None
        self._ended = self._stopped = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self.dropped = 0
        """Frames that nobody took before the next one came."""

    def __iter__(self) -> Iterator[Taken]:
        """The newest frame, each time it is asked for, until the camera ends.

        Raises:
            ImageError: The camera fails.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                taken, self._newest = self._newest, None
            if taken is None:
                if self._error is not None:
                    raise self._error
                return
            yield taken

    def __enter__(self) -> "LiveSource":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._thread.join(timeout=5)

    def _read(self) -> None:
        first: float | None = None
        try:
            for number, (given, pixels) in enumerate(self._pictures):
                first = given if first is None else first
                with self._changed:
                    self.dropped += self._newest is not None
                    self._newest = Taken(number, given - first, given, pixels)
                    self._changed.notify()
                if self._stopped:
                    break
        except Exception as error:  # whatever it is, it belongs to the thread that takes the frames
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()


def open_camera(number: int) -> LiveSource:
    """A camera of this machine.

    Args:
        number: 0 is the first.

    Raises:
        ImageError: There is none of this number, or another program has it.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # of missing cameras this module speaks itself
    camera = cv2.VideoCapture(number)
    if not (camera.isOpened() and camera.read()[0]):
        camera.release()
        raise ImageError(
            f"camera {number} gives no picture: it is not there, or another program uses it; --camera N chooses another"
        )

    def pictures() -> Iterator[Picture]:
        try:
            while True:
                is_there, frame = camera.read()
                if not is_there:
                    raise ImageError(f"camera {number} stopped giving pictures")
                yield time.monotonic(), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            camera.release()

    return LiveSource(pictures())


def play_clip(clip: Clip) -> LiveSource:
    """A clip as a camera: every frame comes at its time, whether somebody is ready for it or not."""

    def pictures() -> Iterator[Picture]:
        begun: float | None = None
        for frame in clip.frames():
            begun = time.monotonic() - frame.time if begun is None else begun
            time.sleep(max(0.0, begun + frame.time - time.monotonic()))
            yield begun + frame.time, frame.pixels

    return LiveSource(pictures())
