"""Every kind of picture file is read, and every kind of bad one is one clear line."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoca_core.errors import ImageError
from emoca_core.images import photos
from emoca_core.images.photos import ALPHA_BACKGROUND, MAX_PIXELS, find_photos, natural_key, read_photo

COLOR = (200, 100, 50)


def plain(size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Width 40, height 30; its top left quarter is marked."""
    image = Image.new("RGB", size, COLOR)
    image.paste((10, 20, 240), (0, 0, size[0] // 2, size[1] // 2))
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A few bytes that promise a huge picture."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + ihdr + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "empty"),
    "text.jpg": (lambda: b"not a picture at all\n", "it is a text file"),
    "page.jpg": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "it is a web page"),
    "drawing.png": (lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "vector drawing"),
    "report.png": (lambda: b"%PDF-1.7 ...\x00\xff", "PDF"),
    "phone.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    "clip.jpg": (lambda: b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "it is a video"),
    "pointer.jpg": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "noise.jpg": (lambda: bytes(range(256)) * 20, "not a picture"),
    "truncated.jpg": (lambda: encoded(plain((400, 300)), "JPEG")[:-800], "damaged or incomplete"),
    "truncated.png": (lambda: encoded(plain((400, 300)))[:-300], "damaged or incomplete"),
    "header_only.jpg": (lambda: encoded(plain(), "JPEG")[:20], "not a picture|damaged or incomplete"),
    "broken_chunk.png": (lambda: encoded(plain()).replace(b"IDAT", b"IDAX"), "not a picture|damaged or incomplete"),
    "one_pixel.png": (lambda: encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels are too few"),
    "line.png": (lambda: encoded(Image.new("RGB", (5000, 2))), "too few"),
    "bomb.png": (lambda: png_header(20_000, 20_000), "more"),
    "large.png": (lambda: png_header(11_000, 10_000), "11000 x 10000 pixels are more than the limit"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    make, reason = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(ImageError, match=reason) as caught:
        read_photo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and message.endswith(".")
    error = caught.value
    assert error.__context__ is None or error.__suppress_context__, "no decoder's traceback under it"


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="folder, not a photo"):
        read_photo(tmp_path)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="no such file"):
        read_photo(tmp_path / "dangling.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_photo(tmp_path / "pipe.jpg")  # and does not wait for a writer


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.jpg"
    path.write_bytes(encoded(plain(), "JPEG"))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root, who runs tests in containers, may read everything
    with pytest.raises(ImageError, match=r"cannot be read \(Permission denied\). Check its permissions"):
        read_photo(path)


def test_oversized_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(encoded(plain()))
    monkeypatch.setattr(photos, "MAX_BYTES", 10)
    with pytest.raises(ImageError, match="larger than"):
        read_photo(path)


def test_limit_is_above_what_cameras_make() -> None:
    assert MAX_PIXELS >= 12_000 * 8_000


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_rotation(tmp_path: Path, orientation: int, format: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = plain().transpose(undo[orientation]) if orientation in undo else plain()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    path.write_bytes(encoded(stored, format, exif=exif))
    photo = read_photo(path)
    assert photo.size == (30, 40)
    # JPEG and WebP change colours by a few levels
    np.testing.assert_allclose(photo.pixels[5, 5], (10, 20, 240), atol=12)
    np.testing.assert_allclose(photo.pixels[25, 35], COLOR, atol=12)
    assert bool(photo.notes) == (orientation != 1)


def test_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    path.write_bytes(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG"))
    photo = read_photo(path)
    np.testing.assert_allclose(photo.pixels[16, 16], (255, 0, 0), atol=4)
    assert photo.notes == ("converted from CMYK",)


@pytest.mark.parametrize(
    ("array", "level"),
    [
        (np.full((20, 20), 32896, np.uint16), 128),
        (np.full((20, 20), 32896, np.int32), 128),
        (np.full((20, 20), 77, np.int32), 77),
        (np.full((20, 20), 0.5, np.float32), 128),
        (np.full((20, 20), 77.0, np.float32), 77),
    ],
    ids=["16-bit", "32-bit integer", "32-bit integer of 8-bit values", "float of 0-1", "float of 8-bit values"],
)
def test_deep_grey(tmp_path: Path, array: np.ndarray, level: int) -> None:
    path = tmp_path / "deep.tiff"
    Image.fromarray(array).save(path)
    photo = read_photo(path)
    assert photo.pixels.shape == (20, 20, 3) and (photo.pixels == level).all()
    assert "scaled to 8 bits" in photo.notes[0]


def test_deep_grey_with_holes(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[3, 3] = np.nan
    values[4, 4] = np.inf
    Image.fromarray(values).save(tmp_path / "depth.tiff")
    pixels = read_photo(tmp_path / "depth.tiff").pixels
    assert pixels[3, 3, 0] == pixels[4, 4, 0] == 0 and pixels[-1, -1, 0] == 255


def test_16_bit_png(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 32896, np.uint16)).save(tmp_path / "deep.png")
    assert (read_photo(tmp_path / "deep.png").pixels == 128).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "YCbCr"])
def test_other_colours(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.tiff"
    Image.new("RGB", (20, 20), (255, 255, 255)).convert(mode).save(path)
    np.testing.assert_allclose(read_photo(path).pixels, 255, atol=1)


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_alpha_is_laid_on_grey(tmp_path: Path, alpha: int) -> None:
    path = tmp_path / "cutout.png"
    Image.new("RGBA", (20, 20), (*COLOR, alpha)).save(path)
    photo = read_photo(path)
    share = alpha / 255
    expected = np.rint(np.array(COLOR) * share + ALPHA_BACKGROUND * (1 - share))
    np.testing.assert_allclose(photo.pixels[9, 9], expected, atol=1)
    assert bool(photo.notes) == (alpha < 255), "an opaque alpha channel is nothing to mention"


def test_transparent_palette(tmp_path: Path) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 10, 20))
    image.save(tmp_path / "icon.png", transparency=0)
    pixels = read_photo(tmp_path / "icon.png").pixels
    assert tuple(pixels[5, 15]) == (ALPHA_BACKGROUND,) * 3 and tuple(pixels[5, 5]) == (0, 255, 0)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_several(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (20, 20), (level, level, level)) for level in (60, 120, 180)]
    path = tmp_path / "animated"
    path.write_bytes(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    photo = read_photo(path)
    np.testing.assert_allclose(photo.pixels, 60, atol=3)
    assert photo.notes[0] == "first of 3 frames"


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(encoded(plain()))
    photo = read_photo(str(path))
    assert photo.size == (30, 40) and photo.path == path and not photo.notes
    assert len(photo.sha256) == 64
    assert photo.pixels.flags.c_contiguous and photo.pixels.flags.writeable


def make(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_find_photos_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "10.jpg", "2.jpg", "1.JPG", "notes.txt", ".hidden.jpg", ".cache/a.jpg", "sub/3.webp", "2b.jpg")
    names = [str(path.relative_to(tmp_path)) for path in find_photos(tmp_path)]
    assert names == ["1.JPG", "2.jpg", "2b.jpg", "10.jpg", os.path.join("sub", "3.webp")]


def test_find_photos_keeps_the_order_of_inputs_and_names_each_once(tmp_path: Path) -> None:
    b, a, text = make(tmp_path, "b.jpg", "a.jpg", "letter.txt")
    assert find_photos([b, tmp_path, a]) == [b, a]
    assert find_photos(text) == [text], "a file named directly is kept: reading it says what is wrong"
    assert find_photos(str(tmp_path / "[ab].jpg")) == [a, b]
    (odd,) = make(tmp_path, "odd[1].jpg")
    assert find_photos(str(odd)) == [odd], "an existing file wins over a pattern"


def test_find_photos_recursive_glob_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = make(tmp_path, "x/y/1.jpg", "x/2.png", "x/3.txt")[:2]
    assert set(find_photos(str(tmp_path / "**" / "*"))) == set(deep)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_photos("~/x/2.png") == [deep[1]]


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "no such file or folder"), ("*.jpg", "no photo matches"), ("", "no photos in")]
)
def test_find_photos_finds_nothing(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        find_photos(tmp_path / name)


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match=r"cannot be listed \(Permission denied\)"):
        find_photos(tmp_path)


def test_natural_key() -> None:
    names = ["a10.jpg", "a9.jpg", "a.jpg", "B1.jpg", "a09x.jpg"]
    assert sorted(names, key=natural_key) == ["a.jpg", "a9.jpg", "a09x.jpg", "a10.jpg", "B1.jpg"]


def test_shared_photos_are_all_read(shared: Path) -> None:
    paths = find_photos(shared / "data" / "photos")
    assert len(paths) == 20
    for path in paths:
        height, width = read_photo(path).size
        assert min(height, width) >= 400
