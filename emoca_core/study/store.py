"""Where answers are kept: one SQLite file, in which an answer is on the disk before the page hears that it arrived."""

import base64
import hashlib
import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoca_core.errors import AssetFormatError, EmocaError, OutputError
from emoca_core.study.design import Study
from emoca_core.study.order import Session, Trial, plan_machine, plan_session

ANSWERS = "answers.sqlite"
_VERSION = 1
"""Of the tables."""
_IDLE_S = 3600.0
"""Seconds after which somebody who has not finished no longer holds a place."""
_FLOOD = 10
"""So many times as many people as are wanted may begin and leave."""
_TRY = "test"
_PEOPLE = "kind = 'person' AND NOT is_try(name)"
_TABLES = """
CREATE TABLE study (digest TEXT NOT NULL);
CREATE TABLE participants (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, texts TEXT NOT NULL,
  choices TEXT NOT NULL, began REAL NOT NULL, active REAL NOT NULL, finished REAL);
CREATE TABLE trials (
  participant INTEGER NOT NULL REFERENCES participants, position INTEGER NOT NULL, kind TEXT NOT NULL,
  picture TEXT, expected TEXT, answer TEXT, milliseconds INTEGER, answered REAL,
  PRIMARY KEY (participant, position)) WITHOUT ROWID;
"""

ParticipantKind = Literal["person", "machine"]


class StudyFullError(EmocaError):
    """Enough people take part already."""


class WrongTrialError(EmocaError):
    """An answer to a trial that is not there, or whose turn has not come."""


class UnknownParticipantError(EmocaError):
    """Somebody who has not begun."""


@dataclass(frozen=True)
class Progress:
    """Where a participant is.

    Attributes:
        done: Trials that are answered.
        total: All trials.
        choices: The answers in the order of the keys.
        trial: What comes now; ``None`` at the end.
        following: The trial after it.
        code: The completion code, once everything is answered.
    """

    done: int
    total: int
    choices: tuple[str, ...]
    trial: Trial | None
    following: Trial | None
    code: str | None


@dataclass(frozen=True)
class Answer:
    """One answered trial, as results read it.

    Attributes:
        participant: Number of the participant.
        position: Of the trial.
        trial: What was shown.
        answer: What was chosen.
        milliseconds: From the picture to the answer.
    """

    participant: int
    position: int
    trial: Trial
    answer: str
    milliseconds: int


@dataclass(frozen=True)
class Participant:
    """Somebody who began.

    Attributes:
        number: In the order of beginning.
        name: From the link; of a machine, that of its network.
        kind: A person or a machine.
        seconds: From the consent to the last answer; ``None`` for those who have not finished.
    """

    number: int
    name: str
    kind: ParticipantKind
    seconds: float | None

    @property
    def is_finished(self) -> bool:
        """Whether everything is answered."""
        return self.seconds is not None


class Store:
    """The answers of one study. Several threads and several processes may use it at once.

    Example: ``with Store.open(folder, study) as store: store.begin("anna")``
    """

    def __init__(self, connection: sqlite3.Connection, study: Study, path: Path) -> None:
        """Use ``open``."""
        self._connection, self._study, self._path = connection, study, path
        self._lock = threading.RLock()

    @classmethod
    def open(cls, folder: Path, study: Study) -> "Store":
        """Open the answers of a study, and begin them where there are none.

        Raises:
            AssetFormatError: They are damaged, or belong to another study.
            OutputError: The folder cannot be written.
        """
        path = folder / ANSWERS
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            store = cls(connection, study, path)
            store._prepare()
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise OutputError(f"{path}: {error}") from error
            if isinstance(error, sqlite3.DatabaseError):
                raise AssetFormatError(f"{path} is damaged: {error}. Put a copy in its place.") from error
            raise
        return store

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    # taking part

    def begin(self, name: str, kind: ParticipantKind = "person", texts: str = "", most: int | None = None) -> Progress:
        """Let somebody take part; whoever has begun goes on.

        Args:
            name: From the link, or of a network.
            kind: Machines see every picture once and nothing else.
            texts: ``digest`` of what was read before.
            most: So many people are wanted.

        Raises:
            StudyFullError: So many take part already.
        """
        with self._writing():
            if (known := self._progress(name)) is not None:
                return known
            if kind == "person" and not is_try(name) and self._is_full(most):
                raise StudyFullError("so many people take part already")
            (number,) = self._one("SELECT coalesce(max(number) + 1, 0) FROM participants")
            session = plan_machine(self._study) if kind == "machine" else self._plan(number)
            now, choices = time.time(), json.dumps(session.choices)
            self._connection.execute(
                "INSERT INTO participants VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (number, name, kind, texts, choices, now, now),
            )
            self._connection.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)",
                [(number, at, one.kind, one.picture, one.expected) for at, one in enumerate(session.trials)],
            )
            return self._known(name)

    def progress(self, name: str) -> Progress | None:
        """Where a participant is; ``None`` for somebody who has not begun."""
        with self._lock:
            return self._progress(name)

    def is_full(self, most: int | None) -> bool:
        """Whether so many people take part, or have taken part, that nobody else may begin."""
        with self._lock:
            return self._is_full(most)

    def answer(self, name: str, position: int, label: str, milliseconds: int) -> Progress:
        """Keep an answer. It is on the disk when this returns; an answer that comes twice counts once, as at first.

        Raises:
            UnknownParticipantError: They have not begun.
            WrongTrialError: The participant has no such trial, its turn has not come, or there is no such choice.
        """
        with self._writing():
            before = self._known(name)
            if label not in before.choices:
                raise WrongTrialError(f"'{label[:80]}' is not among the choices")
            if not 0 <= position <= before.done or position >= before.total:
                raise WrongTrialError(f"trial {position} is not the turn of this participant")
            if position < before.done:
                return before
            (number,) = self._one("SELECT number FROM participants WHERE name = ?", name)
            now = time.time()
            self._connection.execute(
                "UPDATE trials SET answer = ?, milliseconds = ?, answered = ? WHERE participant = ? AND position = ?",
                (label, milliseconds, now, number, position),
            )
            self._connection.execute(
                "UPDATE participants SET active = ?, finished = ? WHERE number = ?",
                (now, now if position + 1 == before.total else None, number),
            )
            return self._known(name)

    def forget(self, name: str) -> bool:
        """Delete somebody with all answers, as they may ask; whether there was anything to delete."""
        with self._writing():
            found = self._connection.execute("SELECT number FROM participants WHERE name = ?", (name,)).fetchone()
            if found is None:
                return False
            self._connection.execute("DELETE FROM trials WHERE participant = ?", found)
            self._connection.execute("DELETE FROM participants WHERE number = ?", found)
            return True

    # reading

    def participants(self) -> list[Participant]:
        """Everybody who began, in order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT number, name, kind, finished - began FROM participants ORDER BY number"
            )
            return [Participant(*row) for row in rows]

    def answers(self) -> list[Answer]:
        """Every answer, practice and catch trials included."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT participant, position, kind, picture, expected, answer, milliseconds FROM trials "
                "WHERE answer IS NOT NULL ORDER BY participant, position"
            )
            return [
                Answer(participant, position, Trial(kind, picture, expected), answer, milliseconds)
                for participant, position, kind, picture, expected, answer, milliseconds in rows
            ]

    # inside

    def _prepare(self) -> None:
        run = self._connection.execute
        self._connection.create_function("is_try", 1, is_try, deterministic=True)
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        with self._writing():
            (version,) = self._one("PRAGMA user_version")
            if version == 0 and self._one("SELECT count(*) FROM sqlite_master") == (0,):
                for statement in filter(str.strip, _TABLES.split(";")):
                    run(statement)
                run("INSERT INTO study VALUES (?)", (self._study.digest,))
                run(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise AssetFormatError(f"{self._path} was written by another version of this program ({version})")
            (digest,) = run("SELECT digest FROM study").fetchone()
            if digest != self._study.digest:
                raise AssetFormatError(f"{self._path} holds answers to another study than the one beside it")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing, and nobody else writes meanwhile."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _one(self, query: str, *values: object) -> tuple[int, ...]:
        row: tuple[int, ...] = self._connection.execute(query, values).fetchone()
        return row

    def _known(self, name: str) -> Progress:
        if (known := self._progress(name)) is None:
            raise UnknownParticipantError("this participant has not begun")
        return known

    def _progress(self, name: str) -> Progress | None:
        row = self._connection.execute("SELECT number, choices FROM participants WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        number, choices = row
        done, total = self._one("SELECT count(answer), count(*) FROM trials WHERE participant = ?", number)
        rows = self._connection.execute(
            "SELECT kind, picture, expected FROM trials WHERE participant = ? AND position >= ? "
            "ORDER BY position LIMIT 2",
            (number, done),
        )
        coming = [Trial(*values) for values in rows] + [None, None]
        code = completion_code(self._study, name) if done == total else None
        return Progress(done, total, tuple(json.loads(choices)), coming[0], coming[1], code)

    def _plan(self, number: int) -> Session:
        """Faces are given away evenly over those who finished or are still at it."""
        face_of = {one.id: one.face for one in self._study.stimuli}
        rows = self._connection.execute(
            "SELECT participant, picture FROM (SELECT number FROM participants "
            f"WHERE {_PEOPLE} AND (finished IS NOT NULL OR active > ?)) CROSS JOIN trials ON participant = number "
            "WHERE kind = 'picture'",
            (time.time() - _IDLE_S,),
        )
        given = {(participant, face_of[picture]) for participant, picture in rows}
        shown = [0] * len(self._study.faces)
        for _, face in given:
            if face is not None:
                shown[face] += 1
        return plan_session(self._study, number, shown)

    def _is_full(self, most: int | None) -> bool:
        if most is None:
            return False
        holding, everybody = self._one(
            "SELECT count(*) FILTER (WHERE finished IS NOT NULL OR active > ?), count(*) FROM participants "
            f"WHERE {_PEOPLE}",
            time.time() - _IDLE_S,
        )
        return holding >= most or everybody >= _FLOOD * most


def is_try(name: str) -> bool:
    """Whether a name is that of a try of the experimenter, which takes no place and never counts."""
    return name.startswith(_TRY)


def completion_code(study: Study, name: str) -> str:
    """What a participant is shown at the end, who can prove with it to have finished."""
    mark = hmac.new(bytes.fromhex(study.key), name.encode(), hashlib.sha256).digest()
    return base64.b32encode(mark)[:8].decode()
