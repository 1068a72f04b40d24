"""Writing clips: H.264 in MP4, each frame at its own time, with the sound of another clip."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.files import atomic_write
from emoca_core.interfaces import Clip
from emoca_core.video.sound import Sound, sound_of

_CLOCK = 90_000
"""Ticks of the time stamps in a second: thousandths of common frame rates are whole numbers of them."""
_CODECS = {
    "libx264": {"preset": "ultrafast", "crf": "22"},
    "libopenh264": {},
    "h264_videotoolbox": {},
    "mpeg4": {"qscale": "4"},
}
"""What encodes, the best first, as far as FFmpeg was built with it."""


class ClipWriter:
    """Takes the frames of a clip in order."""

    def __init__(self, container: OutputContainer, stream: VideoStream, start: float, sound: Sound | None) -> None:
        """Begin.

        Args:
            container: What is written.
            stream: Of pictures.
            start: Time of the first frame, seconds.
            sound: What sounds beside.
        """
        self._container, self._stream, self._start, self._sound = container, stream, start, sound
        self._last = -1

    def write(self, pixels: UInt8[ndarray, "H W 3"], time: float) -> None:
        """Append a frame.

        Args:
            pixels: RGB, of the size that was given.
            time: Seconds; grows from frame to frame.
        """
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.time_base = Fraction(1, _CLOCK)
        frame.pts = self._last = max(round((time - self._start) * _CLOCK), self._last + 1)
        if self._sound is not None:
            self._sound.write(time - self._start)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what encoders still hold."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.write(float("inf"))


@contextmanager
def clip_writer(
    path: Path,
    size: tuple[int, int],
    rate: float,
    *,
    start: float = 0.0,
    end: float = float("inf"),
    sound: Clip | None = None,
) -> Iterator[ClipWriter]:
    """A new MP4 file, which appears whole or not at all.

    Args:
        path: Where it shall appear.
        size: Height and width of the frames, pixels; both even.
        rate: Frames a second, usually; what players are told.
        start: Time of the first frame, seconds since the first frame of ``sound``.
        end: When the last frame ends.
        sound: Whose sound track is taken along, if it has one.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path) as temporary, ExitStack() as stack:
        container = stack.enter_context(
            av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"})
        )
        stream = _video_stream(container, size, rate)
        track = None
        if sound is not None and sound.has_sound:
            track = stack.enter_context(sound_of(sound.sound_file, container, start, end))
        writer = ClipWriter(container, stream, start, track)
        yield writer
        writer.finish()


def _video_stream(container: OutputContainer, size: tuple[int, int], rate: float) -> VideoStream:
    name = next(name for name in _CODECS if name in av.codecs_available and _encodes(name))
    stream = container.add_stream(name, rate=Fraction(rate).limit_denominator(1001), options=_CODECS[name])
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream


def _encodes(name: str) -> bool:
    try:
        return isinstance(av.codec.Codec(name, "w").create(), VideoCodecContext)
    except (av.error.FFmpegError, ValueError):
        return False
