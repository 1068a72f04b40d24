"""What every test of this folder does: run a command in a folder of its own, and look at everything it does."""

import importlib.util
import os
import resource
import shutil
import time
from pathlib import Path

import pytest
from entrances import toy_stage

from emoca_core import cli, get_registry
from emoca_core.cli import main

SECONDS, MEGABYTES, CHARACTERS = 60, 1500, 4000
"""Of one command: far above what they take, far below what a bomb takes. The seconds are those of the processor: on a
busy machine the clock runs on."""


@pytest.fixture(scope="session", autouse=True)
def toys():
    """Tiny parts beside the built-in ones."""
    registry = get_registry()
    before = dict(registry.components)
    toy_stage.add_components(registry)
    yield
    registry.components.clear()
    registry.components.update(before)
    registry.pm.unregister(name="toys")


@pytest.fixture(scope="session")
def method():
    """A method of tiny parts that finds one face in every picture."""
    path = Path(__file__).parents[1] / "reconstruction" / "conftest.py"
    spec = importlib.util.spec_from_file_location("toy_method", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


@pytest.fixture
def place(tmp_path, monkeypatch, method):
    """An empty folder to work in, and beside it one that belongs to somebody else."""
    outside = tmp_path / "outside"
    (outside / "step-00000001").mkdir(parents=True)
    for name in ("precious.json", "best.json", "face.json", "step-00000001/model.safetensors"):
        (outside / name).write_text("precious")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for variable, folder in (("EMOCA_ASSETS", "assets"), ("XDG_CACHE_HOME", "cache"), ("HOME", "home")):
        monkeypatch.setenv(variable, str(tmp_path / "work" / folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(method.landmarker, "detect", lambda photo: [method.landmarker._face(photo, 0)])
    for command in ("reconstruct", "retarget"):
        monkeypatch.setattr(f"emoca_core.cli.{command}.load", lambda args: method)
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)
    return tmp_path / "work"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """What an entrance needs, made once."""
    known = {}

    def make(maker, place):
        if maker not in known:
            known[maker] = tmp_path_factory.mktemp(maker.__name__)
            maker(place)
            shutil.copytree(place, known[maker], dirs_exist_ok=True)
        else:
            shutil.copytree(known[maker], place, dirs_exist_ok=True)

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but what a command may write."""
    return {
        str(path.relative_to(folder)): os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in ("out", "cache", "home", "assets", "runs")
    }


@pytest.fixture
def check(place, capsys):
    """Run a command in-process; its exit code, and all that it said. It may write ``elsewhere`` where it is told to."""
    return lambda command, elsewhere=False: _check(list(command), place, capsys, elsewhere)


def _check(command: list[str], place: Path, capsys, elsewhere: bool) -> tuple[int, str]:
    outside, inside = tree(place.parent / "outside"), tree(place)
    assert outside, "the canary sings"
    capsys.readouterr()
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = main(command)
    seconds, grown = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    out, err = capsys.readouterr()
    said = f"{command}\n{out[-2000:]}{err[-4000:]}"
    assert code in set(cli.EXIT_CODES) - {cli.FAULT}, said
    assert "Traceback" not in out + err and "\x1b" not in out + err.replace("\x1b[A", ""), said
    assert (code == 0) or err.strip() or out.strip(), f"{command}: nothing was said"
    assert err.count("emoca: ") <= 1 and len(err) < CHARACTERS, said
    assert seconds < SECONDS and grown < MEGABYTES * 1024, f"{seconds:.0f} s, {grown / 1024:.0f} MB: {said}"
    for folder, before in ((place.parent / "outside", outside), (place, inside)):
        after = tree(folder)
        assert {name: after.get(name) for name in before} == before, said
        assert elsewhere or after.keys() == before.keys(), said
    return code, out + err
