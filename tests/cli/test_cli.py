"""The command line: what it prints, what it returns, and one line for everything that goes wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import yaml
from local_plugins import plugin
from pydantic import Field

from emoca_core import ComponentSpec, Registry, cli, get_registry
from emoca_core.cli import list as list_command
from emoca_core.cli import main
from emoca_core.cli.schema import describe_params
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction
from emoca_core.registry.kinds import KINDS
from emoca_core.registry.offers import Origin
from emoca_core.registry.spec import ComponentParams

EMOCA = [sys.executable, "-m", "emoca_core"]


@pytest.fixture
def local(monkeypatch, tmp_path):
    """A registry and a catalogue of their own, so that the tests do not depend on the built-in components."""
    registry = Registry()
    registry.add_plugin(
        plugin(
            ComponentSpec("emotion_backbone", "colour", f"{__name__}:Colour"),
            ComponentSpec("renderer", "absent", "modules_that_do_not_exist:X", extra="pytorch3d"),
            ComponentSpec("encoder", "same", "x:Y"),
            ComponentSpec("loss", "same", "x:Y"),
        ),
        "local",
        "0.7",
    )
    registry.try_plugins([(lambda: 1 / 0, Origin("broken", "0", "their-package"))])
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "components": {
                    "emotion_backbone": {
                        "colour": {
                            "summary": "Mean colour.",
                            "license": "MIT",
                            "paper": "None.",
                            "presets": {"wide": {"width": 9}},
                        }
                    },
                    "renderer": {"planned": {"summary": "Not yet.", "license": "MIT"}},
                },
                "assets": {"gold": {"summary": "A file.", "files": ["gold.bin"], "license": "NC", "obtain": "Dig."}},
                "recipes": {
                    "mine": {
                        "summary": "My recipe.",
                        "encoder": {"uses": "same"},
                        "face_model": {"uses": "nowhere"},
                        "renderer": {"uses": "absent"},
                        "emotion_backbone": {"uses": "colour", "preset": "wide"},
                        "losses": {"a": {"uses": "same", "weight": 0.5}},
                    }
                },
            }
        )
    )
    for module in ("list", "show", "check", "doctor", "new"):
        monkeypatch.setattr(f"emoca_core.cli.{module}.get_registry", lambda: registry)
    monkeypatch.setenv("EMOCA_CATALOGUE", str(file))
    return registry


class Colour(EmotionBackbone):
    """Mean colour. Source: this test."""

    class Params(ComponentParams):
        width: int = 3
        """Pixels."""

    params: Params
    feature_dims = {"colour": 3}  # noqa: RUF012 -- as its interface declares it

    def forward(self, image):
        return EmotionPrediction({"colour": image.mean((2, 3))})


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    assert "usage: emoca" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("emoca-core 0.")


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["new", "--help"], ["list", "recipe"]])
def test_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys; from emoca_core.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'timm', 'mediapipe', 'numba', 'scipy', 'PIL'} & set(sys.modules);"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list_prints_name_plugin_version_licence_summary(local, capsys):
    assert main(["list"]) == cli.SOME_FAILED  # one of the plugins is broken
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "emotion_backbone" in lines
    assert "colour local 0.7 MIT Mean colour." in lines
    assert "mine recipe MIT My recipe." in lines
    assert "gold asset NC A file." in lines
    assert "same local 0.7 unknown (no card)" in lines
    assert "! plugin 'broken': ZeroDivisionError: division by zero (pip uninstall their-package removes it)" in err


def test_list_of_one_kind(local, capsys):
    assert main(["list", "emotion_backbone"]) == cli.SOME_FAILED
    assert capsys.readouterr().out.split("\n")[0] == "emotion_backbone"
    assert main(["list", "dataset"]) == cli.SOME_FAILED
    assert capsys.readouterr().out == "nothing\n"


def test_list_fits_the_terminal():
    rows = [("a", "p 1", "MIT", "word " * 40)]
    assert max(map(len, list_command.format_table("loss", rows, 60).splitlines())) == 60
    assert max(map(len, list_command.format_table("loss", rows, None).splitlines())) > 200


def test_list_of_everything_installed(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for _, name in get_registry())


def test_show_component(local, capsys):
    assert main(["show", "colour"]) == 0
    out = capsys.readouterr().out
    for expected in ("emotion_backbone colour", "Mean colour.", "MIT", "None.", "local 0.7", "width=9"):
        assert expected in out
    assert "width                    int, default 3\n      Pixels." in out


def test_show_component_without_its_dependency_says_what_to_install(local, capsys):
    assert main(["show", "absent"]) == 0
    assert "pip install 'emoca-core[pytorch3d]'" in capsys.readouterr().out.replace("\n" + " " * 27, " ")


def test_show_card_without_code(local, capsys):
    assert main(["show", "planned"]) == 0
    assert "no installed plugin offers it" in capsys.readouterr().out


def test_show_everything_of_that_name_or_one_kind_of_it(local, capsys):
    assert main(["show", "same"]) == 0
    out = capsys.readouterr().out
    assert "encoder same" in out and "loss same" in out
    assert main(["show", "loss", "same"]) == 0
    assert "encoder same" not in capsys.readouterr().out


def test_show_recipe_and_asset(local, capsys):
    assert main(["show", "mine"]) == 0
    out = capsys.readouterr().out
    assert "colour (wide) width=9" in out
    assert "weight 0.5" in out
    assert "emotion_backbone colour  MIT" in out
    assert main(["show", "gold"]) == 0
    assert "gold.bin" in capsys.readouterr().out


class Nested(ComponentParams):
    class Inner(ComponentParams):
        depth: float = 0.5
        """Metres."""

    count: int = Field(default=2, ge=1, lt=9)
    """How many."""
    mode: Literal["a", "b"] = "a"
    """Which."""
    size: tuple[int, int] | None = None
    """Height and width, pixels."""
    path: Path
    """Where."""
    names: list[str] = Field(default=["x"])
    """Who."""
    inner: Inner = Inner()
    """More."""


def test_parameters_are_described_with_type_range_default_and_text():
    text = "\n".join(describe_params(Nested))
    for expected in (
        "int >= 1 < 9, default 2",
        "one of 'a', 'b', default 'a'",
        "tuple of (int, int) or none, default none",
        "path, required",
        "list of str, default ['x']",
        "Inner, default {'depth': 0.5}",
        "float, default 0.5",
        "Metres.",
        "Height and width, pixels.",
    ):
        assert expected in text, text


def test_parameters_of_every_component_can_be_shown():
    from emoca_core.errors import ComponentImportError

    for kind, name in get_registry():
        try:
            params = get_registry().resolve(kind, name).Params
        except ComponentImportError:
            continue
        lines = list(describe_params(params))
        assert all(field in "\n".join(lines) for field in params.model_fields)


def test_check_says_everything_that_is_wrong_at_once(local, capsys):
    assert main(["check", "mine"]) == 2
    out, err = capsys.readouterr()
    assert "no face_model named 'nowhere'" in out
    assert "pip install 'emoca-core[pytorch3d]'" in out
    assert "encoder                  same                     wrong" in out
    assert "emotion_backbone         colour                   ok" in out
    assert "loss a                   same                     wrong" in out
    assert err == "emoca: cannot be built: mine\n"


def test_doctor_tells_versions_device_and_plugins(local, capsys):
    assert main(["doctor"]) == cli.SOME_FAILED
    out = capsys.readouterr().out
    for expected in ("torch ", "device ", "plugin local", "0.7", "ZeroDivisionError: division by zero", "mine"):
        assert expected in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["lst"], "invalid choice: 'lst'"),
        (["list", "losss"], "Did you mean 'loss'"),
        (["show", "colur"], "Did you mean 'colour'"),
        (["show", "losss", "colour"], "Did you mean 'loss'"),
        (["show"], "NAME"),
        (["check", "mien"], "Did you mean 'mine'"),
        (["new", "plugin", "x", "--kind", "emotion"], "no kind named 'emotion'. Did you mean"),
        (["new", "plugin", "Über-Name", "--kind", "loss"], "cannot be a name"),
        (["new", "plugin", "colour", "--kind", "emotion_backbone"], "exists already, in plugin 'local'"),
        (["new", "plugin", "x"], "--kind"),
        (["--catalogue", "nowhere.yaml", "list"], "cannot read nowhere.yaml"),
        (["list", "--catalogue", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["list", "--nonsense"], "--nonsense"),
        (["show", ""], "an argument is empty"),
        (["reconstruct", ""], "an argument is empty"),
        (["reconstruct", "photo.jpg", "--out", ""], "an argument is empty"),
        (["reconstruct", "photo.jpg", "--out", "a\0b"], "NUL"),
        (["reconstruct", "photo.jpg", "--write", "glb,"], "'glb,' has an empty name"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(local, capsys, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.startswith("emoca")
    assert "Traceback" not in err + out
    assert out == ""
    assert set(tmp_path.iterdir()) == before  # nothing was written


def test_debug_shows_the_traceback(local, capsys):
    assert main(["list", "losss", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_registry_option_reaches_everything_and_is_forgotten(tmp_path, capsys, monkeypatch):
    from emoca_core.registry.catalogue import get_catalogue

    monkeypatch.delenv("EMOCA_CATALOGUE", raising=False)
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nassets: {gold: {summary: A file., files: [g], license: NC, obtain: Dig.}}\n")
    assert main(["list", "asset", "--catalogue", str(file)]) == 0
    assert "gold" in capsys.readouterr().out
    assert "gold" not in get_catalogue().assets
    assert "EMOCA_CATALOGUE" not in os.environ


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "emoca: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/locked/x"), 2, "emoca: /locked/x: Permission denied\n"),
        (MemoryError(), 2, "emoca: out of memory\n"),
        (KeyboardInterrupt(), 130, "emoca: stopped\n"),
    ],
)
def test_accidents_are_one_line(monkeypatch, capsys, error, code, said):
    def fail(args):
        raise error

    monkeypatch.setattr("emoca_core.cli.list.run", fail)
    assert main(["list"]) == code
    assert capsys.readouterr().err == said


def test_a_closed_pipe_is_quiet():
    process = subprocess.Popen([*EMOCA, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*EMOCA, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "emoca: No space left on device\n"


@pytest.mark.parametrize("kind", KINDS)
def test_new_plugin_writes_a_package_for_every_kind(kind, tmp_path, capsys):
    assert main(["new", "plugin", "my-part", "--kind", kind, "--into", str(tmp_path / "deep")]) == 0
    folder = tmp_path / "deep" / "emoca-my-part"
    assert str(folder) in capsys.readouterr().out
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "pyproject.toml",
        "emoca_my_part/__init__.py",
        "emoca_my_part/my_part.py",
        "emoca_my_part/registry.yaml",
        "tests/test_plugin.py",
    }
    assert not any("$" in (folder / file).read_text(encoding="utf-8") for file in files)
    assert list((tmp_path / "deep").iterdir()) == [folder]  # no temporary folder stays


def test_new_plugin_never_overwrites(tmp_path, capsys):
    folder = tmp_path / "emoca-my-part"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    assert main(["new", "plugin", "my_part", "--kind", "loss", "--into", str(tmp_path)]) == 2
    assert "exists already; nothing was written" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert list(tmp_path.iterdir()) == [folder]


def test_new_plugin_is_all_or_nothing(tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["new", "plugin", "my_part", "--kind", "loss", "--into", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == f"emoca: cannot write to {tmp_path}: No space left on device. Nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--catalogue"], ["--registry"], []])
def test_the_catalogue_may_be_called_by_its_old_name(words, tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.yaml"
    asset = {"summary": "Mine.", "files": ["a"], "license": "MIT", "obtain": "here"}
    file.write_text(yaml.safe_dump({"version": 1, "assets": {"of_mine": asset}}))
    if not words:
        monkeypatch.setenv("EMOCA_REGISTRY", str(file))
    assert main(["list", "asset", *[part for word in words for part in (word, str(file))]]) == 0
    assert "of_mine" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "--registry" not in capsys.readouterr().out
