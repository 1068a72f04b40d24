"""The sound of a clip beside pictures that are written anew: copied where the container takes it, else as AAC."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from emoca_core.video.video_file import opened

if TYPE_CHECKING:
    AudioPacket = Packet[AudioStream]
else:
    AudioPacket = Packet  # generic in its stubs alone

_COPIED = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus"})
"""What players expect in an MP4 file."""


class Sound:
    """Hands on the sound of a clip, piece by piece, as far as the pictures have come."""

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
        self._output = output
        if self._source.codec_context.name in _COPIED:
            self._stream = output.add_stream_from_template(self._source)
            self._pieces = self._copied(container)
        else:
            self._stream = output.add_stream("aac", rate=self._source.rate)
            self._pieces = self._encoded(container)
        self._waiting: tuple[float, AudioPacket] | None = None

    def write(self, until: float) -> None:
        """Write what sounds before a moment of the output, seconds."""
        while self._waiting is not None or (piece := next(self._pieces, None)) is not None:
            time, packet = self._waiting or piece  # type: ignore[misc]
            self._waiting = (time, packet)
            if time >= min(until, self._length):
                return
            packet.stream = self._stream
            self._output.mux(packet)
            self._waiting = None

    def _copied(self, container: InputContainer) -> Iterator[tuple[float, AudioPacket]]:
        for packet in _packets(container, self._source):
            if packet.pts is None or packet.dts is None or not packet.time_base:
                continue
            shift = round(self._offset / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                yield float(packet.pts * packet.time_base), packet

    def _encoded(self, container: InputContainer) -> Iterator[tuple[float, AudioPacket]]:
        encoder = self._stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=self._source.layout, rate=self._source.rate)
        for packet in _packets(container, self._source):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged piece is silent
            for frame in frames:
                if frame.pts is None or not frame.time_base:
                    continue
                frame.pts -= round(self._offset / frame.time_base)
                if frame.pts >= 0:
                    yield from _timed(p for f in resampler.resample(frame) for p in encoder.encode(f))
        yield from _timed(encoder.encode(None))


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


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[AudioPacket]:
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return  # the rest of the file is damaged


def _timed(packets: Iterator[AudioPacket] | list[AudioPacket]) -> Iterator[tuple[float, AudioPacket]]:
    for packet in packets:
        yield float((packet.pts or 0) * packet.time_base), packet
