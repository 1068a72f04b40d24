"""Video files, decoded by FFmpeg."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from emoca_core.errors import ImageError
from emoca_core.files import open_regular, sha256_of
from emoca_core.images.photos import check_size
from emoca_core.limits import CLIP_BYTES
from emoca_core.video.timed import USUAL_RATE, Part, TimedClip, mean_rate

_STILL = ("image2", "_pipe")
"""How FFmpeg calls its readers of still pictures."""
_NESTED = {"protocol_whitelist": "none"}
"""The file alone is read: a playlist in its place would have FFmpeg open what it names."""
_LEAST_STEP = 1e-4
"""Seconds between frames whose time stamps are equal."""


@dataclass(frozen=True)
class _Index:
    """What the packets of a file say of its frames, in order of presentation.

    Attributes:
        times: Seconds since the first frame.
        stamps: Time stamp of each frame, where each has its own, in order; then frames can be told by it.
        goes_back: How often time stamps go back.
    """

    times: Float[ndarray, "N"]
    stamps: Int[ndarray, "N"] | None
    goes_back: int


@dataclass(frozen=True, kw_only=True)
class VideoFile(TimedClip):
    """A file that FFmpeg decodes.

    Attributes:
        stamps: See ``_Index``; ``None`` means that frames are counted from the file's beginning.
        turn: From the stored x and y (columns) to the shown ones (rows).
    """

    stamps: Int[ndarray, "N"] | None = field(repr=False, compare=False)
    turn: Int[ndarray, "2 2"] = field(repr=False, compare=False)

    def _decoded(self, wanted: Int[ndarray, "K"]) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
        if not len(wanted):
            return
        chosen = set(wanted.tolist())
        for number, frame in self._from(int(wanted[0])):
            if number in chosen and not frame.is_corrupt:
                yield number, _upright(frame, self.size, self.turn)
            if number >= wanted[-1]:
                return

    def _from(self, first: int) -> Iterator[tuple[int, VideoFrame]]:
        """Frames by number, the decoder having jumped near the first one wanted; from the beginning where it cannot."""
        with opened(self.path) as (container, stream):
            if self.stamps is None:
                yield from enumerate(_frames(container, stream))
                return
            if first:
                container.seek(int(self.stamps[first]), stream=stream)
            numbered = self._numbered(_frames(container, stream))
            begin = next(numbered, None)
            if first and (begin is None or begin[0] > first):  # the file's own index is wrong
                container.seek(int(self.stamps[0]), stream=stream)
                numbered = self._numbered(_frames(container, stream))
            elif begin is not None:
                yield begin
            yield from numbered

    def _numbered(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        assert self.stamps is not None
        last = -1
        for frame in frames:
            number = int(np.searchsorted(self.stamps, last if frame.pts is None else frame.pts))
            if last < number < len(self.stamps):
                yield number, frame
                last = number


def open_video(path: Path, part: Part) -> VideoFile:
    """Open a video file.

    Raises:
        ImageError: It is no video, has no pictures, or none that can be decoded.
        OSError: It cannot be read.
    """
    with opened(path) as (container, stream):
        has_sound = bool(container.streams.audio)
        promised, rate = stream.frames, float(stream.average_rate or USUAL_RATE)
        index = _index_of(container, stream, rate)
    if not len(index.times):
        raise ImageError(f"{path}: there are no frames in it. Export or download it again.")
    with opened(path) as (container, stream):
        frame = next(_frames(container, stream), None)
        if frame is None:
            raise ImageError(f"{path}: not a single frame can be decoded. Export or download it again.")
        turn = _turn(frame)
        size = _upright_size(frame, stream, turn)
        check_size(path, *size[::-1])
    numbers = part.numbers(path, index.times)
    return VideoFile(
        path=path,
        sha256=sha256_of(path),
        size=size,
        frame_rate=mean_rate(index.times[numbers], rate),
        length=len(numbers),
        has_sound=has_sound,
        notes=tuple(_notes(index, promised, turn)),
        times=index.times,
        numbers=numbers,
        stamps=index.stamps,
        turn=turn,
    )


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file with its main track of pictures."""
    with open_regular(path, CLIP_BYTES, ImageError) as file:
        try:
            container = av.open(file, "r", options=_NESTED, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            reason = "the file is empty" if not path.stat().st_size else _reason(error)
            raise ImageError(f"{path}: not a video that can be read ({reason}). Export or download it again.") from None
        with container:
            if any(container.format.name.endswith(name) for name in _STILL):
                raise ImageError(f"{path}: it is a still picture, no clip. Give it the name of a picture, as .jpg.")
            videos = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not videos:
                kind = "there is sound alone" if container.streams.audio else "there are no pictures"
                raise ImageError(f"{path}: {kind} in it. Give a file with a video track.")
            videos[0].thread_type = "AUTO"
            yield container, videos[0]


def _index_of(container: InputContainer, stream: VideoStream, rate: float) -> _Index:
    """Look at every packet without decoding it."""
    packets = []
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                packets.append((_number(packet.pts), _number(packet.dts)))
    except av.error.FFmpegError:
        pass  # damaged from here on; what was promised and is not there is in the notes
    if not packets:
        return _Index(np.zeros(0), None, 0)
    presented, decoded = np.array(packets, np.float64).T
    stamps = np.where(np.isnan(presented), decoded, presented)
    seconds = stamps * float(stream.time_base or 1)
    if np.isnan(seconds).any():
        return _Index(np.arange(len(packets)) / rate, None, 0)
    back = np.flatnonzero(np.diff(decoded) < 0) + 1
    ordered = np.unique(presented[~np.isnan(presented)])
    if len(ordered) == len(packets) and not len(back):
        return _Index(np.sort(seconds) - seconds.min(), ordered.astype(np.int64), 0)
    return _Index(_repaired(np.split(seconds, back), rate), None, len(back))


def _number(stamp: int | None) -> float:
    return np.nan if stamp is None else float(stamp)


def _repaired(pieces: list[ndarray], rate: float) -> Float[ndarray, "N"]:
    """Times that grow: each piece goes on where the one before ended, and equal times are moved apart."""
    times, end = [], 0.0
    for piece in pieces:
        times.append(np.sort(piece) - piece.min() + end)
        end = times[-1][-1] + 1 / rate
    joined = np.concatenate(times)
    steps = np.arange(len(joined)) * _LEAST_STEP
    growing: ndarray = np.maximum.accumulate(joined - steps) + steps
    return growing


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames that come out of the decoder; what cannot be decoded is passed over."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue
    except av.error.FFmpegError:
        return  # the rest of the file is damaged


def _notes(index: _Index, promised: int, turn: Int[ndarray, "2 2"]) -> Iterator[str]:
    if promised > len(index.times):
        yield f"incomplete: it holds {len(index.times)} of {promised} frames"
    if index.goes_back:
        yield f"time stamps go back {index.goes_back} times: each time it goes on one frame later"
    if not np.array_equal(turn, np.eye(2)):
        yield "turned upright as its display matrix says"


def _turn(frame: VideoFrame) -> Int[ndarray, "2 2"]:
    """The display matrix in its signs: from the stored x and y (columns) to the shown ones (rows).

    Asked of one frame of a file alone: PyAV's frames that were asked for their side data live until the next garbage
    collection, hundreds of them at once.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2, dtype=int)
    matrix = np.frombuffer(cast(bytes, data), np.int32).reshape(3, 3)  # anything with a buffer
    linear, turn, rows = matrix[:2, :2].T, np.zeros((2, 2), int), [0, 1]
    columns = np.abs(linear).argmax(1)  # angles between are not obeyed
    turn[rows, columns] = np.where(linear[rows, columns] < 0, -1, 1)
    return turn


def _upright_size(frame: VideoFrame, stream: VideoStream, turn: Int[ndarray, "2 2"]) -> tuple[int, int]:
    """Height and width as shown, with square pixels."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    size = frame.height, max(1, round(frame.width * aspect))
    return size[::-1] if turn[0, 0] == 0 else size


def _upright(frame: VideoFrame, size: tuple[int, int], turn: Int[ndarray, "2 2"]) -> UInt8[ndarray, "H W 3"]:
    """The pixels as shown. One thread: a frame would begin and end others for a millisecond of work."""
    lying = turn[0, 0] == 0
    height, width = size[::-1] if lying else size
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, threads=1)
    if lying:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: turn[1].sum(), :: turn[0].sum()])


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
