"""What is built is complete: wheel, sdist, an external plugin beside an installed project. Nothing is downloaded."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "emoca-colour-histogram"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull)  # without this project's settings

pytestmark = pytest.mark.slow


def tracked(*folders: str) -> set[str]:
    """Files of the repository that must be shipped."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    files = {name for name in listed if name and (ROOT / name).exists()}
    if not files:
        pytest.skip("not a git checkout")
    return files


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist, built with the tools that are installed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_code_data_and_catalogue(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("emoca_core/registry.yaml") == (ROOT / "registry.yaml").read_bytes()
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        text = archive.read(entry_points).decode()
    assert "[emoca.plugins]" in text and "builtin = emoca_plugins" in text
    assert "emoca = emoca_core.cli:main" in text
    missing = {name.removeprefix("plugins/") for name in tracked("emoca_core", "plugins")} - names
    assert missing == set()
    assert not [name for name in names if name.startswith(("plugins/", "tests/", "tools/"))]
    licences = {Path(name).name for name in names if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= licences


def test_the_sdist_can_be_built_from_and_tested(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"registry.yaml", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"} <= names
    assert tracked("emoca_core", "plugins", "tests", "examples") - names == set()


def test_what_ships_is_small(wheel):
    assert wheel.stat().st_size < 23e6  # the data of the open head is at most 8 MB, all weights at most 15 MB


def install(target: Path, *packages: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(target), *map(str, packages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def run_beside(target: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """Run Python where only the target is ours: it comes before this checkout."""
    environment = os.environ | {"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel and the example plugin, installed into an empty folder."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "plugin"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)  # building writes beside the sources
    install(target, wheel, source)
    return target


def test_the_installed_wheel_works_without_the_checkout(installed, tmp_path):
    code = (
        "import emoca_core, emoca_core.registry.catalogue as c, pathlib;"
        "here = pathlib.Path(emoca_core.__file__).parent;"
        "assert c.default_path() == here / 'registry.yaml', c.default_path();"
        "print(here); emoca_core.get_registry().build('renderer', 'zbuffer')"
    )
    done = run_beside(installed, "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(installed / "emoca_core")


def test_an_installed_plugin_is_listed_and_shown(installed, tmp_path):
    listed = run_beside(installed, "-m", "emoca_core", "list", "emotion_backbone", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if line.split()[:1] == ["colour_histogram"])
    assert line.split()[1:4] == ["colour_histogram", "0.1.0", "Apache-2.0"]
    shown = run_beside(installed, "-m", "emoca_core", "show", "colour_histogram", folder=tmp_path)
    assert "bins=32" in shown.stdout and "Levels of each colour." in shown.stdout


def test_an_installed_plugin_passes_its_own_tests(installed, tmp_path):
    tests = str(EXAMPLE / "tests")
    done = run_beside(
        installed,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tests,
        "-c",
        os.devnull,
        tests,
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_written_plugin_can_be_installed_and_passes_its_test(installed, tmp_path):
    """`emoca new plugin`, from the command to the green test."""
    written = run_beside(installed, "-m", "emoca_core", "new", "plugin", "my-loss", "--kind", "loss", folder=tmp_path)
    assert written.returncode == 0, written.stderr
    folder = tmp_path / "emoca-my-loss"
    install(tmp_path / "site", folder)
    both = f"{tmp_path / 'site'}{os.pathsep}{installed}"
    done = run_beside(both, *PYTEST, str(folder / "tests"), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = run_beside(both, "-m", "emoca_core", "list", "loss", folder=tmp_path)
    assert "my_loss" in listed.stdout
