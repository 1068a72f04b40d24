"""Clips that are written: read back by FFmpeg, with their own times and the sound of the clip that they are from."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from full_disk import room_for

from emoca_core.video import open_clip
from emoca_core.video.sound import Sound
from emoca_core.video.writer import clip_writer

RATE = 48_000
TIMES = np.cumsum([0.0, 0.04, 0.04, 0.12, 0.02, 0.033367, 0.5, 0.04, 0.04, 0.04])


def frames(size=(48, 64)):
    rows = np.arange(size[0])[:, None, None] * 2
    return [np.broadcast_to(rows + 10 * i, (*size, 3)).astype(np.uint8) for i in range(len(TIMES))]


def clip_with_sound(path, codec, lead=0, rate=RATE, layout="mono"):
    """A tone of 440 Hz, silent in the first half second; ``lead`` thousandths of a second before the pictures."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(codec, rate=rate, layout=layout)
        for pixels, time in zip(frames(), TIMES, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = round(1000 * time) + lead, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        at = np.arange(rate) / rate
        tone = 0.5 * np.sin(2 * np.pi * 440 * at) * (at >= 0.5)
        for start in range(0, rate, 960):
            piece = np.tile(tone[start : start + 960], (2 if layout == "stereo" else 1, 1))
            sound = (
                av.AudioFrame.from_ndarray(piece.astype(np.float32), "fltp", layout)
                if codec == "aac"
                else av.AudioFrame.from_ndarray((piece.T.reshape(1, -1) * 32767).astype(np.int16), "s16", layout)
            )
            sound.pts, sound.sample_rate, sound.time_base = start, rate, Fraction(1, rate)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return open_clip(path)


def read(path):
    """Frames, their times, and when it begins to sound."""
    with av.open(str(path)) as container:
        video = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = list(container.decode(audio=0)) if container.streams.audio else []
        pieces, rate = [(f.time, f.to_ndarray()[0]) for f in sound], sound[0].sample_rate if sound else RATE
        codec = container.streams.audio[0].codec_context.name if pieces else ""
    loud = [time + int(np.argmax(np.abs(p) > 0.1)) / rate for time, p in pieces if np.abs(p).max() > 0.1]
    return [t for t, _ in video], [p for _, p in video], (loud[0] if loud else None), codec


def write(path, clip=None, first=0, size=(48, 64)):
    end = TIMES[-1] + 0.04
    with clip_writer(path, size, 25.0, start=TIMES[first], end=end, sound=clip) as writer:
        for pixels, time in list(zip(frames(size), TIMES, strict=True))[first:]:
            writer.write(pixels, float(time))


def test_frames_keep_their_times(tmp_path):
    write(tmp_path / "a.mp4")
    times, pictures, _, codec = read(tmp_path / "a.mp4")
    np.testing.assert_allclose(times, TIMES, atol=1e-4)
    for shown, pixels in zip(pictures, frames(), strict=True):
        assert np.abs(shown.astype(int) - pixels).mean() < 4
    assert codec == ""
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"  # browsers show no other


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "pcm_s16le")])
@pytest.mark.parametrize("lead", [0, 200])
@pytest.mark.parametrize("first", [0, 3])
def test_the_sound_stays_beside_its_pictures(tmp_path, suffix, codec, lead, first):
    """Copied or encoded anew, whether sound or pictures begin first, and when only the end is written."""
    clip = clip_with_sound(tmp_path / f"clip.{suffix}", codec, lead)
    assert clip.has_sound
    write(tmp_path / "a.mp4", clip, first)
    times, _, loud, written = read(tmp_path / "a.mp4")
    assert times[0] == pytest.approx(0, abs=1e-3) and written == "aac"
    assert loud == pytest.approx(0.5 - lead / 1000 - TIMES[first], abs=0.03)  # a piece of AAC is 21 ms


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "written"),
    [("mkv", "pcm_s16le", 192_000, 48_000), ("mkv", "pcm_s16le", 5512, 48_000), ("mkv", "libmp3lame", 8000, 8000)],
)
def test_sound_that_mp4_does_not_take_is_resampled(tmp_path, suffix, codec, rate, written):
    write(tmp_path / "a.mp4", clip_with_sound(tmp_path / f"clip.{suffix}", codec, rate=rate))
    assert read(tmp_path / "a.mp4")[2] == pytest.approx(0.5, abs=0.06)  # a piece of MP3 at 8 kHz is 72 ms
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio[0].rate == written


@pytest.mark.parametrize(
    ("codec", "second"),
    [
        ("aac", {}),
        ("mp2", {}),
        ("aac", {"rate": 24_000, "layout": "stereo"}),
        ("mp2", {"rate": 44_100, "layout": "stereo"}),
    ],
)
def test_sound_whose_times_go_back_goes_on_as_the_pictures_do(tmp_path, codec, second):
    """Two transport streams in one file; the second one may sound otherwise."""
    parts = [clip_with_sound(tmp_path / f"{n}.ts", codec, **more).path for n, more in enumerate(({}, second))]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = open_clip(tmp_path / "joined.ts")
    assert clip.length == 2 * len(TIMES) and "go back" in clip.notes[0]
    with clip_writer(tmp_path / "a.mp4", (48, 64), 25.0, end=float(clip.times[-1]) + 0.04, sound=clip) as writer:
        for time in clip.times:
            writer.write(frames()[0], float(time))
    with av.open(str(tmp_path / "a.mp4")) as container:
        rate = container.streams.audio[0].rate
        pieces = [(frame.time, np.abs(frame.to_ndarray()[0]) > 0.1) for frame in container.decode(audio=0)]
    assert all(after >= before for (before, _), (after, _) in pairwise(pieces))
    loud = np.array([time + int(np.argmax(is_loud)) / rate for time, is_loud in pieces if is_loud.any()])
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-1.0) > 0.2)]
    # the sound of the first part is 0.1 s longer than its pictures, and the second goes on behind it
    np.testing.assert_allclose(begins, [0.5, clip.times[len(TIMES)] + 0.5], atol=0.15)


def test_sound_that_cannot_be_written_leaves_the_pictures(tmp_path, monkeypatch):
    clip = clip_with_sound(tmp_path / "clip.mp4", "aac")
    real = Sound._copied
    monkeypatch.setattr(Sound, "_copied", lambda self, container: backwards(real(self, container)))
    with pytest.warns(UserWarning, match=r"sound from .* s on is left out of the film"):
        write(tmp_path / "a.mp4", clip)
    assert len(read(tmp_path / "a.mp4")[0]) == len(TIMES)


def test_sound_that_is_no_number_is_silent(tmp_path):
    """One damaged sample would stop the encoder, and with it the film."""
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        for pixels in frames():
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(video.encode(None))
        samples = 0.5 * np.sin(np.arange(RATE // 2) / 20).astype(np.float32)[None]
        samples[0, [5000, 9000]] = np.nan, np.inf
        sound = av.AudioFrame.from_ndarray(samples, "flt", "mono")
        sound.pts, sound.sample_rate, sound.time_base = 0, RATE, Fraction(1, RATE)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    write(tmp_path / "b.mp4", open_clip(tmp_path / "a.mov"))
    assert read(tmp_path / "b.mp4")[2:] == (pytest.approx(0, abs=0.03), "aac")


def test_sound_that_cannot_be_decoded_is_said_and_sound_that_lies_elsewhere_is_not(tmp_path, monkeypatch, recwarn):
    clip = clip_with_sound(tmp_path / "clip.mkv", "pcm_s16le")
    with clip_writer(tmp_path / "late.mp4", (48, 64), 25.0, start=5.0, sound=clip) as writer:
        writer.write(frames()[0], 5.0)
    assert not recwarn.list

    def damaged(container, stream):
        yield from (Damaged() for _ in container.demux(stream))

    monkeypatch.setattr("emoca_core.video.sound._packets", damaged)
    with pytest.warns(UserWarning, match="its sound is left out of the film"):
        write(tmp_path / "a.mp4", clip)
    assert len(read(tmp_path / "a.mp4")[0]) == len(TIMES)


class Damaged:
    """A packet that no decoder knows."""

    def decode(self):
        raise av.error.InvalidDataError(1, "damaged")


def backwards(pieces):
    """Packets that are to be shown before they are decoded."""
    for time, packet in pieces:
        packet.pts = packet.dts - 5000
        yield time, packet


def test_sound_is_copied_where_the_container_takes_it(tmp_path):
    clip = clip_with_sound(tmp_path / "clip.mp4", "aac")
    write(tmp_path / "a.mp4", clip)

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    copied, original = packets(tmp_path / "a.mp4"), packets(tmp_path / "clip.mp4")
    assert len(copied) > 40 and copied == original[original.index(copied[0]) :][: len(copied)]


def test_equal_clips_are_byte_equal_and_broken_ones_leave_nothing(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "out").mkdir()
    with pytest.raises(ZeroDivisionError), clip_writer(tmp_path / "out/c.mp4", (48, 64), 25.0) as writer:
        writer.write(frames()[0], 0.0)
        raise ZeroDivisionError
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("missing", [1, 1000, 15_000])
def test_a_full_disk_is_noticed_down_to_the_last_byte(tmp_path, missing):
    def write_noise(path):
        random = np.random.default_rng(0)
        with clip_writer(path, (48, 64), 25.0) as writer:
            for row in range(12):
                writer.write(random.integers(0, 255, (48, 64, 3), dtype=np.uint8), row / 25)

    write_noise(tmp_path / "whole.mp4")
    (tmp_path / "out").mkdir()
    with room_for((tmp_path / "whole.mp4").stat().st_size - missing), pytest.raises(OSError):
        write_noise(tmp_path / "out/a.mp4")
    assert list((tmp_path / "out").iterdir()) == []
