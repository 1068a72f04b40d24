"""Who may import whom (docs/architecture.md), and what must stay light."""

import ast
import graphlib
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = sorted(path.parent for path in (ROOT / "plugins" / "emoca_plugins").glob("*/__init__.py"))
LIGHT = (
    *("emoca_core", "errors", "files", "cli", "registry.spec", "registry.kinds", "registry.hookspecs"),
    "registry.catalogue",
)
ROOMS = (  # from the ground to the roof
    *("errors", "limits", "version", "files", "late_imports", "claims", "progress", "pages", "parsing"),
    *("registry.spec", "registry.kinds", "registry.hookspecs"),
    *("vocabulary", "interfaces", "registry", "geometry", "kernels", "measures", "images", "video", "rendering"),
    *("weights", "formats", "method", "export", "runs", "reconstruction"),
    *("retargeting", "optimisation", "live", "api"),
    *("deployment", "datasets", "train", "probe", "encoding", "retrieval", "study", "sweep", "testing"),
    *("", "cli", "__main__"),
)
HEAVY = {"torch", "numpy", "timm", "mediapipe", "numba", "scipy", "accelerate", "PIL", "av"}
NOT_SHIPPED = {"tests", "tools", "benchmarks", "examples", "pytest"}
OF_AN_EXTRA = {
    "pxr": "usd-core",
    "faiss": "faiss-cpu",
}  # named otherwise; need not be installed
COMES_WITH_TORCH = {"triton"}  # in its CUDA builds; whoever uses it works without
ONLY_TRAINING = ("emoca_core/train", "emoca_core/probe")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import statement in a file, wherever it stands."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            yield node.lineno, ".".join(filter(None, [base, node.module]))


def offenders(files: list[Path], forbidden) -> list[str]:
    """Where a module is imported that must not be."""
    assert files, "nothing was looked at"
    return [
        f"{p.relative_to(ROOT)}:{line} imports {name}" for p in files for line, name in imports(p) if forbidden(name)
    ]


def module_of(path: Path) -> str:
    """``a.b`` for a/b.py as for a/b/__init__.py."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[1:] if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import, be the module named as such or as a name in its package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if is_module(inner) else node.module


def is_module(name: str) -> bool:
    places = [ROOT / name.replace(".", "/"), ROOT / "plugins" / name.replace(".", "/")]
    return any(place.with_suffix(".py").is_file() or (place / "__init__.py").is_file() for place in places)


def room_of(module: str) -> str:
    """The room of a module; ``registry.spec`` and ``registry.hookspecs`` lie below what parts promise."""
    inner = module.removeprefix("emoca_core").lstrip(".")
    return inner if inner in ROOMS else inner.partition(".")[0]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_the_framework_does_not_know_the_plugins():
    assert offenders(python_files("emoca_core"), lambda name: within(name, "emoca_plugins")) == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.name)
def test_a_plugin_family_imports_the_framework_and_itself(family):
    own = f"emoca_plugins.{family.name}"
    files = sorted(family.rglob("*.py"))
    assert offenders(files, lambda name: within(name, "emoca_plugins") and not within(name, own)) == []


@pytest.mark.parametrize("folder", ["plugins", "emoca_core/interfaces", "emoca_core/cli/plugin_template", "examples"])
def test_no_part_looks_another_one_up(folder):
    """Whoever builds a part hands it what it works with; the registry of the process may be another one."""
    files = sorted(path for suffix in ("py", "txt") for path in (ROOT / folder).rglob(f"*.{suffix}"))
    assert files, "nothing was looked at"
    assert [str(path.relative_to(ROOT)) for path in files if "get_registry" in path.read_text(encoding="utf-8")] == []


def test_the_table_of_plugins_imports_no_plugin():
    table = ROOT / "plugins" / "emoca_plugins" / "__init__.py"
    assert offenders([table], lambda name: not within(name, "emoca_core")) == []


def test_only_training_knows_accelerate():
    files = [
        path
        for path in python_files("emoca_core") + python_files("plugins")
        if not path.relative_to(ROOT).as_posix().startswith(ONLY_TRAINING)
    ]
    assert offenders(files, lambda name: within(name, "accelerate")) == []


def test_rooms_import_only_rooms_below_them():
    """Imports inside functions and for types alone count like all others."""
    climbs = []
    for path in python_files("emoca_core"):
        own = ROOMS.index(room_of(module_of(path)))
        for line, name in imported_modules(path):
            if within(name, "emoca_core") and ROOMS.index(room_of(name)) > own:
                climbs.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert climbs == []


def test_every_room_has_its_place():
    rooms = {room_of(module_of(path)) for path in python_files("emoca_core")}
    assert rooms == set(ROOMS)


def test_no_modules_import_each_other_in_a_circle():
    arrows = {
        module_of(path): {name for _, name in imported_modules(path)} - {module_of(path)}
        for folder in ("emoca_core", "plugins/emoca_plugins")
        for path in python_files(folder)
    }
    assert len(arrows) > 200
    order = graphlib.TopologicalSorter({module: found & arrows.keys() for module, found in arrows.items()})
    order.prepare()  # raises, and names the circle


@pytest.mark.parametrize("folder", ["emoca_core", "plugins", "tests", "tools", "examples", "docs"])
def test_nobody_imports_the_folder_of_plugins(folder):
    """A second copy of every module, whose classes are not the registered ones."""
    assert offenders(python_files(folder), lambda name: within(name, "plugins")) == []


def test_the_framework_does_not_import_its_tests_or_tools():
    files = python_files("emoca_core") + python_files("plugins")
    assert (
        offenders(files, lambda name: name.split(".")[0] in {"tests", "tools", "benchmarks", "examples", "pytest"})
        == []
    )


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_stay_light(module):
    name = module if module == "emoca_core" else f"emoca_core.{module}"
    code = f"import sys, {name}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_importing_the_framework_prints_and_writes_nothing(tmp_path):
    """Import-time side effects: every module of the framework is imported in an empty folder."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in python_files("emoca_core")
        if path.name not in ("__main__.py",)
    ]
    code = f"import importlib; [importlib.import_module(m.removesuffix('.__init__')) for m in {modules!r}]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_every_imported_package_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [*project["project"]["dependencies"], *sum(project["project"]["optional-dependencies"].values(), [])]
    runtime = {_distribution(requirement) for requirement in declared}
    development = runtime | {_distribution(r) for group in project["dependency-groups"].values() for r in group}
    own = {"emoca_core", "emoca_plugins", "tests", "tools", "benchmarks", *COMES_WITH_TORCH, *sys.stdlib_module_names}
    own |= {path.stem for path in python_files("tests")} | {path.name for path in (ROOT / "tests").rglob("*")}
    providers = importlib.metadata.packages_distributions()
    for folder, allowed in (("emoca_core", runtime), ("plugins", runtime), ("tests", development)):
        for path in python_files(folder):
            for line, name in imports(path):
                top = name.split(".")[0]
                offered = {_distribution(d) for d in providers.get(top, [OF_AN_EXTRA.get(top, top)])} | {
                    _distribution(top)
                }
                assert top in own or offered & allowed, f"{path.relative_to(ROOT)}:{line} imports {name}, not declared"


def _distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("folder", ["benchmarks", "tools", "examples", "docs"])
def test_programs_beside_the_package_import_names_that_exist(folder):
    """Nothing else runs them in every test, so that a moved name would be noticed late."""
    missing = []
    for path in python_files(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("emoca_"):
                continue
            if node.module.startswith("emoca_colour_histogram") or node.module.endswith(("pytorch3d", "nvdiffrast")):
                continue  # an example's own package, and what needs packages that are not here
            module = importlib.import_module(node.module)
            names = [alias.name for alias in node.names if not is_module(f"{node.module}.{alias.name}")]
            missing += [f"{path.name}: {node.module}.{name}" for name in names if not hasattr(module, name)]
    assert missing == []
