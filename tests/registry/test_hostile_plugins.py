"""A plugin costs nobody but itself: all hostile plugins, installed for real, under all commands."""

import importlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hostile_plugins import GOOD, HOSTILE, PARTS, Hostile, offering
from PIL import Image

from emoca_core import cli, get_registry
from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import ComponentBuildError, ComponentImportError
from emoca_core.registry import offers
from emoca_core.registry.containment import aside, contained

METADATA = "Metadata-Version: 2.1\nName: newcomer-package\nVersion: 0.3\n"


def commands(folder: Path) -> dict[str, list[str]]:
    """Something quick to do with every command; most of it ends with an error, which must stay the same."""
    absent = str(folder / "absent")
    return {
        "demo": ["demo", "--help"],
        "reconstruct": ["reconstruct", absent + ".jpg", "--out", absent, "--set", "encodr.x=1"],
        "live": ["live", "--from", absent + ".mp4", "--send", "vmc", "--no-page"],
        "list": ["list"],
        "show": ["show", "open_fit"],
        "check": ["check", "open_fti"],
        "assets": ["assets", "list"],
        "doctor": ["doctor"],
        "data": ["data", "check", str(folder / "faces.csv")],
        "train": ["train", "coarse", "--recipe", "open_fti", "--data", absent, "--out", absent],
        "sweep": ["sweep", absent + ".yaml", "--out", absent],
        "package": ["package", absent, "--out", absent],
        "benchmark": ["benchmark", "--methods", "open_fti", "--data", str(folder / "faces.csv"), "--out", absent],
        "optimise": ["optimise", absent + ".jpg", absent + ".jpg", "--out", absent, "--recipe", "open_fti"],
        "retarget": ["retarget", absent + ".jpg", absent + ".csv", "--out", absent, "--recipe", "open_fti"],
        "index": ["index", absent, "--by", "emotion:nobody", "--out", absent],
        "retrieve": ["retrieve", absent + ".jpg", "--index", absent],
        "study": ["study", "results", absent],
        "export": ["export", "onnx", "open_fti", "--out", absent],
        "encode": ["encode", str(folder / "faces.csv"), "--recipe", "open_fti", "--out", absent],
        "new": ["new", "plugin", "photometric", "--kind", "loss", "--into", absent],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A manifest of one face."""
    folder = tmp_path_factory.mktemp("hostile")
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / "face.png")
    write_manifest([ManifestRow("face.png", "test", "happy")], folder / "faces.csv")
    return folder


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch, folder):
    """The registry of the process is made anew, and again afterwards; nobody's files are there."""
    monkeypatch.setenv("EMOCA_ASSETS", str(folder / "no-assets"))
    get_registry.cache_clear()
    yield
    get_registry.cache_clear()


def install(hostile: Hostile, site: Path, monkeypatch) -> None:
    """As pip does it: a module, its metadata, on the path."""
    files = {"newcomer.py": hostile.source, "newcomer_parts.py": PARTS, **hostile.files}
    if "NO_MODULE" in hostile.environment:
        del files["newcomer.py"]
    info = site / "newcomer_package-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, "utf-8")
    (info / "entry_points.txt").write_text(f"[emoca.plugins]\n{hostile.name} = newcomer\n", "utf-8")
    for name, text in files.items():
        (site / name).write_text(text, "utf-8")
    for name, value in hostile.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("newcomer", "newcomer_parts", "newcomer_exit"):
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(str(site))  # before the project's own place, where a clash used to win
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def before(folder):
    """What every command does without the plugin: exit code and standard output."""
    return {}


def outcome(command: list[str], capfd) -> tuple[int, str, str]:
    code = cli.main(command)
    out, err = capfd.readouterr()
    return code, out, err


def words(text: str) -> list[str]:
    """Lines without the spaces that align them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_every_command_is_tried(folder):
    assert set(commands(folder)) == set(cli.COMMANDS)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_plugin_costs_nobody_but_itself(case, folder, before, tmp_path, monkeypatch, capfd):
    if not before:
        before |= {name: outcome(command, capfd) for name, command in commands(folder).items()}
        assert [before[name][0] for name in ("list", "doctor", "show", "data")] == [0, 0, 0, 0]
        get_registry.cache_clear()
    hostile = HOSTILE[case]
    monkeypatch.setattr(offers, "SLOW", 0.3)
    install(hostile, tmp_path, monkeypatch)
    for name, command in commands(folder).items():
        code, out, err = outcome(command, capfd)
        said = [line for line in words(out) if not line.startswith(("recipes ", "! problem"))]
        assert "HELLO" not in " ".join(said) and "TALK" not in out
        lost = [line for line in words(before[name][1]) if line not in said and not line.startswith("recipes ")]
        assert lost == [], name  # nothing of the others is missing
        if name in ("list", "doctor"):
            assert code == (cli.SOME_FAILED if hostile.said else cli.DONE), (name, out, err)
            assert hostile.said in out + err
            if hostile.said:
                assert "newcomer-package" in out + err
        else:
            assert code == before[name][0], (name, out, err)
    if hostile.keeps:
        get_registry().build("loss", "of_the_newcomer")
    assert get_registry().find("loss", "photometric").plugin == "builtin"


@pytest.mark.parametrize("case", [case for case, hostile in HOSTILE.items() if hostile.deep])
def test_what_shows_only_when_it_is_used_is_found_by_doctor_deep(case, tmp_path, monkeypatch, capfd):
    install(HOSTILE[case], tmp_path, monkeypatch)
    code, out, _ = outcome(["doctor", "--deep"], capfd)
    assert code == cli.SOME_FAILED
    assert HOSTILE[case].deep in " ".join(out.split())
    with pytest.raises((ComponentImportError, ComponentBuildError), match="loss 'odd'"):
        get_registry().build("loss", "odd")


def test_doctor_deep_finds_nothing_wrong_with_the_built_in_parts(capfd):
    code, out, _ = outcome(["doctor", "--deep"], capfd)
    assert code == cli.DONE, out


def test_a_plugin_does_not_move_the_current_folder(tmp_path, monkeypatch):
    install(Hostile("import os; os.chdir('/')\n" + offering(GOOD)), tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    get_registry().build("loss", "of_the_newcomer")
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("then", ["", "except BaseException: pass", "except KeyboardInterrupt: raise SystemExit"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_plugin_that_the_user_stops_is_stopped(number, then, tmp_path, monkeypatch, capfd):
    stop = f"import signal\ntry: signal.raise_signal({int(number)})\n{then or 'finally: pass'}\n"
    install(Hostile(stop + offering(GOOD)), tmp_path, monkeypatch)
    assert cli.main(["list"]) == 128 + number
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_the_output_stays_clean_with_two_threads_in_plugins(capfd):
    """The one who is done first must not lead the output back under the other, nor the last one astray."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with aside():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with contained() as said:
        os.write(1, b"HELLO\n")
        thread.start()
        assert entered.wait(10)
    os.write(1, b"astray\n")
    leave.set()
    thread.join()
    os.write(1, b"ours\n")
    assert said.text == "HELLO"
    assert capfd.readouterr() == ("ours\n", "astray\n")


C_CODE = """
import ctypes
from emoca_core.registry.containment import contained
library = ctypes.CDLL(None)
library.printf(b"ours, ")
with contained() as said:
    library.printf(b"HELLO")
print(f"said {said.text}")
"""


@pytest.mark.skipif(os.name != "posix", reason="C's own buffers are reached by name there")
def test_what_c_code_prints_does_not_come_later():
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # which C obeys too
    done = subprocess.run([sys.executable, "-c", C_CODE], env=buffered, capture_output=True, text=True, check=True)
    assert done.stdout == "ours, said HELLO\n"
