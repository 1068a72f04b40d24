"""Clips come frame by frame with their true times, upright, whole or in part; every bad file is one clear line."""

import gc
import io
import os
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import number_of, numbered, write_clip
from PIL import Image

from emoca_core.errors import EmocaError, ImageError, ParamsError
from emoca_core.video import is_clip, open_clip

TIMES = [0.0, 0.04, 0.08, 0.28, 0.3, 0.5, 1.0, 1.02, 1.5, 1.54]


def seen(clip, first: int = 0) -> list[tuple[int, float, int]]:
    """Number, time and what the picture shows, of every frame."""
    return [(frame.number, round(frame.time, 3), number_of(frame.pixels)) for frame in clip.frames(first)]


def even(count: int, rate: float = 25) -> list[tuple[int, float, int]]:
    return [(number, round(number / rate, 3), number) for number in range(count)]


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.mp4", "libx264", "yuv420p"),  # B-frames: decoded in another order than shown
        ("a.mkv", "libx264", "yuv444p"),
        ("a.mov", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p10le"),
    ],
    ids=lambda value: value.lstrip("a."),
)
def test_every_container_and_codec(tmp_path, name, codec, format):
    path = write_clip(tmp_path / name, map(numbered, range(20)), codec=codec, pixel_format=format)
    clip = open_clip(path)
    assert (clip.size, clip.length, clip.has_sound, clip.notes) == ((48, 64), 20, False, ())
    assert clip.frame_rate == pytest.approx(25, rel=1e-3)
    assert seen(clip) == even(20) == seen(clip), "every call begins anew"
    assert seen(clip, first=13) == even(20)[13:]
    assert seen(clip, first=20) == []


def test_colours_are_those_of_the_picture(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32], pixels[:24, 32:], pixels[24:, :32] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    clip = open_clip(write_clip(tmp_path / "a.mp4", [pixels] * 2))
    for frame in clip.frames():
        assert frame.pixels.dtype == np.uint8 and frame.pixels.flags.c_contiguous
        assert np.abs(frame.pixels[4:20, 4:28].astype(int) - pixels[10, 10]).max() < 12
        assert np.abs(frame.pixels[28:44, 4:28].astype(int) - pixels[40, 10]).max() < 12


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_times_are_the_files_own(tmp_path, name):
    clip = open_clip(write_clip(tmp_path / name, map(numbered, range(10)), TIMES, codec="libx264"))
    assert seen(clip) == [(n, pytest.approx(t, abs=1e-3), n) for n, t in enumerate(TIMES)]
    assert clip.frame_rate == pytest.approx(9 / 1.54, rel=1e-2)


def test_a_part(tmp_path):
    path = write_clip(tmp_path / "a.mp4", map(numbered, range(30)), codec="libx264", options={"g": "8"})
    assert seen(open_clip(path, start=0.4, end=0.8)) == even(30)[10:20]
    clip = open_clip(path, start=0.4, every=3)
    assert seen(clip) == even(30)[10::3] and clip.length == 7 and clip.frame_rate == pytest.approx(25 / 3)
    assert seen(clip, first=14) == even(30)[16::3], "numbers do not depend on where reading begins"
    with pytest.raises(ImageError, match=r"a\.mp4: no frame between 5 s and the end; the clip is 1\.16 s long"):
        open_clip(path, start=5.0)
    for wrong in ({"start": -1.0}, {"start": float("nan")}, {"start": 2.0, "end": 1.0}, {"every": 0}):
        with pytest.raises(ParamsError):
            open_clip(path, **wrong)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_some_frames(tmp_path, monkeypatch, name):
    monkeypatch.setattr("emoca_core.video.timed._FAR", 6)
    if name == "a.gif":
        clip = open_clip(animated(tmp_path / name, [40] * 30))
    else:
        clip = open_clip(write_clip(tmp_path / name, map(numbered, range(30)), codec="libx264", options={"g": "8"}))
    assert [number_of(frame.pixels) for frame in clip.at([3, 5, 6, 20, 29])] == [3, 5, 6, 20, 29]
    assert list(clip.at([])) == []


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_phone_held_upright(tmp_path, turn):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32], pixels[:24, 32:], pixels[24:, :32] = 250, 170, 90
    clip = open_clip(write_clip(tmp_path / "a.mp4", [pixels] * 3, turn=turn))
    expected = np.rot90(pixels, turn // 90)
    assert clip.size == expected.shape[:2] and bool(clip.notes) == (turn != 0)
    for frame in clip.frames():
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 8


def test_a_mirrored_picture(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :20] = 200
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90, hflip=True)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    (frame,) = open_clip(path).frames()
    assert np.abs(frame.pixels.astype(int) - np.rot90(pixels)[:, ::-1]).mean() < 8


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    path = tmp_path / "dv.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(3), format="rgb24")))
        out.mux(stream.encode())
    clip = open_clip(path)
    assert clip.size == (48, 128) and next(clip.frames()).pixels.shape == (48, 128, 3)


@pytest.mark.parametrize("size", [(47, 63), (17, 16), (1080, 33)])
def test_odd_sizes(tmp_path, size):
    clip = open_clip(write_clip(tmp_path / "a.mkv", [numbered(2, size)] * 3, codec="ffv1", pixel_format="bgr0"))
    assert clip.size == size and [frame.pixels.shape for frame in clip.frames()] == [(*size, 3)] * 3


def test_sound_and_one_frame_and_240_frames_a_second(tmp_path):
    clip = open_clip(write_clip(tmp_path / "a.mp4", [numbered(7)], sound=True))
    assert clip.has_sound and clip.length == 1 and seen(clip) == [(0, 0.0, 7)] and clip.frame_rate > 0
    clip = open_clip(write_clip(tmp_path / "fast.mp4", map(numbered, range(40)), rate=240))
    assert clip.frame_rate == pytest.approx(240) and seen(clip) == even(40, 240)


@pytest.mark.parametrize("turn", [0, 90])
def test_frames_that_were_read_are_gone(tmp_path, turn):
    """Without waiting for a garbage collection: 200 decoded frames of 8K would be 10 GB, each with its own threads."""
    clip = open_clip(write_clip(tmp_path / "a.mp4", map(numbered, range(60)), turn=turn))
    gc.collect()
    gc.disable()
    try:
        alive = max(sum(type(one) is av.VideoFrame for one in gc.get_objects()) for _ in clip.frames())
    finally:
        gc.enable()
    assert 0 < alive < 12, "the decoder's threads hold a few"


@pytest.mark.slow
def test_8k(tmp_path):
    clip = open_clip(
        write_clip(
            tmp_path / "a.mp4", [numbered(n, (4320, 7680)) for n in range(3)], codec="mjpeg", pixel_format="yuvj420p"
        )
    )
    assert clip.size == (4320, 7680) and [n for n, _, _ in seen(clip)] == [0, 1, 2]


def test_time_stamps_that_go_back(tmp_path):
    """Two recordings, one behind the other in one file, as stream recorders leave them."""
    one, two = (
        write_clip(tmp_path / f"{start}.ts", map(numbered, range(start, start + 10)), codec="mpeg2video")
        for start in (0, 20)
    )
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    clip = open_clip(both)
    assert "time stamps go back" in " ".join(clip.notes) and clip.length == 20
    frames = seen(clip)
    assert [shown for _, _, shown in frames] == [*range(10), *range(20, 30)]
    assert all(earlier[1] < later[1] for earlier, later in pairwise(frames))
    assert frames[-1][1] == pytest.approx(19 / 25, abs=0.05)
    assert seen(clip, first=12) == frames[12:]


def test_damaged_frames_are_left_out_and_the_rest_keeps_its_numbers(tmp_path):
    path = write_clip(
        tmp_path / "a.mkv", map(numbered, range(30)), codec="libx264", options={"g": "5", "bf": "0", "crf": "10"}
    )
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    position, size = places[10]
    content[position + 20 : position + size] = bytes(size - 20)
    path.write_bytes(content)
    clip = open_clip(path)
    frames = seen(clip)
    assert [number for number, _, _ in frames] == [*range(10), *range(11, 30)]
    assert frames[:10] == even(10) and frames[-15:] == even(30)[-15:]


def test_an_incomplete_file_gives_what_it_holds(tmp_path):
    path = write_clip(
        tmp_path / "a.mp4", map(numbered, range(50)), codec="libx264", options={"g": "5"}, container="mp4", sound=True
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="not a video that can be read"):  # its table of contents was at the end
        open_clip(path)
    streamed = write_clip(tmp_path / "a.ts", map(numbered, range(50)), codec="libx264", options={"g": "5", "crf": "5"})
    streamed.write_bytes(streamed.read_bytes()[: streamed.stat().st_size // 2])
    frames = seen(open_clip(streamed))
    assert 5 < len(frames) < 45
    assert all(earlier[0] < later[0] for earlier, later in pairwise(frames))
    assert [shown for _, _, shown in frames] == [round(time * 25) for _, time, _ in frames]


def animated(path: Path, shown: list[int], **options) -> Path:
    first, *rest = [Image.fromarray(numbered(number)) for number in range(len(shown))]
    first.save(path, save_all=True, append_images=rest, duration=shown, **options)
    return path


@pytest.mark.parametrize(("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})])
def test_animated_pictures(tmp_path, name, options):
    path = animated(tmp_path / name, [100, 200, 50, 100], **options)
    clip = open_clip(path)
    assert is_clip(path) == (name != "a.png") and (clip.length, clip.size) == (4, (48, 64))
    assert seen(clip) == [(0, 0.0, 0), (1, 0.1, 1), (2, 0.3, 2), (3, 0.35, 3)]
    assert seen(open_clip(path, start=0.1, every=2), first=2) == [(3, 0.35, 3)]


def test_a_folder_of_numbered_frames(tmp_path):
    for number in (8, 9, 10, 12):
        Image.fromarray(numbered(number)).save(tmp_path / f"shot_{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = open_clip(tmp_path, frame_rate=10.0)
    assert seen(clip) == [(0, 0.0, 8), (1, 0.1, 9), (2, 0.2, 10), (4, 0.4, 12)] and clip.length == 5
    before = clip.sha256
    (tmp_path / "shot_9.png").write_bytes(b"damaged")
    Image.fromarray(numbered(1, (50, 50))).save(tmp_path / "shot_11.png")  # of another size
    clip = open_clip(tmp_path, frame_rate=10.0)
    assert seen(clip) == [(0, 0.0, 8), (2, 0.2, 10), (4, 0.4, 12)] and clip.sha256 != before
    Image.fromarray(numbered(1)).save(tmp_path / "shot_08.png")
    with pytest.raises(ImageError, match="the same number"):
        open_clip(tmp_path)


def sound_only(path: Path) -> Path:
    return write_clip(path, [], sound=True)


def no_frames(path: Path) -> Path:
    with av.open(str(path), "w", format="avi") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    return path


def written(content: bytes):
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


def picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered(3)).save(buffer, format)
    return buffer.getvalue()


def too_small(path: Path) -> Path:
    return write_clip(path, [numbered(1, (8, 8))] * 2, codec="ffv1", pixel_format="bgr0", container="matroska")


BAD = {
    "sound.mp4": (sound_only, "there is sound alone in it"),
    "empty.mp4": (written(b""), "the file is empty"),
    "none.avi": (no_frames, "there are no frames in it"),
    "text.mp4": (written(b"not a clip\n" * 40), "not a video that can be read"),
    "still.mp4": (written(picture("JPEG")), "it is a still picture"),
    "still.mov": (written(picture("PNG")), "it is a still picture"),
    "still.gif": (written(picture("GIF")), "it is a still picture"),
    "half.webp": (written(picture("WEBP")[:30]), "damaged or incomplete|not a picture"),
    "list.mp4": (written(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n"), "not a video that can be read"),
    "small.mkv": (too_small, "8 x 8 pixels are too few"),
    "pipe.mp4": (lambda path: os.mkfifo(path) or path, "a named pipe"),
    "gone.mp4": (lambda path: path, "no such file"),
    "folder": (lambda path: path.mkdir() or path, "no pictures with numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(tmp_path, name):
    make, reason = BAD[name]
    path = make(tmp_path / name)
    with pytest.raises(EmocaError, match=reason) as caught:
        list(open_clip(path).frames())
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message


def test_a_file_that_goes_away(tmp_path):
    path = write_clip(tmp_path / "a.mp4", map(numbered, range(3)))
    clip = open_clip(path)
    path.unlink()
    with pytest.raises(ImageError, match="no such file"):
        list(clip.frames())


def test_what_is_a_clip(tmp_path):
    assert is_clip(Path("a.MP4")) and is_clip(Path("a.mkv")) and not is_clip(Path("a.jpg"))
    for name, still in [("s.gif", "GIF"), ("s.webp", "WEBP"), ("s.png", "PNG")]:
        assert not is_clip(written(picture(still))(tmp_path / name))
    assert not is_clip(written(b"x")(tmp_path / "broken.gif"))
    bomb = b"GIF89a" + 2 * b"\x60\xea" + 3 * b"\0" + b"," + 4 * b"\0" + 2 * b"\x60\xea" + b"\0\x02\0;"
    assert not is_clip(written(bomb)(tmp_path / "bomb.gif"))
    with pytest.raises(ImageError, match=r"bomb\.gif: "):
        open_clip(tmp_path / "bomb.gif")
