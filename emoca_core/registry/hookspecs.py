"""Everything a plugin may do: two hooks. ``docs/hooks.md`` describes them one by one."""

from collections.abc import Iterable
from importlib.resources.abc import Traversable

import pluggy

from emoca_core.registry.spec import ComponentSpec

PROJECT = "emoca"
ENTRY_POINT_GROUP = "emoca.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def emoca_components() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Return the components this plugin offers. Must not import torch."""


@hookspec
def emoca_catalogues() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return registry.yaml files shipped with this plugin: cards and recipes for its components."""
