"""The newcomer's path: the example plugin in a fresh environment, from `emoca list` to the benchmark's table.

Nothing is downloaded: the fresh environment sees the packages of the one that runs the tests.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from emoca_core.registry.kinds import KINDS

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "emoca-colour-histogram"
FACES = 28


class Newcomer:
    """Somebody with a fresh environment, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.prefix = folder, folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.prefix)], check=True)
        self.python = self.prefix / ("Scripts" if os.name == "nt" else "bin") / "python"
        (self.site,) = self.prefix.rglob("site-packages")
        # addsitedir, not a bare path, so that an editable install of the project is seen as well
        beside = f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
        (self.site / "beside.pth").write_text(beside, encoding="utf-8")

    def run(self, *arguments: str | Path) -> str:
        """What a module of Python prints; it must succeed."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
            **{"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"},
            **{"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull},
        }
        done = subprocess.run(
            [str(self.python), "-m", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment,
            timeout=600,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def emoca(self, line: str) -> str:
        """What the command line prints."""
        return self.run("emoca_core", *line.split())


INSTALL = "pip install --quiet --no-deps --no-index --no-build-isolation --ignore-installed"
QUICK = "--set batch_size=8 --set tracker=none --set progress=false --set pictures_every=0"
OWN = tuple(kind for kind in ("face_model", "landmarker", "loss", "exporter") if kind in KINDS)
"""What the author writes besides the backbone."""
RECIPE = """
version: 1
recipes:
  mine:
    summary: Everything but the encoder and the renderer is the author's.
    landmarker: {uses: my_landmarker}
    encoder: {uses: regressor, params: {model: mobilenetv3_small_050, weights: random, image_size: 64, hidden: 16}}
    face_model: {uses: my_face_model}
    renderer: {uses: zbuffer}
    emotion_backbone: {uses: colour_histogram}
    losses:
      emotion: {uses: emotion_consistency, stage: coarse}
      small: {uses: my_loss, stage: coarse}
    probe: [shape]
"""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory) -> Newcomer:
    """With the example installed, rendered faces, and a backbone that was trained on them."""
    somebody = Newcomer(tmp_path_factory.mktemp("newcomer"))
    source = somebody.folder / "source"  # building writes beside the sources
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    somebody.run(*INSTALL.split(), source)
    somebody.emoca(
        f"data render synthetic_faces --out faces --set length={FACES} --set image_size=112 "
        "--set face_model.params.texture_size=64 --split train=0.6 validation=0.4 --by identity"
    )
    trained = somebody.emoca(
        "train emotion --backbone colour_histogram --data faces/manifest.parquet --out runs/colour --set max_steps=20 "
        f"--set epochs=20 --set learning_rate=0.01 --set validate_every=10 {QUICK} --data-set image_size=48"
    )
    assert "20 steps, best score" in trained
    return somebody


def test_the_walk_from_the_list_to_the_benchmark(newcomer):
    assert (newcomer.site / "emoca_colour_histogram" / "backbone.py").is_file()
    listed = newcomer.emoca("list emotion_backbone")
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == ["colour_histogram"]]
    assert line.split()[1:4] == ["colour_histogram", "0.1.0", "Apache-2.0"]

    quiet = ("-q", "-p", "no:cacheprovider", "-c", os.devnull)  # without this project's settings
    assert "2 passed" in newcomer.run("pytest", *quiet, EXAMPLE / "tests")

    best = json.loads((newcomer.folder / "runs" / "colour" / "best.json").read_text("utf-8"))
    assert best["emotion_backbone"]["uses"] == "colour_histogram"

    table = newcomer.emoca(
        "benchmark --methods colour_histogram,runs/colour --data faces/manifest.parquet --out table --folds 3 "
        "--set width=16 --set epochs=1 --set batch_size=8 --resamples 50 --no-faces"
    )
    assert {"colour_histogram", "colour"} <= {line.split()[0] for line in table.splitlines() if line.strip()}
    result = json.loads((newcomer.folder / "table" / "result.json").read_text("utf-8"))
    assert [method["name"] for method in result["methods"]] == ["colour_histogram", "colour"]
    assert "colour_histogram" in (newcomer.folder / "table" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_walk_of_a_plugin_author(newcomer):
    """A face model, a landmarker, a loss and an exporter of one's own: trained with --emotion, used, probed."""
    for kind in OWN:
        newcomer.emoca(f"new plugin my-{kind.replace('_', '-')} --kind {kind}")
    packages = [newcomer.folder / f"emoca-my-{kind.replace('_', '-')}" for kind in OWN]
    newcomer.run(*INSTALL.split(), *packages)
    quiet = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", os.devnull)
    assert f"{len(OWN)} passed" in newcomer.run("pytest", *quiet, *(package / "tests" for package in packages))
    (newcomer.folder / "mine.yaml").write_text(RECIPE, "utf-8")

    trained = newcomer.emoca(
        "--catalogue mine.yaml train coarse --recipe mine --data faces/manifest.parquet --emotion runs/colour "
        f"--out runs/mine --set max_steps=3 --set epochs=3 {QUICK} --data-set image_size=64"
    )
    assert "3 steps, best loss" in trained
    best = json.loads((newcomer.folder / "runs" / "mine" / "best.json").read_text("utf-8"))
    assert best["emotion"]["file"].endswith("colour/best.safetensors")

    photo = ROOT / "examples" / "photos" / "astronaut.jpg"
    write = ["--write", "glb,my_exporter"] if "exporter" in OWN else []
    newcomer.run("emoca_core", "reconstruct", photo, "--recipe", "runs/mine", "--out", "found", *write)
    assert list((newcomer.folder / "found").rglob("*.glb"))

    table = newcomer.emoca(
        "benchmark --methods runs/mine,colour_histogram --data faces/manifest.parquet --out table2 --folds 3 "
        "--landmarker my_landmarker --set width=16 --set epochs=1 --set batch_size=8 --resamples 50"
    )
    assert "mine" in {line.split()[0] for line in table.splitlines() if line.strip()}


def code_lines(node: ast.AST) -> set[int]:
    """Lines with code: neither blank nor comment nor docstring."""
    strings = [
        statement
        for statement in ast.walk(node)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    ]
    texts = {line for string in strings for line in range(string.lineno, (string.end_lineno or 0) + 1)}
    return {child.lineno for child in ast.walk(node) if hasattr(child, "lineno")} - texts


def test_the_example_is_a_plugin_in_twenty_lines():
    package = EXAMPLE / "emoca_colour_histogram"
    trees = [ast.parse((package / name).read_text("utf-8")).body for name in ("backbone.py", "__init__.py")]
    component = [node for node in trees[0] if isinstance(node, ast.ClassDef)]
    hook = [node for node in trees[1] if isinstance(node, ast.FunctionDef) and node.name == "emoca_components"]
    assert len(component) == len(hook) == 1
    lines = len(code_lines(component[0])) + len(code_lines(hook[0]))
    assert lines <= 20, lines


def test_the_page_shows_the_component_of_the_example():
    page = (ROOT / "docs" / "writing-plugins.md").read_text("utf-8")
    source = (EXAMPLE / "emoca_colour_histogram" / "backbone.py").read_text("utf-8")
    assert source[source.index("class ColourHistogram") :].strip() in page
