"""Answers are kept: once, in order, for this study, whatever happens to the process."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from square_study import answer_all, make_squares

from emoca_core.errors import AssetFormatError
from emoca_core.study import store as stores
from emoca_core.study.store import (
    ANSWERS,
    Store,
    StudyFullError,
    UnknownParticipantError,
    WrongTrialError,
    completion_code,
)


def test_somebody_answers_everything_and_gets_a_code(store, study):
    now = store.begin("anna")
    assert (now.done, now.total, now.code) == (0, 2 + 4 * 3 + 2, None)
    end = answer_all(store, "anna", lambda trial: None)
    assert end.trial is end.following is None
    assert end.code == completion_code(study, "anna") != completion_code(study, "bert")
    assert len(store.answers()) == now.total
    assert store.participants()[0].is_finished


def test_an_answer_counts_once_and_only_when_its_turn_has_come(store):
    with pytest.raises(UnknownParticipantError):
        store.answer("anna", 0, "happy", 5)
    store.begin("anna")
    first = store.answer("anna", 0, "happy", 500)
    assert store.answer("anna", 0, "sad", 900) == first
    assert [(one.answer, one.milliseconds) for one in store.answers()] == [("happy", 500)]
    for position, label in ((2, "happy"), (99, "happy"), (-1, "happy"), (1, "joy"), (1, "")):
        with pytest.raises(WrongTrialError):
            store.answer("anna", position, label, 500)
    assert len(store.answers()) == 1


def test_an_answer_after_the_end_is_not_one_more(store):
    end = answer_all(store, "anna", lambda trial: None)
    with pytest.raises(WrongTrialError):
        store.answer("anna", end.total, "happy", 5)
    assert store.answer("anna", end.total - 1, "sad", 5) == end


def test_whoever_begins_again_goes_on(folder, study):
    with Store.open(folder, study) as store:
        before = store.begin("anna")
        store.answer("anna", 0, "happy", 500)
    with Store.open(folder, study) as store:
        after = store.begin("anna")
        assert (after.done, after.trial, after.choices) == (1, before.following, before.choices)
        assert store.progress("bert") is None


def test_faces_are_balanced_over_those_who_stay(store, study, monkeypatch):
    face_of = {one.id: one.face for one in study.stimuli}
    for number in range(12):
        store.begin(f"p{number}")
    with closing(sqlite3.connect(store._path)) as look:
        rows = look.execute("SELECT DISTINCT participant, picture FROM trials WHERE kind = 'picture'").fetchall()
    counts = Counter(face for _, face in {(who, face_of[picture]) for who, picture in rows})
    assert set(counts.values()) == {12 * 4 // 6}
    # nobody finished, and all have left: their faces are free again
    monkeypatch.setattr(stores, "_IDLE_S", -1.0)
    assert store._plan(99) == stores.plan_session(study, 99, [0] * 6)


def test_only_so_many_people_are_let_in_but_all_go_on(store, monkeypatch):
    store.begin("anna", most=1)
    with pytest.raises(StudyFullError):
        store.begin("bert", most=1)
    assert store.is_full(1) and not store.is_full(2) and not store.is_full(None)
    assert store.begin("anna", most=1).done == 0
    monkeypatch.setattr(stores, "_IDLE_S", -1.0)  # she left without finishing: her place is free
    store.begin("bert", most=1)
    monkeypatch.setattr(stores, "_FLOOD", 2)  # but nobody can fill the disk by beginning again and again
    with pytest.raises(StudyFullError):
        store.begin("carl", most=1)


def test_tries_of_the_experimenter_take_no_place(store, study):
    answer_all(store, "test", lambda trial: None, most=1)
    assert not store.is_full(1)
    store.begin("anna", most=1)
    assert store.begin("test-2", most=1).done == 0
    shown = [0] * 6
    for face in {study.pictures()[t.picture].face for t in stores.plan_session(study, 1, shown).trials if t.picture}:
        if face is not None:
            shown[face] = 1
    assert store._plan(9) == stores.plan_session(study, 9, shown)  # anna's faces alone


@pytest.mark.parametrize("name", ["TESTER1", "Testa", "100", "tes"])
def test_only_names_that_begin_with_small_test_are_tries(store, name):
    store.begin(name, most=1)
    with pytest.raises(StudyFullError):
        store.begin("TESTER2", most=1)
    assert store.begin("tester", most=1).done == 0


def test_whoever_asks_is_forgotten(folder, store):
    for name in ("anna", "bert"):
        answer_all(store, name, lambda trial: None)
    assert store.forget("anna") and not store.forget("anna")
    assert [one.name for one in store.participants()] == ["bert"]
    assert {one.participant for one in store.answers()} == {1}
    assert store.begin("carl").done == 0
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"anna" not in (folder / ANSWERS).read_bytes() and b"bert" in (folder / ANSWERS).read_bytes()


def test_machines_take_no_place(store):
    store.begin("machine:a", kind="machine")
    assert not store.is_full(1)


def test_many_threads_and_two_stores_lose_nothing(folder, study):
    with Store.open(folder, study) as one, Store.open(folder, study) as other, ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(answer_all, (one, other)[n % 2], f"p{n}", lambda trial: None) for n in range(16)]
        ends = [job.result() for job in jobs]
        assert all(end.code for end in ends)
        assert len(one.answers()) == 16 * ends[0].total
        assert sorted(p.number for p in one.participants()) == list(range(16))


def test_an_answer_that_was_confirmed_survives_kill(folder, study):
    """The process is killed at a moment of its own: whatever it had confirmed is there, and no half of anything."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from emoca_core.study.design import read_study
        from emoca_core.study.store import Store
        folder = Path(sys.argv[1])
        store = Store.open(folder, read_study(folder))
        for person in range(10**6):
            now = store.begin(f"p{person}")
            while now.trial:
                now = store.answer(f"p{person}", now.done, now.choices[0], 5)
                print(person, now.done, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    confirmed = [process.stdout.readline() for _ in range(40)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += process.stdout.readlines()
    process.communicate()
    person, done = map(int, [line for line in confirmed if line.endswith("\n") and len(line.split()) == 2][-1].split())
    with Store.open(folder, study) as store:
        total = store.progress("p0").total
        stored = Counter(one.participant for one in store.answers())
        assert all(stored[earlier] == total for earlier in range(person))
        assert done <= stored[person] <= done + 1  # one may have been stored, and not yet confirmed
        assert store.begin(f"p{person}").done == stored[person]


def test_connections_write_through_to_the_disk(store):
    assert store._one("PRAGMA synchronous") == (2,)  # FULL
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4096])
def test_a_damaged_file_is_named(folder, study, content):
    (folder / ANSWERS).write_bytes(content)
    with pytest.raises(AssetFormatError, match="is damaged"):
        Store.open(folder, study)


def test_answers_belong_to_one_study_and_one_version(folder, study, tmp_path):
    Store.open(folder, study).close()
    other = make_squares(tmp_path / "other")
    with pytest.raises(AssetFormatError, match="another study"):
        Store.open(folder, other)
    with closing(sqlite3.connect(folder / ANSWERS)) as raw:
        raw.execute("PRAGMA user_version = 7")
    with pytest.raises(AssetFormatError, match="another version"):
        Store.open(folder, study)
