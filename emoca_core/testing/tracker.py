"""What a tracker promises."""

from collections.abc import Iterator, Sequence

import numpy as np

from emoca_core.interfaces import Detection, Frame, Tracker
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing.common import Subject


def check(subject: Subject[Tracker]) -> None:
    """One number for each detection, no number twice in a frame; steady faces keep theirs; nothing is read ahead."""
    tracker = subject.component
    frames = sample_frames() if subject.sample is None else subject.sample
    answers = list(tracker.track(frames))
    subject.require(len(answers) == len(frames), f"{len(answers)} answers for {len(frames)} frames")
    seen: set[int] = set()
    for number, (frame, answer) in enumerate(zip(frames, answers, strict=True)):
        where = f"frame {number}"
        subject.require(isinstance(answer, tuple) and all(type(n) is int for n in answer), f"{where}: a tuple of ints")
        subject.require(len(answer) == len(frame.detections), f"{where}: one number for each detection")
        subject.require(len(set(answer)) == len(answer), f"{where}: two detections have the same number")
        new = sorted(set(answer) - seen)
        expected = list(range(len(seen), len(seen) + len(new)))
        subject.require(new == expected, f"{where}: new numbers are {new}, must be {expected}")
        seen |= set(answer)
    subject.require(list(tracker.track(frames)) == answers, "must give the same answers again")
    subject.require(list(tracker.track([])) == [], "a video without frames has no answers")
    _check_reading(subject, tracker, frames)
    if subject.sample is None:
        subject.require(answers[:2] == [(0, 1), (1, 0)], "a face that hardly moves must keep its number")


def _check_reading(subject: Subject[Tracker], tracker: Tracker, frames: Sequence[Frame]) -> None:
    read = 0

    def one_by_one() -> Iterator[Frame]:
        nonlocal read
        for frame in frames:
            read += 1
            yield frame

    for answered, _ in enumerate(tracker.track(one_by_one()), 1):
        subject.require(read == answered, "must answer a frame before it asks for the next one")


def sample_frames() -> list[Frame]:
    """Two faces that change places in the list, a frame without faces, and both again."""
    left, right = _face(60.0), _face(220.0)
    order = ((left, right), (_face(222.0), _face(61.0)), (), (left, right))
    return [Frame(number / 25, faces) for number, faces in enumerate(order)]


def _face(x: float) -> Detection:
    points = (40 * frontal_landmarks().numpy() + np.array([x, 80.0])).astype(np.float32)
    box = np.concatenate([points.min(0), points.max(0)])
    return Detection(box=box, score=1.0, landmarks={"ibug68": points})
