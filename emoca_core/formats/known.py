"""The tables of all plugins, loaded when a file is to be recognised."""

from collections.abc import Iterable

from emoca_core.errors import DuplicateComponentError, PluginError
from emoca_core.formats.table import Format
from emoca_core.registry import Registry
from emoca_core.registry.containment import contained
from emoca_core.registry.spec import load_target


def known_formats(registry: Registry) -> tuple[Format, ...]:
    """Formats of all plugins, in their order: the first that fits a file names it.

    A plugin whose tables cannot be loaded costs itself alone, and is reported to the registry.
    """
    known: list[Format] = []
    owners: dict[str, str] = {}
    for origin, targets in registry.formats.items():
        plugin = origin.plugin
        try:
            with contained():
                offered = [_checked(item, target) for target in targets for item in load_target(target)]
            for format_ in offered:
                if owners.get(format_.name, plugin) != plugin:
                    raise DuplicateComponentError(
                        f"format '{format_.name}' is offered by '{owners[format_.name]}' and by '{plugin}'"
                    )
        except (PluginError, DuplicateComponentError) as error:
            registry.report(origin, "formats", error.__cause__ or error)
            continue
        owners |= {format_.name: plugin for format_ in offered}
        known += offered
    return tuple(known)


def names_of(formats: Iterable[Format]) -> list[str]:
    """All assets that files of these formats can be."""
    return sorted({asset for candidate in formats for asset in candidate.assets})


def _checked(item: object, target: str) -> Format:
    if not isinstance(item, Format):
        raise TypeError(f"{target} must hold Format objects, got {type(item).__name__}")
    return item
