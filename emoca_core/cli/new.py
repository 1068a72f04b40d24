"""``emoca new plugin``: write a package with one working component, its card and its conformance test."""

import argparse
import importlib.resources
import keyword
import re
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from emoca_core.cli import Subparsers
from emoca_core.errors import EmocaError, unknown_name
from emoca_core.files import atomic_folder, path_below, write_text, writing_to
from emoca_core.registry import get_registry
from emoca_core.registry.kinds import KINDS, KindSpec, open_template

NAME = "new"
HELP = "write a plugin package that is ready to be filled"

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("what", choices=("plugin",), help="what to write")
    parser.add_argument("name", metavar="NAME", help="of the component: lower-case letters, digits, '-' and '_'")
    parser.add_argument("--kind", required=True, metavar="KIND", help=f"one of: {', '.join(KINDS)}; or of a plugin")
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
    written = {name: spec for name, spec in get_registry().kinds.items() if spec.template}
    if kind not in written:
        raise unknown_name("kind", kind, written)
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
        for path, text in plugin_files(component, written[kind]).items():
            write_text(draft / path, text)
    return folder


def plugin_files(name: str, kind: KindSpec) -> dict[str, str]:
    """Text of every file of a plugin, by path."""
    template = importlib.resources.files("emoca_core.cli") / "plugin_template"
    package = f"emoca_{name}"
    assert kind.template
    sources: dict[str, Traversable] = {
        "pyproject.toml": template / "pyproject.toml.txt",
        "README.md": template / "README.md.txt",
        f"{package}/__init__.py": template / "init.py.txt",
        f"{package}/registry.yaml": template / "registry.yaml.txt",
        f"{package}/{name}.py": open_template(kind.template),
        "tests/test_plugin.py": open_template(kind.test_template),
    }
    names = {
        "name": name,
        "kind": kind.name,
        "package": package,
        "distribution": package.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "summary": kind.example,
    }
    return {path: Template(source.read_text(encoding="utf-8")).substitute(names) for path, source in sources.items()}
