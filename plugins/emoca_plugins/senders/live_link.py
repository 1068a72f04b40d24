"""Packets of Epic's app Live Link Face: Unreal Engine takes them without further set-up."""

import struct
import uuid

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field

from emoca_core.export.angles import yaw_pitch_roll
from emoca_core.interfaces import LiveFace, LiveFrame, Sender
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.live_link import FROM_ARKIT
from emoca_plugins.senders.datagrams import Datagrams

_VERSION = 6
_RATE = 60
"""Frames a second that the packets' frame number counts in; the app's default."""


class LiveLink(Sender):
    """52 ARKit values and the rotations of head and eyes (radians) by UDP, a packet for each frame with a face.

    In Unreal Engine, the plugins Live Link and Apple ARKit Face Support show the subject by its name.

    Source: packets of the app Live Link Face, version 6, as receivers read them (github.com/JimWest/PyLiveLinkFace).
    """

    class Params(ComponentParams):
        """Where to."""

        host: str = "127.0.0.1"
        """Name or address of the machine that runs the engine."""
        port: int = Field(default=11111, ge=1, le=65535)
        """Its port; the engine's default."""
        subject: str = Field(default="EMOCA", min_length=1, max_length=100)
        """Name of the subject in the engine."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.address = f"{self.params.host}:{self.params.port} (UDP, Live Link Face, subject {self.params.subject})"
        self._device = str(uuid.uuid5(uuid.NAMESPACE_DNS, self.params.subject)).upper()
        self._datagrams: Datagrams | None = None

    def open(self) -> None:
        self._datagrams = Datagrams(self.params.host, self.params.port)

    def send(self, frame: LiveFrame) -> None:
        if self._datagrams is not None and frame.face is not None:
            self._datagrams.send(packet(self._device, self.params.subject, frame.time, _values(frame.face)))

    def close(self) -> None:
        if self._datagrams is not None:
            self._datagrams.close()
        self._datagrams = None


def packet(device: str, subject: str, time: float, values: Float[ndarray, "N"]) -> bytes:
    """One packet: version, device, subject, qualified frame time, and how many values follow.

    Args:
        device: Any text that stays the same.
        subject: Name that the engine shows.
        time: Seconds.
        values: In the order of the app's recordings.
    """
    frame, part = divmod(time * _RATE, 1.0)
    names = b"".join(struct.pack(">i", len(text)) + text for text in (device.encode(), subject.encode()))
    moment = struct.pack(">ifii", int(frame) % 2**31, part, _RATE, 1)
    return struct.pack(">B", _VERSION) + names + moment + struct.pack(f">B{len(values)}f", len(values), *values)


def _values(face: LiveFace) -> Float[ndarray, "61"]:
    angles = yaw_pitch_roll(np.concatenate([face.head[None], face.eyes]))
    return np.concatenate([face.arkit[FROM_ARKIT], angles.ravel()])
