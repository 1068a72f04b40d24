"""The sound of a clip beside pictures that are written anew: copied where the container takes it, else as AAC."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from emoca_core.video.video_file import opened

if TYPE_CHECKING:
    AudioPacket = Packet[AudioStream]
else:
    AudioPacket = Packet  # generic in its stubs alone

_COPIED = frozenset({"aac", "mp3", "mp3float", "opus"})
"""What browsers play in an MP4 file."""
_SLOWEST = 16_000
"""Samples a second from which on MP4 takes all of them."""
_CHANGEABLE = ("mpegts", "mpeg")
"""Containers in which sound may become another one in the middle: parts of them are joined by hand."""
_USUAL = 48_000
"""Samples a second of sound at a rate that AAC does not know."""
_BACK = 0.1
"""Seconds by which times may go back before the sound goes on instead; less is what rounding makes of them."""


class Sound:
    """Hands on the sound of a clip, piece by piece, as far as the pictures have come.

    Where its times go back, it goes on, as the pictures do. Sound that cannot be written is left out, and that is said:
    the pictures are worth more.
    """

    def __init__(self, container: InputContainer, output: OutputContainer, start: float, end: float) -> None:
        """Begin.

        Args:
            container: The clip, opened for nothing else.
            output: What is written; before its first packet.
            start: Moment of the clip at which the output begins, seconds since the clip's first frame.
            end: The moment at which it ends.
        """
        self._source: AudioStream = container.streams.audio[0]
        video = container.streams.video[0]
        first = 0.0 if video.start_time is None else float(video.start_time * (video.time_base or 0))
        self._offset, self._length = first + start, end - start
        self._due: float | None = None
        self._last = -(2**63)
        self._output = output
        if _can_be_copied(container, self._source):
            self._stream = output.add_stream_from_template(self._source)
            self._pieces = self._copied(container)
        else:
            self._stream = output.add_stream("aac", rate=_rate(self._source.rate))
            self._stream.codec_context.layout = "mono" if self._source.channels == 1 else "stereo"
            self._stream.codec_context.open()
            self._pieces = self._encoded(container)
        self._waiting: tuple[float, AudioPacket] | None = None

    def write(self, until: float) -> None:
        """Write what sounds before a moment of the output, seconds."""
        while self._waiting is not None or (piece := next(self._pieces, None)) is not None:
            time, packet = self._waiting or piece  # type: ignore[misc]
            self._waiting = (time, packet)
            if time >= min(until, self._length):
                return
            self._waiting = None
            if packet.dts is not None and packet.dts <= self._last:
                continue  # what overlaps where one kind of sound ends and another begins
            self._last = packet.dts if packet.dts is not None else self._last
            packet.stream = self._stream
            try:
                self._output.mux(packet)
            except (av.error.ArgumentError, av.error.InvalidDataError) as error:
                _leave_out(f"its sound from {time:.1f} s on", str(error.strerror))
                self._pieces = iter(())

    def _copied(self, container: InputContainer) -> Iterator[tuple[float, AudioPacket]]:
        for packet in _packets(container, self._source):
            if packet.pts is None or packet.dts is None or not packet.time_base:
                continue
            unit = packet.time_base
            moment = self._placed(float(packet.pts * unit), float((packet.duration or 0) * unit))
            shift = packet.pts - round(moment / unit)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                yield moment, packet

    def _encoded(self, container: InputContainer) -> Iterator[tuple[float, AudioPacket]]:
        encoder = self._stream.codec_context
        for frame in self._resampled(self._decoded(container)):
            yield from _timed(encoder.encode(frame))
        yield from _timed(encoder.encode(None))

    def _resampled(self, frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
        """As the encoder wants them, whatever the sound is and becomes; at times that are counted in samples."""
        encoder = self._stream.codec_context
        rate = encoder.sample_rate
        resampler, known, position = None, None, 0
        for frame in frames:
            moment = self._placed(float(frame.time or 0), frame.samples / frame.sample_rate)
            if moment < 0:
                continue
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if resampler is None or kind != known:
                resampler = av.AudioResampler(format="fltp", layout=encoder.layout, rate=rate)
                known = kind
            if abs(moment * rate - position) > _BACK * rate or not position:
                position = round(moment * rate)
            for piece in map(_finite, resampler.resample(frame)):
                piece.pts, piece.time_base = position, Fraction(1, rate)
                position += piece.samples
                yield piece

    def _decoded(self, container: InputContainer) -> Iterator[AudioFrame]:
        """Pieces that can be decoded, and that know when they sound; a damaged one is silent."""
        damaged, heard = 0, 0
        for packet in _packets(container, self._source):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            heard += len(frames)
            yield from (frame for frame in frames if frame.pts is not None and frame.time_base)
        if damaged and not heard:
            _leave_out("its sound", "it cannot be decoded")

    def _placed(self, time: float, length: float) -> float:
        """When a piece sounds, seconds of the output; pieces whose times go back go on where the one before ended."""
        moment = time - self._offset
        if self._due is not None and moment < self._due - _BACK:
            self._offset -= self._due - moment
            moment = self._due
        self._due = moment + length
        return moment


@contextmanager
def sound_of(path: Path, output: OutputContainer, start: float, end: float) -> Iterator[Sound | None]:
    """The sound of a clip; ``None`` where it has none that can be read.

    Args:
        path: The clip.
        output: What is written; before its first packet.
        start: See ``Sound``.
        end: See ``Sound``.
    """
    with opened(path) as (container, _):
        sounds = [stream for stream in container.streams.audio if stream.codec_context is not None]
        yield Sound(container, output, start, end) if sounds else None


def _can_be_copied(container: InputContainer, stream: AudioStream) -> bool:
    fixed = container.format.name not in _CHANGEABLE
    return fixed and stream.codec_context.name in _COPIED and stream.rate >= _SLOWEST


def _rate(wanted: int) -> int:
    """Samples a second that AAC is encoded with."""
    return wanted if wanted in (av.codec.Codec("aac", "w").audio_rates or ()) else _USUAL


def _finite(frame: AudioFrame) -> AudioFrame:
    """Silence where a damaged piece is no number: no encoder takes it."""
    samples = frame.to_ndarray().astype(np.float32)
    if np.isfinite(samples).all():
        return frame
    mended = AudioFrame.from_ndarray(np.nan_to_num(samples, posinf=0.0, neginf=0.0), "fltp", frame.layout.name)
    mended.sample_rate = frame.sample_rate
    return mended


def _leave_out(what: str, why: str) -> None:
    warnings.warn(f"{what} is left out of the film ({why})", stacklevel=2)


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[AudioPacket]:
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return  # the rest of the file is damaged


def _timed(packets: Iterator[AudioPacket] | list[AudioPacket]) -> Iterator[tuple[float, AudioPacket]]:
    for packet in packets:
        yield float((packet.pts or 0) * packet.time_base), packet
