"""The version of the package, for everything that records what made it, and those of others."""

import importlib.metadata

VERSION = "0.1.0"


def version_of(package: str) -> str:
    """The installed version of a package, or ``"not installed"``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
