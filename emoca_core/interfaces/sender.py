"""A live capture to other programs."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.interfaces.component import Component


@dataclass(frozen=True)
class LiveFace:
    """The face of one moment.

    Attributes:
        arkit: The 52 values in [0, 1] in the order of ``emoca_core.vocabulary.arkit.ARKIT_NAMES``.
        head: Rotation of the head against the camera: x to the subject's left, y up, z out of the face.
        eyes: Rotation of the left and of the right eye in the head.
        position: Of the head from the camera, in the same axes, metres; ``None`` for methods without a camera.
        emotion: ``valence`` and ``arousal`` in [-1, 1], probabilities of classes as ``emotion.NAME``; what is not known
            is not there.
    """

    arkit: Float[ndarray, "52"]
    head: Float[ndarray, "3 3"]
    eyes: Float[ndarray, "2 3 3"]
    position: Float[ndarray, "3"] | None = None
    emotion: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveFrame:
    """One moment of a live capture.

    Attributes:
        number: Of the captured frame, counted from 0; frames that were dropped have none.
        time: When the camera gave it, seconds since the capture began.
        latency: From the camera to this object, seconds.
        dropped: Frames that came too late and were left out, up to now.
        picture: The frame, RGB.
        face: The largest face; ``None`` where none is found.
    """

    number: int
    time: float
    latency: float
    dropped: int
    picture: UInt8[ndarray, "H W 3"]
    face: LiveFace | None = None


class Sender(Component):
    """Sends a live capture to another program. A context manager: sockets are open inside the ``with`` block.

    Nothing here waits: what a receiver does not take in time is dropped.

    Attributes:
        address: Where it sends to, or where it listens, for people.
    """

    address: str

    @abstractmethod
    def open(self) -> None:
        """Open sockets.

        Raises:
            EmocaError: There is no such address, or the port is in use; says what to do.
        """

    @abstractmethod
    def send(self, frame: LiveFrame) -> None:
        """Send one frame; frames come in order."""

    @abstractmethod
    def close(self) -> None:
        """Close what ``open`` opened, if it did."""

    def show_person(self, head: bytes) -> None:
        """Called when the person is known, and again when they are known better; perhaps from another thread.

        Args:
            head: Their head at rest with the 52 targets, as GLB.
        """
        return None

    def __enter__(self) -> "Sender":
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
