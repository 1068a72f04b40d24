"""``emoca benchmark`` in two processes: both do their share, one writes and goes on."""

from pathlib import Path

from launch import run_workers


def test_two_processes_share_the_parts(tmp_path):
    done = run_workers(str(Path(__file__).with_name("shared_parts.py")), str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = [file.read_text() for file in sorted(tmp_path.iterdir())]
    assert found == ["0 [0, 1, 2]", "1 [3, 4, 5]", "0 [6, 7, 8]", "1 [9]"]
