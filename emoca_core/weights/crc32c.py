"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, fast enough for hundreds of megabytes."""

from collections.abc import Callable
from functools import cache
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8, UInt32
from numpy import ndarray

from emoca_core.kernels.threads import compiled

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes | bytearray) -> int:
    """The sum as LevelDB stores it: rotated and shifted, because a CRC of data that holds CRCs is a poor one.

    Source: LevelDB, "Masked CRC"; RFC 3720 appendix B.4 for CRC-32C.
    """
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes | bytearray) -> int:
    """CRC-32C of some bytes."""
    return int(_kernel()(_TABLE, np.frombuffer(data, np.uint8)))


def _table() -> UInt32[ndarray, "256"]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (np.uint32(_POLYNOMIAL) * (table & np.uint32(1)))
    return table


_TABLE = _table()


@cache
def _kernel() -> Callable[[UInt32[ndarray, "256"], UInt8[ndarray, "_"]], np.uint32]:
    """Compiled on first use."""
    return compiled()(_update)


@no_type_check  # keeps run-time shape checkers from wrapping what numba compiles
def _update(table: UInt32[ndarray, "256"], data: UInt8[ndarray, "_"]) -> np.uint32:
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc = table[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)
