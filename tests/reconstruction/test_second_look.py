"""Who passes for a face at first, and is nobody at a second look."""

from dataclasses import replace

import numpy as np
import pytest
from toy_clips import ByNote, Reader, frame, toy_clip

from emoca_core.reconstruction import reconstruct_sequence
from emoca_core.reconstruction.quality import Limit


@pytest.fixture
def method(build_method):
    made = build_method()
    made.landmarker, made.tracker = Reader(), ByNote()
    return made


@pytest.mark.parametrize(("steady", "others", "people"), [((), -5.0, 1), ((10,), -5.0, 2), ((), 5.0, 2)])
def test_who_is_nobody_at_a_second_look_is_no_person(tmp_path, method, monkeypatch, steady, others, people):
    """A logo that passes for a face: the landmarker is not sure of it, and a second look finds no sign of one."""
    signs = [Limit("movement", 0.05, False, "moves", "{:.2f}"), Limit("second_opinion", 0.0, True, "no face", "{:.1f}")]
    monkeypatch.setattr("emoca_core.reconstruction.quality.LIMITS", signs)
    looked = []

    def look_again(photo, faces):
        number = int(photo[0, 1, 1]) - 60
        looked.append(number)
        moves = 0.01 if number in steady else np.inf
        return [replace(face, movement=moves, second_opinion=others) for face in faces]

    monkeypatch.setattr(method.landmarker, "look_again", look_again)
    frames = [frame([(1, 60 + n, 60), (3, 60 + n, 90)]) for n in range(21)]  # of the third one, it is 0.7 sure
    found = reconstruct_sequence(method, toy_clip(tmp_path / "a", frames), track="all")
    assert len(found) == people
    assert looked == ([0, 10, 20] if people == 1 else [0, 10] if steady else [0]), "and the first one not at all"
