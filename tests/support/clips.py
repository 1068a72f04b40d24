"""Small clips for tests, written here by PyAV: known frames, times, sound."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 90_000
"""Time stamps a second."""
BITS = 6


def numbered(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame with its number, up to 63, as six dark and bright columns."""
    columns = np.arange(size[1]) * BITS // size[1]
    bright = (number >> columns) & 1
    return np.tile(np.where(bright, 200, 40).astype(np.uint8)[None, :, None], (size[0], 1, 3))


def number_of(pixels: np.ndarray) -> int:
    """Which of the frames of ``numbered`` it is."""
    columns = np.array_split(pixels.mean((0, 2)), BITS)
    return sum(int(column.mean() > 120) << bit for bit, column in enumerate(columns))


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    times: Sequence[float] | None = None,
    *,
    rate: int = 25,
    codec: str = "mpeg4",
    pixel_format: str = "yuv420p",
    sound: bool = False,
    turn: int = 0,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write frames; ``times`` are seconds, evenly spaced by default; ``turn`` is counter-clockwise, degrees."""
    with av.open(str(path), "w", format=container) as out:
        stream, speech = None, out.add_stream("aac", rate=16_000) if sound else None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = out.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = pixel_format
                stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS if times else rate)
                stream.bit_rate = 4_000_000
                if turn:
                    stream.set_display_rotation(turn)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(times[number] * TICKS) if times else number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode())
        if speech is not None:
            _add_tone(out, speech)
    return path


def _add_tone(out, stream, seconds: float = 1.0) -> None:
    samples = (0.3 * np.sin(np.arange(int(16_000 * seconds)) * 0.2)).astype(np.float32)[None]
    for start in range(0, samples.shape[1] - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, start
        out.mux(stream.encode(frame))
    out.mux(stream.encode())
