"""What a plugin offers, asked for in a way that costs nobody but itself."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import pluggy

from emoca_core.errors import PluginError, printable, unknown_name
from emoca_core.limits import PLUGIN_OFFERS
from emoca_core.registry.containment import contained
from emoca_core.registry.kinds import KindSpec
from emoca_core.registry.spec import ComponentSpec, Kind

SLOW = 5.0
"""Seconds; a plugin that every command has to wait for longer is named."""
_NAME = re.compile(r"\w[\w.-]{0,99}")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who offers something.

    Attributes:
        plugin: Name of the plugin, unique in a registry.
        version: Of its package.
        package: What ``pip uninstall`` takes; ``None`` for the built-in plugins and for those added by hand.
    """

    plugin: str
    version: str = "local"
    package: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a plugin offers and that was left out, or something that it should not do.

    Attributes:
        origin: Whose it is.
        what: ``"loss 'mine'"``, ``"mine.yaml"``; ``"plugin"`` is the whole of it.
        reason: Why, on one line.
    """

    origin: Origin
    what: str
    reason: str

    def __str__(self) -> str:
        o = self.origin
        whose = f"plugin '{o.plugin}'" if self.what == "plugin" else f"{self.what} of plugin '{o.plugin}'"
        remedy = f" (pip uninstall {o.package} removes it)" if o.package else ""
        return printable(f"{whose}: {self.reason}{remedy}")


@dataclass(frozen=True, slots=True)
class Offer:
    """Everything that the hooks of one plugin return, as it came.

    Attributes:
        origin: Whose it is.
        items: By hook; names of crop rules with their targets as pairs.
        remarks: What it did besides, which harms nobody but should not be.
    """

    origin: Origin
    items: Mapping[str, list[object]]
    remarks: tuple[str, ...] = ()


def ask(pm: pluggy.PluginManager, load: Callable[[], object], origin: Origin) -> Offer:
    """Import a plugin and call its hooks.

    Raises:
        PluginError: It failed, printed its last words, took too long, or offers too much.
    """
    started = time.monotonic()
    with contained() as said:
        plugin = load()
        pm.register(plugin, origin.plugin)
        try:
            offered = call_hooks(pm, plugin)
        except BaseException:
            pm.unregister(plugin)
            raise
    remarks = []
    if said.text:
        remarks.append(f"prints while it is loaded, which would spoil the output of commands: {said.text[:60]!r}")
    if (seconds := time.monotonic() - started) > SLOW:
        remarks.append(f"takes {seconds:.0f} s to load, for which every command waits: its module should be light")
    return Offer(origin, offered, tuple(remarks))


def call_hooks(pm: pluggy.PluginManager, plugin: object) -> dict[str, list[object]]:
    """What the hooks of a registered plugin return.

    Raises:
        pluggy.PluginValidationError: A hook is misspelt or has wrong arguments.
        PluginError: More than ``PLUGIN_OFFERS``.
    """
    pm.check_pending()  # a misspelt hook name is an error, not silence
    offered: dict[str, list[object]] = {}
    for hook, caller in vars(pm.hook).items():
        implementations = [i for i in caller.get_hookimpls() if i.plugin is plugin]
        offered[hook] = [item for i in implementations for item in _bounded(hook, i.function())]
    return offered


def _bounded(hook: str, returned: object) -> list[object]:
    items = returned.items() if isinstance(returned, Mapping) else returned
    if not isinstance(items, Iterable):
        raise TypeError(f"{hook} must return several things, got {type(items).__name__}")
    some = list(islice(items, PLUGIN_OFFERS.most + 1))
    PLUGIN_OFFERS.check(len(some), hook, PluginError)
    return some


def checked_component(spec: object, kinds: Mapping[Kind, KindSpec]) -> ComponentSpec:
    """A component that can be registered.

    Raises:
        TypeError: No ``ComponentSpec``, or a field that is not what it should be.
        UnknownNameError: There is no such kind.
    """
    if not isinstance(spec, ComponentSpec):
        raise TypeError(f"emoca_components must return ComponentSpec objects, got {type(spec).__name__}")
    if spec.kind not in kinds:
        raise unknown_name("kind", str(spec.kind), kinds)
    checked_name(spec.name)
    checked_target(spec.target)
    if not isinstance(spec.extra, str | None):
        raise TypeError(f"the extra of a component is a text, got {spec.extra!r}")
    return spec


def checked_kind(kind: object, known: Iterable[Kind]) -> KindSpec:
    """A kind that can be added.

    Raises:
        TypeError: No ``KindSpec``, a field that is not what it should be, or a kind that exists.
    """
    if not isinstance(kind, KindSpec):
        raise TypeError(f"emoca_kinds must return KindSpec objects, got {type(kind).__name__}")
    if checked_name(kind.name) in known:
        raise TypeError(f"there is a kind '{kind.name}' already")
    if kind.place not in ("optional", "apart"):
        raise TypeError(f"the place of a plugin's kind is 'optional' or 'apart', not {kind.place!r}")
    for target in (kind.interface, *filter(None, [kind.check])):
        checked_target(target)
    return kind


def checked_name(name: object) -> str:
    """A name as people type it on a command line.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TypeError(f"a name is letters, digits, '_', '-' and '.', not {str(name)[:60]!r}")
    return name


def checked_crop(rule: object) -> tuple[str, str]:
    """Name and target of a crop rule.

    Raises:
        TypeError: It is not that.
    """
    if not (isinstance(rule, tuple) and len(rule) == 2):
        raise TypeError(f"emoca_crops must return targets by name, got {type(rule).__name__}")
    return checked_name(rule[0]), checked_target(rule[1])


def checked_target(target: object) -> str:
    """Where something can be imported from.

    Raises:
        TypeError: It does not say so.
    """
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise TypeError(f"a target is 'package.module:name', not {str(target)[:60]!r}")
    return target
