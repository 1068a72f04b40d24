"""``emoca doctor``: what a bug report needs."""

import argparse
import importlib.metadata
import platform
from collections.abc import Iterator

from emoca_core.cli import Subparsers
from emoca_core.registry import get_registry
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.version import VERSION

NAME = "doctor"
HELP = "versions, device and plugins of this installation"

PACKAGES = ("torch", "torchvision", "timm", "numpy", "numba", "mediapipe", "pydantic", "jaxtyping", "accelerate")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the facts, one per line."""
    for label, value in facts(args.registry):
        print(f"{label:<24} {value}")
    return 0


def facts(registry_file: str | None) -> Iterator[tuple[str, str]]:
    """What is installed and what it runs on."""
    import torch

    yield "emoca-core", VERSION
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        yield package, _version(package)
    cuda = torch.cuda.is_available()
    yield "device", torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    registry = get_registry()
    catalogue = get_catalogue(registry_file, registry)
    offers = {entry.plugin: entry.version for entry in registry.components.values()}
    for plugin, version in offers.items():
        yield f"plugin {plugin}", version
    for plugin, error in registry.failures.items():
        yield f"plugin {plugin}", f"failed to load: {type(error).__name__}: {error}"
    yield "recipes", ", ".join(sorted(catalogue.recipes)) or "none"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
