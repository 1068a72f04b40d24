"""Tables of ARKit values: whatever programs write is read, or refused in one line that says where."""

import numpy as np
import pytest

from emoca_core.errors import AssetFormatError
from emoca_core.export.angles import rotation_of_angles, yaw_pitch_roll
from emoca_core.retargeting.arkit_table import read_arkit_table
from emoca_core.testing.sample_sequence import sample_sequence
from emoca_core.vocabulary.arkit import ARKIT_NAMES, arkit_name
from emoca_plugins.exporters.arkit_csv import ArkitCsv


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def column(table, name):
    return table.values[:, ARKIT_NAMES.index(name)]


def test_what_this_program_writes_is_read_again(tmp_path):
    sequence = sample_sequence()
    (file,) = ArkitCsv().export_sequence(sequence, tmp_path)
    table = read_arkit_table(file.path, 25.0)
    np.testing.assert_allclose(table.values, sequence.arkit, atol=1e-6)  # six decimals
    np.testing.assert_allclose(table.times, sequence.times - sequence.times[0], atol=1e-3)  # of the time code
    assert table.head is not None and table.head.shape == (len(sequence), 3) and table.notes == ()


def test_other_orders_cases_and_separators(tmp_path):
    text = "jaw_open;MOUTH_SMILE_L;head.eyeBlinkRight;time\n0.5;0.25;1;3.0\n0.75;0;0;3.5\n"
    table = read_arkit_table(written(tmp_path / "a.csv", text))
    assert column(table, "jawOpen").tolist() == [0.5, 0.75] and column(table, "mouthSmileLeft").tolist() == [0.25, 0]
    assert column(table, "eyeBlinkRight").tolist() == [1, 0] and table.times.tolist() == [0, 0.5] and table.head is None
    (note,) = table.notes
    assert note.startswith("no column for 48 of the 52 values") and "browDownLeft" in note  # the tongue is not missed


@pytest.mark.parametrize(
    ("codes", "rate", "times"),
    [
        (["10:00:00:28.5", "10:00:00:29.5", "10:00:01:00.5"], None, [0, 1 / 30, 2 / 30]),
        (["10:00:00:22", "10:00:00:23", "10:00:01:00", "10:00:01:01"], None, [0, 1 / 24, 2 / 24, 3 / 24]),
        (["10:00:00:20", "10:00:00:21", "10:00:01:08"], None, [0, 1 / 60, 48 / 60]),  # a gap, which tells nothing
        (["10:00:00:10.0", "10:00:00:11.0"], None, [0, 1 / 60]),  # one second does not tell: the app's default
        (["10:00:00;10", "10:00:00;11"], 25.0, [0, 1 / 25]),
    ],
)
def test_time_codes(tmp_path, codes, rate, times):
    text = "Timecode,JawOpen\n" + "".join(f"{code},0\n" for code in codes)
    table = read_arkit_table(written(tmp_path / "a.csv", text), rate)
    np.testing.assert_allclose(table.times, times, atol=1e-9)
    assert any("does not tell" in note for note in table.notes) == (rate is None and times[1] == 1 / 60)


def test_what_was_assumed_or_left_out_is_said(tmp_path):
    every = ",".join(ARKIT_NAMES)
    rows = [",".join(["80"] * 52 + [f"{time}"]) for time in (0, 20, 20, 10, 40)]
    table = read_arkit_table(written(tmp_path / "a.csv", f"{every},timestamp_ms\n" + "\n".join(rows)))
    assert table.times.tolist() == [0, 0.02, 0.04] and (table.values == 0.8).all()
    assert table.notes == ("values are taken for percent", "2 of 5 rows are left out: their time does not grow")
    bare = read_arkit_table(written(tmp_path / "b.csv", "jawOpen\n0\n1\n"))
    assert bare.times.tolist() == [0, 1 / 60] and any("--fps" in note for note in bare.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("jawOpen,time\n", "is empty"),
        ("a,b\n1,2\n", "no column with an ARKit name"),
        ("jawOpen,time\n0,0\nx,1\n", "line 3, column jawOpen: 'x' is no number"),
        ("jawOpen,mouthPucker\n0,0\n1\n", "line 3, column mouthPucker: the row ends before it"),
        ("jawOpen,mouthPucker\n0,nan\n", "line 2, column mouthPucker"),
        ("Timecode,jawOpen\nnoon,0\n", "line 2: 'noon' is no time code"),
        ("jawOpen,Jaw_Open\n0,0\n", "are both jawOpen"),
    ],
)
def test_damage_is_one_line_that_says_where(tmp_path, text, said):
    with pytest.raises(AssetFormatError) as error:
        read_arkit_table(written(tmp_path / "a.csv", text))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_every_name_is_found_in_every_spelling():
    for name in ARKIT_NAMES:
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        short = name.replace("Left", "_L").replace("Right", "_R")
        spellings = [name, name.upper(), snake, name[0].upper() + name[1:], f"Wolf3D_Head.{name}", short]
        assert [arkit_name(spelling) for spelling in spellings] == [name] * len(spellings)
    assert [arkit_name(name) for name in ("HeadYaw", "Timecode", "Basis", "viseme_aa", "open")] == [None] * 5


def test_angles_become_the_rotation_that_they_are_of():
    angles = np.random.default_rng(0).uniform(-1.2, 1.2, (20, 3))
    np.testing.assert_allclose(yaw_pitch_roll(rotation_of_angles(angles)), angles, atol=1e-12)
