"""Name -> class -> instance. Filled from pluggy plugins, found by entry point, imported lazily."""

import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import pluggy

from emoca_core.errors import ComponentImportError, DuplicateComponentError, RecipeError, unknown_name
from emoca_core.registry import hookspecs
from emoca_core.registry.kinds import KINDS, KindSpec
from emoca_core.registry.spec import ComponentSpec, Kind, used_components, validated

if TYPE_CHECKING:
    from emoca_core.interfaces import (
        DetailModel,
        EmotionBackbone,
        Encoder,
        FaceDataset,
        FaceModel,
        Landmarker,
        Loss,
        Parts,
        Renderer,
        Tracker,
    )

_Given = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A component together with who offers it."""

    spec: ComponentSpec
    plugin: str
    version: str


@dataclass
class Registry:
    """All components of all plugins.

    A plugin that fails to load does not stop the others: it is kept in ``failures`` and named in the
    error of whoever asks for something that is missing.
    """

    kinds: dict[Kind, KindSpec] = field(default_factory=lambda: dict(KINDS))
    components: dict[tuple[Kind, str], Registered] = field(default_factory=dict)
    catalogues: dict[str, list[Traversable]] = field(default_factory=dict)
    formats: dict[str, list[str]] = field(default_factory=dict)
    """Plugin -> where its tables of published files lie (``emoca_core.formats.known`` loads them)."""
    crops: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name of a crop rule -> its plugin, and where the class lies (``emoca_core.images.crops`` loads it)."""
    failures: dict[str, Exception] = field(default_factory=dict)
    pm: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(hookspecs.PROJECT))

    def __post_init__(self) -> None:
        self.pm.add_hookspecs(hookspecs)

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        return iter(sorted(self.components))

    def load_entry_points(self, group: str = hookspecs.ENTRY_POINT_GROUP) -> None:
        """Load every installed plugin; third-party packages join here."""
        for entry_point in importlib.metadata.entry_points(group=group):
            version = entry_point.dist.version if entry_point.dist else "unknown"
            self.try_plugin(entry_point.load, entry_point.name, version)

    def try_plugin(self, load: Callable[[], object], name: str, version: str) -> None:
        """Load and add a plugin; remember the exception instead of raising it.

        pluggy's own loader stops at the first broken package, which would let one plugin disable all.
        """
        try:
            self.add_plugin(load(), name, version)
        except Exception as error:  # a third party's code may fail in any way
            self.failures[name] = error

    def add_plugin(self, plugin: object, name: str, version: str = "local") -> None:
        """Register an already imported module or object (tests, notebooks). All or nothing.

        Raises:
            DuplicateComponentError: Another plugin offers the same name.
            pluggy.PluginValidationError: A hook is misspelt or has wrong arguments.
            TypeError: A hook returns something other than ``ComponentSpec``.
        """
        self.pm.register(plugin, name)
        try:
            self.pm.check_pending()  # a misspelt hook name is an error, not silence
            kinds = self.kinds | {kind.name: kind for kind in self._returned_by(plugin, "emoca_kinds")}
            specs = cast(list[ComponentSpec], self._returned_by(plugin, "emoca_components"))
            entries = {(s.kind, s.name): Registered(s, name, version) for s in (_checked(s, kinds) for s in specs)}
            self._refuse_clashes(entries, [(s.kind, s.name) for s in specs])
            catalogues = cast(list[Traversable], self._returned_by(plugin, "emoca_catalogues"))
            formats = [_target(target) for target in self._returned_by(plugin, "emoca_formats")]
            crops = {rule: (name, _target(target)) for rule, target in self._returned_items(plugin, "emoca_crops")}
            self._refuse_known_crops(crops)
        except Exception:
            self.pm.unregister(plugin)
            raise
        self.kinds = kinds
        self.components |= entries
        self.catalogues[name] = catalogues
        self.formats[name] = formats
        self.crops |= crops

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
            notes = [f"plugin '{p}' failed to load: {type(e).__name__}: {e}" for p, e in self.failures.items()]
            raise unknown_name(kind, name, self.names(kind), notes) from None

    def resolve(self, kind: Kind, name: str) -> type[Any]:
        """Import and return the class behind a name.

        Raises:
            UnknownNameError: No such name.
            ComponentImportError: Its module or an optional dependency cannot be imported.
        """
        entry = self.find(kind, name)
        try:
            return entry.spec.load()
        except (ImportError, AttributeError) as error:
            raise _cannot_import(kind, name, entry, error) from error

    @overload
    def build(self, kind: Literal["landmarker"], name: str, params: _Given = None) -> "Landmarker": ...
    @overload
    def build(self, kind: Literal["tracker"], name: str, params: _Given = None) -> "Tracker": ...
    @overload
    def build(
        self, kind: Literal["encoder"], name: str, params: _Given = None, parts: "Parts | None" = None
    ) -> "Encoder": ...
    @overload
    def build(self, kind: Literal["face_model"], name: str, params: _Given = None) -> "FaceModel": ...
    @overload
    def build(self, kind: Literal["renderer"], name: str, params: _Given = None) -> "Renderer": ...
    @overload
    def build(self, kind: Literal["detail"], name: str, params: _Given = None) -> "DetailModel": ...
    @overload
    def build(self, kind: Literal["emotion_backbone"], name: str, params: _Given = None) -> "EmotionBackbone": ...
    @overload
    def build(
        self, kind: Literal["loss"], name: str, params: _Given = None, parts: "Parts | None" = None
    ) -> "Loss": ...
    @overload
    def build(self, kind: Literal["dataset"], name: str, params: _Given = None) -> "FaceDataset": ...
    @overload
    def build(self, kind: Kind, name: str, params: _Given = None, parts: "Parts | None" = None) -> Any: ...

    def build(self, kind: Kind, name: str, params: _Given = None, parts: "Parts | None" = None) -> Any:
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
            ParamsError: A parameter is unknown or out of range.
            MissingAssetError: A file that the user has to provide is absent.
        """
        cls, chosen = self.resolve(kind, name), self.params(kind, name, params)
        handed: dict[str, Any] = {}
        for field_name, used_kind in used_components(cls.Params).items():
            used = getattr(chosen, field_name)
            handed[field_name] = self.build(used_kind, used.uses, used.params)
        if getattr(cls, "takes_parts", False):
            if parts is None:
                raise RecipeError(f"{kind} '{name}' is built for a face model: give build(..., parts=Parts(...))")
            handed["parts"] = parts
        try:
            return cls(chosen, **handed)
        except ModuleNotFoundError as error:  # a part may import what it needs only when it is built
            raise _cannot_import(kind, name, self.find(kind, name), error) from error

    def params(self, kind: Kind, name: str, params: Mapping[str, Any] | None = None) -> Any:
        """The validated ``Params`` of a component.

        Raises:
            ParamsError: A parameter is unknown or out of range; the message names each with its nearest neighbour.
        """
        return validated(self.resolve(kind, name).Params, params or {}, f"{kind} '{name}'")

    def _returned_by(self, plugin: object, hook: str) -> list[Any]:
        implementations = [i for i in getattr(self.pm.hook, hook).get_hookimpls() if i.plugin is plugin]
        return [item for i in implementations for item in cast(Iterable[Any], i.function())]

    def _returned_items(self, plugin: object, hook: str) -> list[tuple[Any, Any]]:
        implementations = [i for i in getattr(self.pm.hook, hook).get_hookimpls() if i.plugin is plugin]
        return [item for i in implementations for item in cast(Mapping[Any, Any], i.function()).items()]

    def _refuse_known_crops(self, new: Mapping[str, tuple[str, str]]) -> None:
        for rule, (plugin, _) in new.items():
            if rule in self.crops:
                raise DuplicateComponentError(
                    f"crop rule '{rule}' is offered by '{self.crops[rule][0]}' and by '{plugin}'"
                )

    def _refuse_clashes(self, new: Mapping[tuple[Kind, str], Registered], keys: list[tuple[Kind, str]]) -> None:
        for key, entry in new.items():
            old = self.components.get(key) or (entry if keys.count(key) > 1 else None)
            if old:
                raise DuplicateComponentError(
                    f"{key[0]} '{key[1]}' is offered by '{old.plugin}' and by '{entry.plugin}'"
                )


def _cannot_import(kind: Kind, name: str, entry: Registered, error: Exception) -> ComponentImportError:
    hint = f" Try: pip install 'emoca-core[{e}]'" if (e := entry.spec.extra) else ""
    return ComponentImportError(f"{kind} '{name}' (plugin '{entry.plugin}') cannot be imported: {error}.{hint}")


def _target(target: object) -> str:
    if not isinstance(target, str) or not all(target.partition(":")):
        raise TypeError(f"emoca_formats and emoca_crops must return 'package.module:name', got {target!r}")
    return target


def _checked(spec: object, kinds: Mapping[Kind, KindSpec]) -> ComponentSpec:
    if not isinstance(spec, ComponentSpec):
        raise TypeError(f"emoca_components must return ComponentSpec objects, got {type(spec).__name__}")
    if spec.kind not in kinds:
        raise unknown_name("kind", spec.kind, kinds)
    return spec


@functools.cache
def get_registry() -> Registry:
    """The registry of everything installed, loaded once."""
    registry = Registry()
    registry.load_entry_points()
    return registry
