"""The protocol of Virtual Motion Capture, which programs for VTubers understand."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from pydantic import Field

from emoca_core.geometry.rotations import matrix_to_quaternion
from emoca_core.interfaces import LiveFace, LiveFrame, Sender
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.live_link import FROM_ARKIT, LIVE_LINK_VALUES
from emoca_plugins.senders.datagrams import Datagrams

_UNITY = np.diag([-1.0, 1.0, 1.0])
"""Our axes (x to the subject's left) to those of Unity (left-handed, x to the subject's right), and back."""

Message = tuple[str, Sequence[float | str]]
"""Address and arguments."""


class Vmc(Sender):
    """52 blend shapes and the bones of head and eyes as one OSC bundle by UDP for each frame.

    VSeeFace, Warudo, VNyan, EVMC4U, VMC4UE and others listen; blend shapes have the names of "perfect sync".

    Source: VMC protocol, protocol.vmc.info (performer to marionette); Open Sound Control 1.0.
    """

    class Params(ComponentParams):
        """Where to."""

        host: str = "127.0.0.1"
        """Name or address of the machine that shows the character."""
        port: int = Field(default=39539, ge=1, le=65535)
        """Its port; the protocol's default."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.address = f"{self.params.host}:{self.params.port} (UDP, VMC protocol)"
        self._datagrams: Datagrams | None = None

    def open(self) -> None:
        self._datagrams = Datagrams(self.params.host, self.params.port)

    def send(self, frame: LiveFrame) -> None:
        if self._datagrams is not None:
            self._datagrams.send(bundle(frame))

    def close(self) -> None:
        if self._datagrams is not None:
            self._datagrams.close()
        self._datagrams = None


def bundle(frame: LiveFrame) -> bytes:
    """All messages of one frame; without a face only that the sender lives and sees none."""
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    built = OscBundleBuilder(IMMEDIATELY)
    messages: list[Message] = [("/VMC/Ext/OK", [int(frame.face is not None)]), ("/VMC/Ext/T", [frame.time])]
    messages += [] if frame.face is None else _messages(frame.face)
    for address, values in messages:
        message = OscMessageBuilder(address=address)
        for value in values:
            message.add_arg(value)
        built.add_content(message.build())
    return bytes(built.build().dgram)


def _messages(face: LiveFace) -> list[Message]:
    shapes = zip(LIVE_LINK_VALUES, face.arkit[FROM_ARKIT].tolist(), strict=True)
    turns = _quaternions(np.concatenate([face.head[None], face.eyes])).tolist()
    bones = zip(("Head", "LeftEye", "RightEye"), turns, strict=True)
    return [
        *(("/VMC/Ext/Bone/Pos", [bone, 0.0, 0.0, 0.0, *turn]) for bone, turn in bones),
        *(("/VMC/Ext/Blend/Val", [name, value]) for name, value in shapes),
        ("/VMC/Ext/Blend/Apply", []),
    ]


def _quaternions(rotations: Float[ndarray, "N 3 3"]) -> Float[ndarray, "N 4"]:
    """x, y, z, w in Unity's axes."""
    w_first = matrix_to_quaternion(torch.from_numpy(_UNITY @ rotations @ _UNITY)).numpy()
    return np.roll(w_first, -1, axis=1)
