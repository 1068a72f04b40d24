"""Everything a plugin may do: five hooks. ``docs/hooks.md`` describes them one by one."""

from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable

import pluggy

from emoca_core.registry.kinds import KindSpec
from emoca_core.registry.spec import ComponentSpec

PROJECT = "emoca"
ENTRY_POINT_GROUP = "emoca.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def emoca_components() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Return the components this plugin offers. Must not import torch."""


@hookspec
def emoca_kinds() -> Iterable[KindSpec]:  # type: ignore[empty-body]
    """Return kinds of components that this plugin adds to those of ``emoca_core.registry.kinds``."""


@hookspec
def emoca_catalogues() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return registry.yaml files shipped with this plugin: cards and recipes for its components."""


@hookspec
def emoca_formats() -> Iterable[str]:  # type: ignore[empty-body]
    """Return where tables of published files lie, ``"package.module:FORMATS"``: what ``emoca assets add`` knows."""


@hookspec
def emoca_crops() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return crop rules by name, ``{"emoca": "package.module:Class"}``: what ``--crop`` offers."""
