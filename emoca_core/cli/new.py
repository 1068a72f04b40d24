"""``emoca new plugin``: write a package with one working component, its card and its conformance test."""

import argparse
import importlib.resources
import keyword
import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from emoca_core.cli import Subparsers
from emoca_core.errors import EmocaError, unknown_name
from emoca_core.files import atomic_folder, path_below, write_text, writing_to
from emoca_core.registry import get_registry
from emoca_core.registry.spec import KINDS, Kind

NAME = "new"
HELP = "write a plugin package that is ready to be filled"

SUMMARIES: Mapping[Kind, str] = {
    "face_model": "An ellipsoid with three axes.",
    "encoder": "One linear layer on a coarse picture.",
    "renderer": "Rasterisation by definition.",
    "emotion_backbone": "Mean and deviation of each colour.",
    "loss": "Keeps the shape close to the mean face.",
    "landmarker": "Takes the whole picture for one frontal face.",
    "dataset": "Pictures in one folder for each expression.",
    "detail": "Cosine waves as strong as in the brightness of the picture.",
}
"""What the component of each template does."""

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("what", choices=("plugin",), help="what to write")
    parser.add_argument("name", metavar="NAME", help="of the component: lower-case letters, digits, '-' and '_'")
    parser.add_argument("--kind", required=True, metavar="KIND", help=f"one of: {', '.join(KINDS)}")
    parser.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where to put it; default: here")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the package and say what to do with it."""
    folder = write_plugin(args.name, args.kind, args.into)
    print(f"wrote {folder}\nnow: cd {folder} && pip install -e '.[test]' && pytest")
    return 0


def write_plugin(name: str, kind: str, into: Path) -> Path:
    """Write a plugin package, all of it or nothing.

    Args:
        name: Name of the component.
        kind: Its kind.
        into: Folder in which the package's folder appears.

    Returns:
        The package's folder.

    Raises:
        UnknownNameError: No such kind.
        EmocaError: The name cannot be used, or is taken.
    """
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise EmocaError(
            f"'{name}' cannot be a name: use lower-case letters, digits, '-' and '_', e.g. colour_histogram"
        )
    component = name.replace("-", "_")
    entry = get_registry().components.get((kind, component))
    if entry:
        raise EmocaError(f"{kind} '{component}' exists already, in plugin '{entry.plugin}': choose another name")
    folder = path_below(into, f"emoca-{component.replace('_', '-')}")
    if folder.exists():
        raise EmocaError(f"{folder} exists already; nothing was written")
    with writing_to(into, "Nothing was written."), atomic_folder(folder) as draft:
        for path, text in plugin_files(component, kind).items():
            write_text(draft / path, text)
    return folder


def plugin_files(name: str, kind: Kind) -> dict[str, str]:
    """Text of every file of a plugin, by path."""
    template = importlib.resources.files("emoca_core.cli") / "plugin_template"
    package = f"emoca_{name}"
    test = template / f"test_{kind}.py.txt"  # kinds that cannot be built without parameters have their own
    sources: dict[str, Traversable] = {
        "pyproject.toml": template / "pyproject.toml.txt",
        "README.md": template / "README.md.txt",
        f"{package}/__init__.py": template / "init.py.txt",
        f"{package}/registry.yaml": template / "registry.yaml.txt",
        f"{package}/{name}.py": template / "components" / f"{kind}.py.txt",
        "tests/test_plugin.py": test if test.is_file() else template / "test_plugin.py.txt",
    }
    names = {
        "name": name,
        "kind": kind,
        "package": package,
        "distribution": package.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "summary": SUMMARIES[kind],
    }
    return {path: Template(source.read_text(encoding="utf-8")).substitute(names) for path, source in sources.items()}
