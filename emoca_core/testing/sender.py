"""What a sender promises."""

import numpy as np

from emoca_core.interfaces import LiveFace, LiveFrame, Sender
from emoca_core.testing.common import Subject


def check(subject: "Subject[Sender]") -> None:
    """It opens, sends frames with and without a face unchanged, can be closed twice and opened again."""
    sender = subject.component
    subject.require(bool(sender.address.strip()), "address must say where it sends to")
    sender.close()  # before it was opened
    for _ in range(2):
        with sender:
            for frame in sample_frames():
                picture, values = frame.picture.copy(), np.array([]) if frame.face is None else frame.face.arkit.copy()
                subject.require(sender.send(frame) is None, "send returns nothing")
                subject.require(np.array_equal(frame.picture, picture), "must not change the picture")
                same = frame.face is None or np.array_equal(frame.face.arkit, values)
                subject.require(same, "must not change the values")
            sender.show_person(b"glTF")
        sender.close()


def sample_frames() -> list[LiveFrame]:
    """A face, no face, and a face without a place."""
    picture, turn = np.zeros((48, 64, 3), np.uint8), np.eye(3)
    values, eyes = np.linspace(0, 1, 52), np.stack([turn, turn])
    faces = (LiveFace(values, turn, eyes, np.array([0.0, 0.1, -0.6])), None, LiveFace(values, turn, eyes))
    return [LiveFrame(number, number / 30, 0.02, 0, picture, face) for number, face in enumerate(faces)]
