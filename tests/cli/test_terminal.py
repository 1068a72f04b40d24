"""What the terminal gets: no control characters of names, one line for every end, documented exit codes."""

import gc
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emoca_core import cli
from emoca_core.cli import main
from emoca_core.errors import CatalogueError

EMOCA = [sys.executable, "-m", "emoca_core"]
ROOT = Path(__file__).parents[2]
DISK_FULL, TORCH = OSError(28, "No space left on device"), "DefaultCPUAllocator: can't allocate memory"


class Panic(BaseException):
    """As libraries written in Rust raise."""


FAULTS = {
    "assertion": AssertionError("a bug"),
    "plugin ends the program": SystemExit("bye"),
    "no text": KeyError(),
    "several lines": TypeError("first\nsecond"),
    "panic": Panic("index out of bounds"),
    "recursion": RecursionError("maximum recursion depth exceeded"),
    "escapes": ValueError("\x1b[2J"),
}


@pytest.fixture
def failing(monkeypatch):
    """``emoca list`` that fails in a way of one's choice."""

    def fail(error):
        def run(args):
            raise error

        monkeypatch.setattr("emoca_core.cli.list.run", run)

    return fail


@pytest.mark.parametrize("error", FAULTS.values(), ids=FAULTS.keys())
def test_what_escapes_is_a_fault_in_one_line(failing, capsys, error):
    failing(error)
    assert main(["list"]) == 70
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"emoca: this is a fault of emoca: \w+: [ -~]+; --debug shows where\n", err)


def test_a_path_that_nobody_can_read_is_shortened_in_messages_alone(failing, capsys, monkeypatch):
    path = f"/begins{400 * '/folder'}/ends"
    failing(CatalogueError(f"cannot read {path}: odd"))
    assert main(["list"]) == 2
    assert re.fullmatch(r"emoca: cannot read /begins\S{113}\.\.\.\S{114}/ends:? odd\n", capsys.readouterr().err)
    monkeypatch.setattr("emoca_core.cli.list.run", lambda args: print(path) or 0)
    assert main(["list"]) == 0
    assert capsys.readouterr().out == path + "\n"


def test_debug_shows_where_a_fault_is(failing, capsys):
    failing(AssertionError("a bug"))
    assert main(["list", "--debug"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err and "in run" in err and err.endswith("--debug shows where\n")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(TORCH), RuntimeError("CUDA out of memory. Tried")])
def test_too_little_memory_is_no_fault(failing, capsys, error):
    failing(error)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "emoca: out of memory\n"


def test_names_cannot_act_on_the_terminal(monkeypatch, capsys):
    def run(args):
        print("a \x1b[31mname\x1b[0m\udcff\n", end="")
        print("\u202eb", file=sys.stderr)
        raise CatalogueError("no '\x1b]0;title\x07'\n  second line")

    monkeypatch.setattr("emoca_core.cli.list.run", run)
    assert main(["list"]) == 2
    out, err = capsys.readouterr()
    assert out == "a \\x1b[31mname\\x1b[0m\\udcff\n"
    assert err == "\\u202eb\nemoca: no '\\x1b]0;title\\x07'\n  second line\n"


@pytest.mark.parametrize("arguments", [["list", "\x1b[2J"], ["\x1b[2J"], ["list", "--\x1b[2J"]])
def test_arguments_cannot_act_on_the_terminal(capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\\x1b[2J" in err


def test_the_streams_are_given_back(capsys):
    before = sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0 and main(["nothing"]) == 2
    assert (sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0)])
def test_closed_streams_are_no_error(closed, code, tmp_path):
    command = f'"{sys.executable}" -m emoca_core list recipe {closed}; echo $? > code'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (tmp_path / "code").read_text().strip() == str(code)
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["code"]


def test_a_terminal_that_cannot_show_a_letter_gets_an_escape():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*EMOCA, "list", "ü"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and r"\xfc" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_stop_with_one_line_and_clean_up(number, code, tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from emoca_core.cli import main, list as command; from emoca_core.files import atomic_write\n"
        "def run(args):\n"
        "    with atomic_write(Path('result')) as temporary:\n"
        "        temporary.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
        "command.run = run\n"
        "sys.exit(main(['list']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout.readline() == "ready\n"
    assert list(tmp_path.iterdir()), "the file is being written"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (code, "emoca: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_terminated_says_nothing():
    program = (
        "import multiprocessing, sys, time; from emoca_core.cli import main, list as command\n"
        "def run(args):\n"
        "    worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "    worker.start(); time.sleep(0.1); worker.terminate(); worker.join(); return worker.exitcode == -15\n"
        "command.run = run\n"
        "sys.exit(main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_documentation_has_all_exit_codes():
    table = (
        (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    )
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(cli.EXIT_CODES)


def test_help_names_all_exit_codes(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out.partition("exit code:")[2]
    assert all(re.search(rf"\b{code}\b", said) for code in cli.EXIT_CODES)


@pytest.mark.parametrize("own", [True, False])
def test_what_is_loaded_is_walked_no_more_in_a_process_of_our_own(own, monkeypatch):
    monkeypatch.setattr(gc, "get_threshold", lambda: (cli._RARELY, 10, 10) if own else (700, 10, 10))
    before = gc.get_freeze_count()
    try:
        with pytest.raises(CatalogueError), cli.loading():
            assert not gc.isenabled()
            raise CatalogueError("not loaded")
        assert gc.isenabled()
        assert (gc.get_freeze_count() > before) == own
    finally:
        gc.unfreeze()
