"""A kind is declared in one place: the table, from which everything else derives; a package can add a line."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest
import voice_kind

import emoca_core.interfaces
from emoca_core import Registry, cli, get_registry
from emoca_core.cli.new import write_plugin
from emoca_core.errors import CatalogueError, UnknownNameError
from emoca_core.interfaces import Component, Parts
from emoca_core.method import Method, build_parts
from emoca_core.registry.catalogue import get_catalogue, load
from emoca_core.registry.kinds import KINDS, open_template, part_kinds
from emoca_core.testing import check_component

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_line_leads_somewhere(kind):
    interface = kind.load_interface()
    assert issubclass(interface, Component)
    assert interface.__name__ in emoca_core.interfaces.__all__
    assert callable(kind.load_check())
    assert "$class_name" in open_template(kind.template).read_text("utf-8")
    assert "check_component" in open_template(kind.test_template).read_text("utf-8")


def test_callers_of_build_need_no_cast():
    """One overload for every kind, with its interface; the last one is for the kinds of plugins."""
    tree = ast.parse((ROOT / "emoca_core" / "registry" / "registry.py").read_text("utf-8"))
    builds = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "build"]
    *own, last = (node for node in builds if [ast.unparse(d) for d in node.decorator_list] == ["overload"])
    found = {ast.unparse(node.args.args[1].annotation): ast.literal_eval(node.returns) for node in own}
    assert found == {
        f"Literal['{name}']": "interfaces." + kind.load_interface().__name__ for name, kind in KINDS.items()
    }
    assert (ast.unparse(last.args.args[1].annotation), ast.unparse(last.returns)) == ("Kind", "'Component'")


def test_parts_have_a_field_for_every_part_but_the_encoder():
    fields = set(inspect.signature(Parts).parameters) - {"others"}
    assert fields == {*part_kinds()} - {"encoder"}


@pytest.mark.parametrize("page", ["writing-plugins.md", "hooks.md"])
def test_the_pages_name_every_kind(page):
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


@pytest.fixture
def voiced(monkeypatch):
    """Everything installed, and the package that adds a kind."""
    registry = Registry()
    registry.load_entry_points()
    registry.add_plugin(voice_kind, "voices")
    for module in ("list", "show", "check", "new", "reconstruct"):
        monkeypatch.setattr(f"emoca_core.cli.{module}.get_registry", lambda: registry, raising=False)
    monkeypatch.setattr("emoca_core.registry.get_registry", lambda: registry)
    return registry


def test_a_new_kind_is_listed_and_shown(voiced, capsys):
    assert cli.main(["list", "voice"]) == 0
    assert "hum" in capsys.readouterr().out
    assert cli.main(["show", "voice", "hum"]) == 0
    assert "pitch" in capsys.readouterr().out
    assert cli.main(["list", "voices"]) == cli.BAD_INPUT
    assert "Did you mean 'voice'" in capsys.readouterr().err


def test_a_new_kind_is_built_alone_and_in_a_recipe(voiced, capsys):
    assert voiced.build("voice", "hum", {"pitch": 90}).params.pitch == 90
    catalogue = get_catalogue(None, voiced)
    recipe = catalogue.recipe("open_fit_voiced")
    assert list(recipe.parts())[-1] == "voice"
    method = Method("open_fit_voiced", recipe, build_parts(recipe, catalogue, voiced))
    assert method.voice.params.pitch == 80
    assert method.voice.parts.face_model is method.face_model
    assert method.parts()["voice"] is method.voice
    assert catalogue.licenses(recipe)["voice hum"] == "MIT"
    assert cli.main(["check", "open_fit_voiced"]) == 0
    assert "voice" in capsys.readouterr().out


def test_a_new_kind_is_checked(voiced):
    check_component("voice", "hum", registry=voiced)
    with pytest.raises(AssertionError, match="voice 'flat': must be audible"):
        check_component("voice", "flat", registry=voiced)


def test_a_new_kind_is_written(voiced, tmp_path, monkeypatch):
    folder = write_plugin("whistle", "voice", tmp_path)
    monkeypatch.syspath_prepend(str(folder))
    voiced.add_plugin(importlib.import_module("emoca_whistle"), "whistle")
    check_component("voice", "whistle", registry=voiced)
    del sys.modules["emoca_whistle"]


def test_nobody_knows_the_kind_without_its_package():
    assert "voice" not in get_registry().kinds
    with pytest.raises(UnknownNameError, match="no kind named 'voice'"):
        get_registry().build("voice", "hum")
    file = ROOT / "tests" / "support" / "voice_kind" / "registry.yaml"
    with pytest.raises(CatalogueError, match="no part named 'voice'"):
        load([ROOT / "registry.yaml", file])
