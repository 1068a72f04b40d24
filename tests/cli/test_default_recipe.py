"""The method that ``emoca reconstruct`` takes where nobody names one: which, what is said of it, how it is changed."""

import argparse
import types

import pytest

from emoca_core.cli import demo, main, optimise, retarget
from emoca_core.errors import RecipeError
from emoca_core.registry.catalogue import Catalogue, get_catalogue

LINE = "open_emoca_fit, the default, is for research only; for any use: --recipe open_fit"


@pytest.fixture
def asked(monkeypatch):
    """Names of the methods that are loaded, none of which is built; nothing is reconstructed."""
    names: list[str] = []
    monkeypatch.setattr("emoca_core.cli.reconstruct.load", lambda args: names.append(args.recipe))
    report = types.SimpleNamespace(has_faces=False, failed=[])
    monkeypatch.setattr("emoca_core.cli.reconstruct.reconstruct", lambda *arguments: report)
    monkeypatch.delenv("EMOCA_CATALOGUE", raising=False)
    return names


def own(folder, text):
    file = folder / "mine.yaml"
    file.write_text(f"version: 1\n{text}\n")
    return str(file)


def test_the_default_is_said_where_no_recipe_is_named(asked, capsys):
    main(["reconstruct", "me.jpg"])
    assert asked == ["open_emoca_fit"] and capsys.readouterr().err == f"{LINE}\n"


@pytest.mark.parametrize("recipe", ["open_emoca_fit", "open_fit", "runs/mine"])
def test_nothing_is_said_of_a_recipe_that_is_named(asked, capsys, recipe):
    main(["reconstruct", "me.jpg", "--recipe", recipe])
    assert asked == [recipe] and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("default_recipe: {uses: deca}", "deca", ""),
        ("default_recipe: {uses: deca, restriction: for us}", "deca", "deca, the default, is for us\n"),
        ("default_recipe: {restriction: for you}", "open_emoca_fit", f"{LINE}\n".replace("research only", "you")),
    ],
)
def test_ones_own_catalogue_changes_it(asked, capsys, tmp_path, text, name, line):
    main(["reconstruct", "me.jpg", "--catalogue", own(tmp_path, text)])
    assert asked == [name] and capsys.readouterr().err == line


def test_a_catalogue_without_one_asks_for_a_name(asked, capsys, monkeypatch):
    monkeypatch.setattr("emoca_core.registry.catalogue.get_catalogue", lambda file: Catalogue(version=1))
    assert main(["reconstruct", "me.jpg"]) == 2 and not asked
    assert capsys.readouterr().err.startswith("emoca: the catalogue has no default_recipe: name one by --recipe")


def test_what_is_said_of_it_is_what_the_licences_say():
    catalogue = get_catalogue()
    default = catalogue.default_recipe
    licences = {name: catalogue.licenses(catalogue.recipe(name)).values() for name in (default.uses, default.free)}
    bound = {name: any("research" in text for text in found) for name, found in licences.items()}
    assert bound == {default.uses: default.restriction == "for research only", default.free: False}


def test_set_without_a_recipe_says_whose_parameters_are_changed(capsys):
    assert main(["reconstruct", "me.jpg", "--device", "cpu", "--set", "encoder.iterations=3"]) == 2
    first, *more = capsys.readouterr().err.splitlines()
    assert first == (
        "emoca: --set does not fit open_emoca_fit, the default: name the recipe that is meant, e.g. --recipe open_fit; "
        "or see what this one has: emoca show open_emoca_fit"
    )
    assert any("iterations: Extra inputs are not permitted" in line for line in more)
    assert not any(LINE in line or "Traceback" in line for line in more)


def test_set_with_a_recipe_is_refused_as_ever(capsys):
    setting = ["--recipe", "open_emoca_fit", "--set", "encoder.iterations=3"]
    assert main(["reconstruct", "me.jpg", "--device", "cpu", *setting]) == 2
    assert capsys.readouterr().err.startswith("emoca: encoder 'refined_fit'")


@pytest.mark.parametrize("setting", ["encoder=3", "encodr.iterations=3"])
def test_a_setting_of_another_form_is_not_the_defaults_fault(capsys, setting):
    assert main(["reconstruct", "me.jpg", "--set", setting]) == 2
    assert "the default" not in capsys.readouterr().err


def test_what_fails_without_set_is_said_as_it_is(asked, capsys, monkeypatch):
    def fail(args):
        raise RecipeError("broken")

    monkeypatch.setattr("emoca_core.cli.reconstruct.load", fail)
    assert main(["reconstruct", "me.jpg"]) == 2
    assert capsys.readouterr().err == "emoca: broken\n"


def test_list_ends_with_it(capsys, tmp_path):
    main(["list", "recipe"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "without --recipe, emoca reconstruct takes open_emoca_fit, for research only"
    main(["list", "loss"])
    assert "--recipe" not in capsys.readouterr().out
    main(["list", "recipe", "--catalogue", own(tmp_path, "default_recipe: {uses: deca}")])
    assert capsys.readouterr().out.splitlines()[-1] == "without --recipe, emoca reconstruct takes deca"


@pytest.mark.parametrize("command", [demo, optimise, retarget])
def test_other_commands_keep_what_is_for_any_use(command):
    parser = command.add_parser(argparse.ArgumentParser().add_subparsers())
    assert parser.get_default("recipe") == get_catalogue().default_recipe.free
