"""Every kind of picture file is read, and every kind of bad one is one clear line."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from emoca_core.errors import ImageError
from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import ALPHA_BACKGROUND, read_photo
from emoca_core.limits import PHOTO_PIXELS

COLOR = (200, 100, 50)
PHONE = Path(__file__).with_name("phone.heic")
"""As a phone writes it: ``plain`` stored 40 x 30 with the order to turn it by 90 degrees (libheif 1.23, quality 50)."""


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
    "header_only.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged HEIC"),
    "truncated.heic": (lambda: PHONE.read_bytes()[:-60], "damaged HEIC"),
    "broken.heic": (lambda: PHONE.read_bytes()[:400] + b"\xff" * 243, "damaged HEIC"),
    "camera.cr2": (lambda: encoded(plain(), "TIFF"), "camera raw"),
    "clip.jpg": (lambda: b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "it is a video"),
    "pointer.jpg": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "noise.jpg": (lambda: bytes(range(256)) * 20, "not a picture"),
    "truncated.jpg": (lambda: encoded(plain((400, 300)), "JPEG")[:-800], "damaged or incomplete"),
    "truncated.png": (lambda: encoded(plain((400, 300)))[:-300], "damaged or incomplete"),
    "header_only.jpg": (lambda: encoded(plain(), "JPEG")[:20], "not a picture|damaged or incomplete"),
    "broken_chunk.png": (lambda: encoded(plain()).replace(b"IDAT", b"IDAX"), "not a picture|damaged or incomplete"),
    "one_pixel.png": (lambda: encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels are too few"),
    "line.png": (lambda: encoded(Image.new("RGB", (5000, 2))), "too few"),
    "bomb.png": (lambda: png_header(20_000, 20_000), "too many pixels"),
    "large.png": (
        lambda: png_header(11_000, 10_000),
        "11000 x 10000: 110,000,000 pixels are more than the limit",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    make, reason = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(ImageError, match=reason) as caught:
        read_photo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and message.endswith((".", "raises it)"))
    error = caught.value
    assert error.__context__ is None or error.__suppress_context__, "no decoder's traceback under it"


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="it is a folder, which is not read"):
        read_photo(tmp_path)
    for name in ("a\0b.jpg", "x" * 300 + ".jpg"):
        with pytest.raises(ImageError, match="cannot be read"):
            read_photo(tmp_path / name)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="no such file"):
        read_photo(tmp_path / "dangling.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_would_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for name, kind in (("pipe", "a named pipe"), ("zero", "a device"), ("socket", "a socket")):
            with pytest.raises(ImageError, match=f"{name}.jpg: it is {kind}, which is not read"):
                read_photo(tmp_path / f"{name}.jpg")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.jpg"
    path.write_bytes(encoded(plain(), "JPEG"))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root, who runs tests in containers, may read everything
    with pytest.raises(ImageError, match=r"cannot be read \(Permission denied\). Check its name and permissions"):
        read_photo(path)


def test_oversized_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(encoded(plain()))
    monkeypatch.setenv("EMOCA_LIMIT_PHOTO_BYTES", "10")
    with pytest.raises(ImageError, match=r"mine.png: \d+ bytes are more than the limit of 10"):
        read_photo(path)


def test_limit_is_above_what_cameras_make() -> None:
    assert PHOTO_PIXELS.default >= 12_000 * 8_000


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


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("colour", [False, True])
def test_fewer_bits_in_sixteen(tmp_path: Path, bits: int, suffix: str, colour: bool) -> None:
    """Cameras and scanners store 10 or 12 bits in 16: white is their own, not 65535."""
    levels = np.linspace(0, 255, 400).reshape(20, 20).round()
    expected = np.stack([levels, levels[::-1], levels.T] if colour else [levels] * 3, -1)
    stored = np.rint(expected * (2**bits - 1) / 255).astype(np.uint16)
    path = tmp_path / f"scan.{suffix}"
    if colour:
        assert cv2.imwrite(str(path), stored[..., ::-1])
    else:
        Image.fromarray(stored[..., 0]).save(path)
    photo = read_photo(path)
    np.testing.assert_allclose(photo.pixels, expected, atol=1)  # Pillow keeps the upper byte of full 16-bit colour
    (note,) = photo.notes
    assert note.startswith("16-bit") and note.endswith("scaled to 8 bits")
    assert (f"with a white level of {2**bits - 1}" in note) == (bits < 16)


def test_deep_colour_is_upright_and_laid_on_grey(tmp_path: Path) -> None:
    stored = np.zeros((30, 40, 4), np.uint16)
    stored[:15, :20] = (4095, 0, 0, 4095)  # blue, green, red, alpha
    assert cv2.imwrite(str(tmp_path / "a.png"), stored)
    pixels = read_photo(tmp_path / "a.png").pixels
    assert tuple(pixels[5, 5]) == (0, 0, 255) and tuple(pixels[-5, -5]) == (ALPHA_BACKGROUND,) * 3


def test_heic_of_a_phone(tmp_path: Path) -> None:
    photo = read_photo(PHONE)
    assert photo.size == (40, 30), "turned as the file says"
    np.testing.assert_allclose(photo.pixels[5, 25], (10, 20, 240), atol=12)
    np.testing.assert_allclose(photo.pixels[35, 5], COLOR, atol=12)
    (tmp_path / "photo.jpg").write_bytes(PHONE.read_bytes())
    assert (read_photo(tmp_path / "photo.jpg").pixels == photo.pixels).all(), "whatever its name says"
    assert find_photos(PHONE.parent) == [PHONE, PHONE.with_name("ten_bits.heic")]


def test_heic_of_ten_bits() -> None:
    photo = read_photo(PHONE.with_name("ten_bits.heic"))
    assert photo.size == (32, 40)
    np.testing.assert_allclose(photo.pixels, np.broadcast_to(COLOR, (32, 40, 3)), atol=3)


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


def test_shared_photos_are_all_read(shared: Path) -> None:
    paths = find_photos(shared / "data" / "photos")
    assert len(paths) == 20
    for path in paths:
        height, width = read_photo(path).size
        assert min(height, width) >= 400
