"""``emoca doctor``: what a bug report needs."""

import argparse
import platform
from collections.abc import Iterator

from emoca_core.cli import DONE, SOME_FAILED, Subparsers
from emoca_core.errors import ComponentImportError, EmocaError, MissingAssetError
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.registry.spec import Kind
from emoca_core.version import VERSION, version_of

NAME = "doctor"
HELP = "versions, device and plugins of this installation"

PACKAGES = ("torch", "torchvision", "timm", "numpy", "numba", "mediapipe", "pydantic", "jaxtyping", "accelerate")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument(
        "--deep", action="store_true", help="import every component, and build those of other people that can be"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the facts, one per line, then what is wrong; 1 if anything is."""
    registry = get_registry()
    for label, value in facts(args.catalogue, registry):
        print(f"{label:<24} {value}")
    problems = [str(problem) for problem in registry.problems]
    if args.deep:
        problems += broken_components(registry)
    for problem in problems:
        print(f"{'! problem':<24} {problem}")
    return SOME_FAILED if problems else DONE


def facts(registry_file: str | None, registry: Registry) -> Iterator[tuple[str, str]]:
    """What is installed and what it runs on."""
    import torch

    yield "emoca-core", VERSION
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        yield package, version_of(package)
    cuda = torch.cuda.is_available()
    yield "device", torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    catalogue = get_catalogue(registry_file, registry)
    offers = {entry.plugin: entry.version for entry in registry.components.values()}
    for plugin, version in offers.items():
        yield f"plugin {plugin}", version
    yield "recipes", ", ".join(sorted(catalogue.recipes)) or "none"


def broken_components(registry: Registry) -> Iterator[str]:
    """One line for every component that cannot be imported, is not of its kind, or fails while it is built.

    An optional dependency that is not installed is no fault. Built-in components are not built: that takes files and
    minutes, and their tests do it.
    """
    for kind, name in registry:
        entry = registry.find(kind, name)
        try:
            cls = registry.resolve(kind, name)
            if missing := ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))):
                yield f"{kind} '{name}' (plugin '{entry.plugin}') does not implement {missing}"
            elif entry.origin.package is not None and not cls.takes_parts:
                _try_to_build(kind, name, registry)
        except ComponentImportError as error:
            if not (entry.spec.extra and isinstance(error.__cause__, ImportError)):
                yield str(error)
        except EmocaError as error:
            yield str(error)


def _try_to_build(kind: Kind, name: str, registry: Registry) -> None:
    """Build a component as it is by default; it may need parameters or files."""
    if any(field.is_required() for field in registry.resolve(kind, name).Params.model_fields.values()):
        return
    try:
        registry.build(kind, name)
    except MissingAssetError:
        return
