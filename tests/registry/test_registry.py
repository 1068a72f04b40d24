"""Names to classes to instances, and what is said when that fails."""

import inspect
import subprocess
import sys

import pluggy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_plugins import plugin

from emoca_core import ComponentParams, ComponentSpec, Registry, errors, get_registry, hookimpl
from emoca_core.interfaces import Loss
from emoca_core.registry.kinds import KINDS
from emoca_core.registry.offers import Origin

SPEC = ComponentSpec("loss", "twice", "classes_that_do_not_exist:Twice")
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)


def registry_of(*specs: ComponentSpec) -> Registry:
    registry = Registry()
    registry.add_plugin(plugin(*specs), "test", "1.2")
    return registry


def unchecked(function):
    """The function without the type checker of the tests, as users run it."""
    return inspect.unwrap(function)


class Colour(ComponentParams):
    width: int = 3
    """Pixels."""


class Component(Loss):
    """Stands for a component."""

    Params = Colour
    requires = frozenset()

    def forward(self, capture):
        raise NotImplementedError


def test_listing_does_not_import_torch_or_numpy():
    code = (
        "import sys, emoca_core, emoca_core.registry.catalogue as c;"
        "assert list(emoca_core.get_registry()) and c.get_catalogue().components;"
        "assert not {'torch', 'numpy', 'timm', 'mediapipe', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_builds_with_validated_parameters():
    registry = registry_of(ComponentSpec("loss", "colour", f"{__name__}:Component"))
    assert registry.build("loss", "colour", {"width": 5}).params == Colour(width=5)
    assert registry.build("loss", "colour").params == Colour()


def test_unknown_name_suggests_the_nearest_and_lists_what_exists():
    with pytest.raises(
        errors.UnknownNameError, match=r"no loss named 'twize'. Did you mean 'twice'\?\n  available: twice"
    ):
        registry_of(SPEC).find("loss", "twize")


def test_unknown_kind_suggests_the_nearest():
    with pytest.raises(errors.UnknownNameError, match=r"no kind named 'rendrer'. Did you mean 'renderer'\?"):
        unchecked(Registry.find)(registry_of(), "rendrer", "zbuffer")


def test_a_name_of_another_kind_is_unknown():
    with pytest.raises(errors.UnknownNameError, match="no encoder named 'twice'"):
        registry_of(SPEC).find("encoder", "twice")


def test_missing_module_names_the_component_and_the_plugin():
    with pytest.raises(errors.ComponentImportError, match=r"loss 'twice' \(plugin 'test'.*classes_that_do_not_exist"):
        registry_of(SPEC).resolve("loss", "twice")


def test_missing_class_names_the_component():
    with pytest.raises(errors.ComponentImportError, match="Nothing"):
        registry_of(ComponentSpec("loss", "a", f"{__name__}:Nothing")).resolve("loss", "a")


def test_missing_optional_dependency_names_the_extra():
    spec = ComponentSpec("renderer", "p3d", "classes_that_do_not_exist:P3D", extra="pytorch3d")
    with pytest.raises(errors.ComponentImportError, match=r"pip install 'emoca-core\[pytorch3d\]'"):
        registry_of(spec).resolve("renderer", "p3d")


def test_bad_parameters_name_each_field_its_value_and_its_neighbour():
    registry = registry_of(ComponentSpec("loss", "colour", f"{__name__}:Component"))
    with pytest.raises(errors.ParamsError) as caught:
        registry.build("loss", "colour", {"widht": 5, "width": "wide"})
    message = str(caught.value)
    assert "loss 'colour':" in message
    assert "widht" in message and "Did you mean 'width'?" in message
    assert "(got 'wide')" in message
    assert "known parameters: width" in message


def test_two_plugins_may_not_offer_one_name():
    registry = registry_of(SPEC)
    with pytest.raises(errors.DuplicateComponentError, match="loss 'twice' is offered by 'test' and by 'other'"):
        registry.add_plugin(plugin(SPEC, ComponentSpec("loss", "new", "x:Y")), "other")
    assert registry.names("loss") == ["twice"]  # nothing of the second plugin stays
    assert registry.find("loss", "twice").plugin == "test"


def test_one_plugin_may_not_offer_a_name_twice():
    with pytest.raises(errors.DuplicateComponentError, match="twice"):
        registry_of(SPEC, SPEC)


def test_one_name_may_serve_two_kinds():
    registry = registry_of(SPEC, ComponentSpec("encoder", "twice", "x:Y"))
    assert list(registry) == [("encoder", "twice"), ("loss", "twice")]


def test_misspelt_hook_is_an_error():
    with pytest.raises(pluggy.PluginValidationError, match="unknown hook 'emoca_componets'"):
        Registry().add_plugin(plugin(SPEC, hook="emoca_componets"), "a")


def test_hook_with_an_unknown_argument_is_an_error():
    class Plugin:
        @hookimpl
        def emoca_components(self, torch):
            return []

    with pytest.raises(pluggy.PluginValidationError, match="emoca_components"):
        Registry().add_plugin(Plugin(), "a")


@pytest.mark.parametrize("offered", ["loss twice", None, 3])
def test_specs_must_be_specs(offered):
    with pytest.raises(TypeError, match="must return ComponentSpec objects, got"):
        Registry().add_plugin(plugin(offered), "a")


def test_specs_of_an_unknown_kind_are_refused():
    spec = ComponentSpec("loss", "a", "x:Y")
    object.__setattr__(spec, "kind", "losss")  # past the type checker of the tests
    with pytest.raises(errors.UnknownNameError, match=r"no kind named 'losss'. Did you mean 'loss'"):
        Registry().add_plugin(plugin(spec), "a")


def _explode():
    raise ImportError("no module named 'half_installed'")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (_explode, "ImportError: no module named 'half_installed'"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: plugin(SPEC, hook="emoca_componets"), "PluginValidationError"),
        (lambda: plugin("not a spec"), "TypeError"),
        (lambda: plugin(SPEC), "loss 'twice' is offered by 'test' and by 'broken'"),
    ],
)
def test_a_broken_plugin_stops_nobody_and_is_named(load, said):
    registry = registry_of(SPEC)
    good = ComponentSpec("loss", "after", "x:Y")
    registry.try_plugins([(load, Origin("broken", "0", "their-package")), (lambda: plugin(good), Origin("good"))])
    assert registry.names("loss") == ["after", "twice"]
    with pytest.raises(errors.UnknownNameError) as caught:
        registry.resolve("loss", "nope")
    assert "plugin 'broken'" in str(caught.value)
    assert "pip uninstall their-package removes it" in str(caught.value)
    assert said in str(caught.value)


def test_installed_plugins_come_with_their_versions():
    import importlib.metadata

    entry = get_registry().find("face_model", "open_head")
    assert entry.plugin == "builtin"
    assert entry.version == importlib.metadata.version("emoca-core")


def test_unknown_name_prints_line_breaks():
    error = errors.unknown_name("recipe", "a", ["b"])
    assert isinstance(error, KeyError)
    assert "\\n" not in str(error)


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), NAMES), unique=True))
def test_what_is_offered_is_found_and_nothing_else(keys):
    registry = registry_of(*(ComponentSpec(kind, name, "x:Y") for kind, name in keys))
    assert list(registry) == sorted(keys)
    for kind in KINDS:
        assert registry.names(kind) == sorted(name for k, name in keys if k == kind)
    for kind, name in keys:
        assert registry.find(kind, name).version == "1.2"


@given(st.dictionaries(NAMES, st.integers() | st.text() | st.none(), min_size=1, max_size=8))
def test_unknown_parameters_are_always_refused_by_name(values):
    registry = registry_of(ComponentSpec("loss", "colour", f"{__name__}:Component"))
    foreign = {key: value for key, value in values.items() if key != "width"}
    if not foreign:
        return
    with pytest.raises(errors.ParamsError) as caught:
        registry.params("loss", "colour", foreign)
    assert all(key in str(caught.value) for key in foreign)


@given(st.integers())
def test_parameters_survive_json(width):
    registry = registry_of(ComponentSpec("loss", "colour", f"{__name__}:Component"))
    params = registry.params("loss", "colour", {"width": width})
    assert Colour.model_validate_json(params.model_dump_json()) == params
