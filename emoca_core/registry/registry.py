"""Name -> class -> instance. Filled from pluggy plugins, found by entry point, imported lazily."""

import contextlib
import copy
import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Literal, overload

import pluggy

from emoca_core.errors import (
    ComponentBuildError,
    ComponentImportError,
    DuplicateComponentError,
    EmocaError,
    PluginError,
    RecipeError,
    unknown_name,
)
from emoca_core.registry import hookspecs
from emoca_core.registry.containment import aside, contained, said_by
from emoca_core.registry.kinds import KINDS, KindSpec
from emoca_core.registry.offers import (
    Offer,
    Origin,
    Problem,
    ask,
    call_hooks,
    checked_component,
    checked_crop,
    checked_kind,
    checked_target,
)
from emoca_core.registry.spec import ComponentParams, ComponentSpec, Kind, load_target, used_components, validated

if TYPE_CHECKING:
    from emoca_core import interfaces
    from emoca_core.interfaces import Component, Parts

OWN_PACKAGE = "emoca-core"
"""Whose plugins come first, so that nobody can take their names."""
_TABLES = ("kinds", "components", "catalogues", "formats", "crops")
_Given = Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A component together with who offers it."""

    spec: ComponentSpec
    origin: Origin

    @property
    def plugin(self) -> str:
        """Name of the plugin."""
        return self.origin.plugin

    @property
    def version(self) -> str:
        """Version of its package."""
        return self.origin.version


@dataclass
class Registry:
    """All components of all plugins.

    A plugin costs nobody but itself: what it offers in vain is left out, and named by ``problems``, by ``emoca list``
    and ``emoca doctor``, and in the error of whoever asks for something that is missing.
    """

    kinds: dict[Kind, KindSpec] = field(default_factory=lambda: dict(KINDS))
    components: dict[tuple[Kind, str], Registered] = field(default_factory=dict)
    catalogues: dict[Origin, list[Traversable]] = field(default_factory=dict)
    formats: dict[Origin, list[str]] = field(default_factory=dict)
    """Plugin -> where its tables of published files lie (``emoca_core.formats.known`` loads them)."""
    crops: dict[str, tuple[Origin, str]] = field(default_factory=dict)
    """Name of a crop rule -> its plugin, and where the class lies (``emoca_core.images.crops`` loads it)."""
    problems: list[Problem] = field(default_factory=list)
    pm: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(hookspecs.PROJECT))

    def __post_init__(self) -> None:
        self.pm.add_hookspecs(hookspecs)

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        return iter(sorted(self.components))

    def load_entry_points(self, group: str = hookspecs.ENTRY_POINT_GROUP) -> None:
        """Load every installed plugin, the built-in ones first; third-party packages join here."""
        found = sorted((_origin(point), point.load) for point in importlib.metadata.entry_points(group=group))
        self.try_plugins([(load, origin) for (_, origin), load in found])

    def try_plugins(self, plugins: Iterable[tuple[Callable[[], object], Origin]]) -> None:
        """Load and add plugins; what fails is remembered instead of raised, and costs nobody else anything."""
        offers = []
        for load, origin in plugins:
            if self.pm.has_plugin(origin.plugin):
                origin = replace(origin, plugin=f"{origin.plugin} ({origin.package or 'another'})")
            try:
                offers.append(ask(self.pm, load, origin))
            except PluginError as error:
                self.report(origin, "plugin", error)
        for offer in offers:
            for remark in offer.remarks:
                self.problems.append(Problem(offer.origin, "plugin", remark))
            self._admit(offer, "emoca_kinds")
        for offer in offers:  # whose components may be of each other's kinds
            for hook in offer.items.keys() - {"emoca_kinds"}:
                self._admit(offer, hook)

    def add_plugin(self, plugin: object, name: str, version: str = "local") -> None:
        """Register an already imported module or object (tests, notebooks). All or nothing.

        Raises:
            DuplicateComponentError: Another plugin offers the same name.
            pluggy.PluginValidationError: A hook is misspelt or has wrong arguments.
            TypeError: A hook returns something other than it should.
        """
        self.pm.register(plugin, name)
        trial = copy.copy(self)
        for table in _TABLES:
            setattr(trial, table, dict(getattr(self, table)))
        try:
            for hook, items in sorted(call_hooks(self.pm, plugin).items(), key=lambda hook: hook[0] != "emoca_kinds"):
                for item in items:
                    trial._add(hook, item, Origin(name, version))
        except BaseException:
            self.pm.unregister(plugin)
            raise
        for table in _TABLES:
            setattr(self, table, getattr(trial, table))

    def report(self, origin: Origin, what: str, error: BaseException) -> None:
        """Remember, once, what is wrong with something that a plugin offers."""
        problem = Problem(origin, what, said_by(error))
        if problem not in self.problems:
            self.problems.append(problem)

    def _admit(self, offer: Offer, hook: str) -> None:
        for item in offer.items[hook]:
            what = [hook]
            try:
                with contained():
                    what.append(_label(hook, item))
                    self._add(hook, item, offer.origin)
            except PluginError as error:
                self.report(offer.origin, what[-1], error.__cause__ or error)

    def _add(self, hook: str, item: object, origin: Origin) -> None:
        """Take one item of a hook.

        Raises:
            DuplicateComponentError: Its name is taken.
            TypeError: It is not what the hook should return.
        """
        match hook:
            case "emoca_kinds":
                kind = checked_kind(item, self.kinds)
                self.kinds[kind.name] = kind
            case "emoca_components":
                spec = checked_component(item, self.kinds)
                if old := self.components.get((spec.kind, spec.name)):
                    raise _taken(f"{spec.kind} '{spec.name}'", old.origin, origin)
                self.components[spec.kind, spec.name] = Registered(spec, origin)
            case "emoca_catalogues":
                if not isinstance(item, Traversable):
                    raise TypeError(f"emoca_catalogues must return paths, got {type(item).__name__}")
                hash(item)
                self.catalogues[origin] = [*self.catalogues.get(origin, []), item]
            case "emoca_formats":
                self.formats[origin] = [*self.formats.get(origin, []), checked_target(item)]
            case "emoca_crops":
                rule, target = checked_crop(item)
                if rule in self.crops:
                    raise _taken(f"crop rule '{rule}'", self.crops[rule][0], origin)
                self.crops[rule] = origin, target

    def names(self, kind: Kind) -> list[str]:
        """Names available for one kind, sorted."""
        return sorted(name for k, name in self.components if k == kind)

    def find(self, kind: Kind, name: str) -> Registered:
        """The entry behind a name, without importing it.

        Raises:
            UnknownNameError: No such kind or name; the message lists what exists and which plugins failed.
        """
        if kind not in self.kinds:
            raise unknown_name("kind", kind, self.kinds)
        try:
            return self.components[kind, name]
        except KeyError:
            raise unknown_name(kind, name, self.names(kind), map(str, self.problems)) from None

    def resolve(self, kind: Kind, name: str) -> "type[Component]":
        """Import and return the class behind a name.

        Raises:
            UnknownNameError: No such name.
            ComponentImportError: Its module or an optional dependency cannot be imported, or it is not of its kind.
        """
        entry = self.find(kind, name)
        try:
            with aside():  # standard output belongs to the command
                cls: object = load_target(entry.spec.target)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a third party's code may fail in any way
            raise _cannot_import(entry, error) from error
        interface = self.kinds[kind]
        from emoca_core.interfaces import Component  # with torch

        if not (isinstance(cls, type) and issubclass(cls, Component) and issubclass(cls, interface.load_interface())):
            raise ComponentImportError(f"{_named(entry)} is no subclass of {interface.interface.replace(':', '.')}")
        if not (isinstance(cls.Params, type) and issubclass(cls.Params, ComponentParams)):
            raise ComponentImportError(f"{_named(entry)}: Params is no subclass of emoca_core.ComponentParams")
        return cls

    @overload
    def build(self, kind: Literal["landmarker"], name: str, params: _Given = None) -> "interfaces.Landmarker": ...
    @overload
    def build(self, kind: Literal["tracker"], name: str, params: _Given = None) -> "interfaces.Tracker": ...
    @overload
    def build(
        self, kind: Literal["encoder"], name: str, params: _Given = None, parts: "Parts | None" = None
    ) -> "interfaces.Encoder": ...
    @overload
    def build(self, kind: Literal["face_model"], name: str, params: _Given = None) -> "interfaces.FaceModel": ...
    @overload
    def build(self, kind: Literal["renderer"], name: str, params: _Given = None) -> "interfaces.Renderer": ...
    @overload
    def build(self, kind: Literal["detail"], name: str, params: _Given = None) -> "interfaces.DetailModel": ...
    @overload
    def build(
        self, kind: Literal["emotion_backbone"], name: str, params: _Given = None
    ) -> "interfaces.EmotionBackbone": ...
    @overload
    def build(
        self, kind: Literal["loss"], name: str, params: _Given = None, parts: "Parts | None" = None
    ) -> "interfaces.Loss": ...
    @overload
    def build(self, kind: Literal["dataset"], name: str, params: _Given = None) -> "interfaces.FaceDataset": ...
    @overload
    def build(self, kind: Literal["exporter"], name: str, params: _Given = None) -> "interfaces.Exporter": ...
    @overload
    def build(self, kind: Literal["sender"], name: str, params: _Given = None) -> "interfaces.Sender": ...
    @overload
    def build(self, kind: Kind, name: str, params: _Given = None, parts: "Parts | None" = None) -> "Component": ...

    def build(self, kind: Kind, name: str, params: _Given = None, parts: "Parts | None" = None) -> "Component":
        """Validate ``params`` with the component's own ``Params`` and construct it, with the components it uses.

        Args:
            kind: Kind of the component.
            name: Its name.
            params: Its parameters.
            parts: The other parts of its method, for components whose constructor takes them.

        Raises:
            RecipeError: It can only be built for the parts of a method, and there are none.
            UnknownNameError: No such name.
            ComponentImportError: It cannot be imported.
            ComponentBuildError: It fails for a reason of its own.
            ParamsError: A parameter is unknown or out of range.
            MissingAssetError: A file that the user has to provide is absent.
        """
        cls, chosen = self.resolve(kind, name), self.params(kind, name, params)
        construct: Callable[..., Component] = cls
        handed: dict[str, object] = {}
        for field_name, used_kind in used_components(cls.Params).items():
            used = getattr(chosen, field_name)
            handed[field_name] = self.build(used_kind, used.uses, used.params, parts)
        if cls.takes_parts:
            if parts is None:
                raise RecipeError(f"{kind} '{name}' is built for a face model: give build(..., parts=Parts(...))")
            handed["parts"] = parts
        try:
            with aside():
                return construct(chosen, **handed)
        except ModuleNotFoundError as error:  # a part may import what it needs only when it is built
            raise _cannot_import(self.find(kind, name), error) from error
        except (EmocaError, OSError, MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise ComponentBuildError(f"{_named(self.find(kind, name))} cannot be built: {said_by(error)}") from error

    def params(self, kind: Kind, name: str, params: _Given = None) -> ComponentParams:
        """The validated ``Params`` of a component.

        Raises:
            ParamsError: A parameter is unknown or out of range; the message names each with its nearest neighbour.
        """
        return validated(self.resolve(kind, name).Params, params or {}, f"{kind} '{name}'")


def _named(entry: Registered) -> str:
    return f"{entry.spec.kind} '{entry.spec.name}' (plugin '{entry.plugin}')"


def _cannot_import(entry: Registered, error: BaseException) -> ComponentImportError:
    reason = str(error) if isinstance(error, ImportError | AttributeError) else said_by(error)
    hint = f" Try: pip install 'emoca-core[{e}]'" if (e := entry.spec.extra) else ""
    return ComponentImportError(f"{_named(entry)} cannot be imported: {reason}.{hint}")


def _label(hook: str, item: object) -> str:
    """What an item is called in messages."""
    if isinstance(item, ComponentSpec):
        return f"{item.kind} '{item.name}'"
    if isinstance(item, KindSpec):
        return f"kind '{item.name}'"
    return f"crop rule '{item[0]}'" if isinstance(item, tuple) else f"{hook} {item}"


def _taken(what: str, old: Origin, new: Origin) -> DuplicateComponentError:
    return DuplicateComponentError(f"{what} is offered by '{old.plugin}' and by '{new.plugin}'")


def _origin(point: importlib.metadata.EntryPoint) -> tuple[tuple[bool, str, str], Origin]:
    """Who an entry point belongs to, with a key that sorts the built-in ones first, and the others always alike."""
    package, version = None, "unknown"
    with contextlib.suppress(Exception):  # damaged metadata
        if point.dist is not None:
            package, version = point.dist.metadata["Name"], point.dist.version
    own = package == OWN_PACKAGE
    return (not own, package or "", point.name), Origin(point.name, version, None if own else package)


@functools.cache
def get_registry() -> Registry:
    """The registry of everything installed, loaded once.

    Example:
        >>> head = get_registry().build("face_model", "open_head", {"texture_size": 64})
        >>> head.blocks["expression"]
        52
    """
    registry = Registry()
    registry.load_entry_points()
    return registry
