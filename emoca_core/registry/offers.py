"""What a plugin offers, asked for in a way that costs nobody but itself.

A plugin is a stranger's code. Whatever it raises is an error of its own, what it prints does not reach the output of a
command, and it has an end.
"""

import contextlib
import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pluggy

from emoca_core.errors import EmocaError, PluginError, printable, unknown_name
from emoca_core.limits import PLUGIN_OFFERS, PLUGIN_SECONDS
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
    items: Mapping[str, list[Any]]
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
    if text := said.getvalue().strip():
        remarks.append(f"prints while it is loaded, which would spoil the output of commands: {text[:60]!r}")
    if (seconds := time.monotonic() - started) > SLOW:
        remarks.append(f"takes {seconds:.0f} s to load, for which every command waits: its module should be light")
    return Offer(origin, offered, tuple(remarks))


def call_hooks(pm: pluggy.PluginManager, plugin: object) -> dict[str, list[Any]]:
    """What the hooks of a registered plugin return.

    Raises:
        pluggy.PluginValidationError: A hook is misspelt or has wrong arguments.
        PluginError: More than ``PLUGIN_OFFERS``.
    """
    pm.check_pending()  # a misspelt hook name is an error, not silence
    offered: dict[str, list[Any]] = {}
    for hook, caller in vars(pm.hook).items():
        implementations = [i for i in caller.get_hookimpls() if i.plugin is plugin]
        offered[hook] = [item for i in implementations for item in _bounded(hook, i.function())]
    return offered


def _bounded(hook: str, returned: Any) -> list[Any]:
    items = returned.items() if isinstance(returned, Mapping) else returned
    some = list(islice(items, PLUGIN_OFFERS.most + 1))
    PLUGIN_OFFERS.check(len(some), hook, PluginError)
    return some


@contextlib.contextmanager
def contained(seconds: float | None = None) -> Iterator[io.StringIO]:
    """Run a stranger's code; what it prints is in the result.

    Args:
        seconds: After which it is stopped, where that is possible: in the main thread of a process that has signals.

    Raises:
        PluginError: Whatever it raised, but for Ctrl-C.
    """
    said = _Heard()
    try:
        with (
            contextlib.redirect_stdout(said),
            _same_folder(),
            _deadline(float(PLUGIN_SECONDS.most if seconds is None else seconds)),
        ):
            yield said
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # SystemExit and whatever else a third party's code may raise
        raise PluginError(said_by(error)) from error


class _Heard(io.StringIO):
    """Cannot be closed by the stranger."""

    def close(self) -> None:
        """Leave the text readable."""


@contextlib.contextmanager
def _same_folder() -> Iterator[None]:
    """Come back to the current folder, from which the user's relative paths start."""
    try:
        before = os.getcwd()
    except FileNotFoundError:  # it was removed
        yield
        return
    try:
        yield
    finally:
        os.chdir(before)


def said_by(error: BaseException) -> str:
    """What an error says, on one line; that of a stranger with its type."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # even that is a stranger's code
        text = "(its text cannot be read)"
    return text if isinstance(error, EmocaError) else f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, None)):
        yield
        return

    def stop(*_: object) -> None:
        raise PluginError(f"does not come to an end within {seconds:g} s ({PLUGIN_SECONDS.variable} raises the limit)")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # once a second, should it be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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


def checked_target(target: object) -> str:
    """Where something can be imported from.

    Raises:
        TypeError: It does not say so.
    """
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise TypeError(f"a target is 'package.module:name', not {str(target)[:60]!r}")
    return target
