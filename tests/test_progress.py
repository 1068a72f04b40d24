"""Progress on a terminal and in a log."""

import re
import sys
import time
from pathlib import Path

import pytest

import emoca_core.progress
from emoca_core.progress import progress_bar

ROOT = Path(__file__).parents[1]


def work(steps=6, seconds=0.03, **options):
    for _ in progress_bar(range(steps), label="finding faces", unit="part", **options):
        time.sleep(seconds)


def test_a_log_gets_whole_lines_now_and_then(monkeypatch, capsys):
    assert not sys.stderr.isatty()
    monkeypatch.setattr(emoca_core.progress, "INTERVAL", 0.05)
    work()
    written = capsys.readouterr().err
    assert "\r" not in written
    lines = written.splitlines()
    assert 2 <= len(lines) <= 6
    assert all(re.fullmatch(r"finding faces: \d of 6 parts, 00:00 passed, \S+ left, \S+part/s", line) for line in lines)
    assert lines[-1].startswith("finding faces: 6 of 6")


def test_short_work_adds_nothing_to_a_log(capsys):
    work(seconds=0)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(seconds=0)
    assert "\rfinding faces:" in capsys.readouterr().err


def test_hidden_is_hidden_everywhere(monkeypatch, capsys):
    monkeypatch.setattr(emoca_core.progress, "INTERVAL", 0.0)
    work(seconds=0, hidden=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["emoca_core", "plugins"])
def test_all_progress_is_shown_by_one_function(folder):
    files = [p for p in sorted((ROOT / folder).rglob("*.py")) if p != Path(emoca_core.progress.__file__)]
    assert files
    assert [str(p.relative_to(ROOT)) for p in files if re.search(r"\btqdm\(", p.read_text())] == []
