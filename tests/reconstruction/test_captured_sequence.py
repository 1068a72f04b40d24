"""One person, times that grow, a code and flags for every frame."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emoca_core.interfaces import FaceParameters
from emoca_core.method import Method
from emoca_core.reconstruction.captured_sequence import CapturedSequence

CODE = FaceParameters(shape=torch.ones(3, 4), expression=torch.arange(6.0).view(3, 2))
TIMES, FLAGS = np.array([0.0, 0.04, 0.08]), (frozenset(), frozenset({"doubtful"}), frozenset())


def sequence(times=TIMES, code=CODE, flags=FLAGS):
    method = Method.__new__(Method)  # the sequence itself does not look at its method
    return CapturedSequence(method, Path("film.mp4"), 0, times, code, flags)


def test_frames_come_with_their_time_code_and_flags():
    whole = sequence()
    assert len(whole) == 3
    assert whole.codes["expression"].shape == (3, 2)
    time, code, flags = list(whole)[1]
    assert (time, flags) == (0.04, {"doubtful"})
    assert code.expression.tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"times": TIMES[:2]}, "2 times, 3 codes and 3 flags"),
        ({"flags": FLAGS[:1]}, "3 times, 3 codes and 1 flags"),
        ({"times": TIMES[::-1]}, "must grow"),
        ({"times": np.array([0.0, np.nan, 1.0])}, "must grow"),
        ({"code": CODE.replace(shape=torch.arange(12.0).view(3, 4))}, "shows one person"),
    ],
)
def test_what_is_no_sequence_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        sequence(**change)
