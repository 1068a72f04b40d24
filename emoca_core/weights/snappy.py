"""Snappy decompression: TensorFlow 1.1 compressed the index of its checkpoints with it."""

from emoca_core.limits import HEADER_BYTES


def snappy_decompress(data: bytes) -> bytes:
    """Decompress one raw Snappy block (no framing).

    Raises:
        ValueError: The block is damaged.

    Source: "Snappy compressed format description", google/snappy format_description.txt.
    """
    length, position = _varint(data)
    HEADER_BYTES.check(length, "a Snappy block")
    out = bytearray()
    while position < len(data) and len(out) <= length:
        tag = data[position]
        position += 1
        if tag & 3 == 0:
            size = (tag >> 2) + 1
            if size > 60:  # 61..64 say that the size follows in 1..4 bytes
                extra = size - 60
                size = int.from_bytes(data[position : position + extra], "little") + 1
                position += extra
            out += data[position : position + size]
            position += size
        else:
            size, offset, position = _copy(data, tag, position)
            if not 0 < offset <= len(out):
                raise ValueError("a Snappy copy reaches before the start")
            start = len(out) - offset
            for index in range(size):  # byte by byte: a copy may overlap what it writes
                out.append(out[start + index])
    if len(out) != length:
        raise ValueError("a Snappy block has the wrong length")
    return bytes(out)


def _copy(data: bytes, tag: int, position: int) -> tuple[int, int, int]:
    """Size, offset back and next position of a copy with a 1-, 2- or 4-byte offset."""
    if tag & 3 == 1:
        return ((tag >> 2) & 7) + 4, ((tag >> 5) << 8) | data[position], position + 1
    width = 2 if tag & 3 == 2 else 4
    return (tag >> 2) + 1, int.from_bytes(data[position : position + width], "little"), position + width


def _varint(data: bytes) -> tuple[int, int]:
    value = 0
    for index in range(5):
        value |= (data[index] & 0x7F) << (7 * index)
        if data[index] < 0x80:
            return value, index + 1
    raise ValueError("the length of a Snappy block is too long")
