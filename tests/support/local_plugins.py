"""Plugins made on the spot."""

import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from emoca_core import ComponentSpec, Registry, hookimpl


def plugin(*specs: ComponentSpec, catalogues: Iterable[object] = (), hook: str = "emoca_components") -> object:
    """A plugin object that offers some components and catalogue files."""

    def components() -> tuple[ComponentSpec, ...]:
        return specs

    def files() -> list[object]:
        return list(catalogues)

    made = types.SimpleNamespace()
    setattr(made, hook, hookimpl(components))
    made.emoca_catalogues = hookimpl(files)
    return made


@contextmanager
def component_registry(kind: str, **classes: type) -> Iterator[Registry]:
    """A registry that offers the given classes under the names of the arguments."""
    module = types.ModuleType("classes_under_test")
    vars(module).update(classes)
    sys.modules[module.__name__] = module
    registry = Registry()
    registry.add_plugin(plugin(*(ComponentSpec(kind, name, f"{module.__name__}:{name}") for name in classes)), "test")
    try:
        yield registry
    finally:
        del sys.modules[module.__name__]
