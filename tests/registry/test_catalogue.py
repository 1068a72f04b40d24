"""registry.yaml: merging, extending, validating, and what is said when that fails."""

from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from local_plugins import plugin

from emoca_core import Registry, get_registry, load_method
from emoca_core.errors import CatalogueError, ComponentImportError, RecipeError, UnknownNameError
from emoca_core.registry.catalogue import ENVIRONMENT_VARIABLE, Catalogue, changed, get_catalogue, load
from emoca_core.registry.merging import merge

KEYS = st.sampled_from(["uses", "params", "weight", "losses", "a"])
SCALARS = st.integers() | st.booleans() | st.text(max_size=3)
TREES = st.recursive(SCALARS, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=4)

BASE = """
version: 1
components:
  encoder:
    net: {summary: A network., license: MIT, presets: {small: {width: 8, depth: {a: 1, b: 2}}}, assets: [weights]}
  face_model:
    head: {summary: A head., license: CC0-1.0}
  renderer:
    soft: {summary: A renderer., license: MIT}
assets:
  weights: {summary: Weights., files: [net.pth], license: non-commercial, obtain: Ask the authors.}
recipes:
  base:
    summary: The base.
    encoder: {uses: net, preset: small, params: {width: 4}}
    face_model: {uses: head}
    renderer: {uses: soft}
    losses:
      landmark: {uses: points, weight: 1.0}
      shape: {uses: prior, weight: 0.5, params: {of: shape}}
"""


@pytest.fixture
def files(tmp_path):
    """Write texts as files, in order."""

    def write(*texts: str) -> list[Path]:
        paths = []
        for index, text in enumerate(texts):
            path = tmp_path / f"registry{index}.yaml"
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return paths

    return write


def recipes(text: str) -> str:
    return f"version: 1\nrecipes:\n  mine: {text}\n"


def test_a_recipe_extends_another(files):
    change = (
        "{extends: base, summary: Mine., encoder: {params: {depth: 3}}, losses: {landmark: {weight: 2.0}, shape: null}}"
    )
    mine = load(files(BASE, recipes(change))).recipe("mine")
    assert mine.summary == "Mine."
    assert mine.face_model.uses == "head"  # inherited
    assert mine.losses["landmark"].weight == 2.0  # changed
    assert mine.losses["landmark"].uses == "points"  # kept beside the change
    assert "shape" not in mine.losses  # removed
    assert mine.encoder.params == {"width": 4, "depth": 3}  # merged


def test_another_component_takes_nothing_from_the_replaced_one(files):
    mine = load(files(BASE, recipes("{extends: base, encoder: {uses: other}}"))).recipe("mine")
    assert (mine.encoder.uses, mine.encoder.preset, mine.encoder.params) == ("other", None, {})


def test_recipes_extend_through_several_generations_and_files(files):
    middle = "version: 1\nrecipes:\n  middle: {extends: base, losses: {shape: {weight: 9.0}}}\n"
    mine = load(files(BASE, middle, recipes("{extends: middle, losses: {shape: {params: {of: jaw}}}}"))).recipe("mine")
    assert mine.losses["shape"].weight == 9.0
    assert mine.losses["shape"].params == {"of": "jaw"}


def test_a_later_file_changes_cards_and_recipes_of_an_earlier_one(files):
    card = "components: {encoder: {net: {license: mine}}}\n"
    user = f"version: 1\n{card}recipes: {{base: {{losses: {{landmark: {{weight: 3}}}}}}}}\n"
    merged = load(files(BASE, user))
    assert merged.card("encoder", "net").license == "mine"
    assert merged.card("encoder", "net").summary == "A network."
    assert merged.recipe("base").losses["landmark"].weight == 3


def test_a_later_file_removes_what_an_earlier_one_has(files):
    card = "components: {encoder: {net: {presets: null}}}\n"
    user = f"version: 1\n{card}recipes: {{base: {{losses: {{shape: null}}}}, middle: null}}\n"
    merged = load(files(BASE, "version: 1\nrecipes: {middle: {extends: base}}\n", user))
    assert set(merged.recipes) == {"base"}
    assert set(merged.recipe("base").losses) == {"landmark"}
    assert merged.card("encoder", "net").presets == {}


def test_a_later_file_removes_what_a_recipe_inherits(files):
    user = "version: 1\nrecipes: {middle: {losses: {shape: null}}}\n"
    merged = load(files(BASE, "version: 1\nrecipes: {middle: {extends: base}}\n", user))
    assert set(merged.recipe("middle").losses) == {"landmark"}
    assert set(merged.recipe("base").losses) == {"landmark", "shape"}


def test_parameters_of_a_recipe_go_on_top_of_the_preset(files):
    base = load(files(BASE))
    assert base.params("encoder", base.recipe("base").encoder) == {"width": 4, "depth": {"a": 1, "b": 2}}


def test_licences_of_a_recipe_are_those_of_its_parts_and_assets(files):
    base = load(files(BASE))
    assert base.licenses(base.recipe("base")) == {
        "encoder net": "MIT",
        "asset weights": "non-commercial",
        "face_model head": "CC0-1.0",
        "renderer soft": "MIT",
    }


CHAIN = "version: 1\nrecipes:\n" + "".join(f"  r{number}: {{extends: r{number + 1}}}\n" for number in range(3000))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 2\n", "version: Input should be 1"),
        ("components: {}\n", "version: Field required"),
        ("version: 1\nrecipe: {}\n", "recipe: Extra inputs"),
        ("version: 1\ncomponents: {encoders: {}}\n", "components: no kind named 'encoders'. Did you mean 'encoder'"),
        ("version: 1\ncomponents: {encoder: {a: {summary: x}}}\n", "components.encoder.a.license: Field required"),
        (
            "version: 1\ncomponents: {encoder: {a: {summary: x, license: y, target: os:system}}}\n",
            "target: Extra inputs",
        ),
        ("- a\n", "must hold 'version: 1'"),
        ("version: 1\nrecipes: [a]\n", "must hold 'version: 1'"),
        ("just words", "must hold 'version: 1'"),
        ("", "must hold 'version: 1'"),
        ("a: [1\n", "is not valid YAML"),
        ("version: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        (recipes("{extends: mine}"), "in a circle: mine -> mine"),
        ("version: 1\nrecipes: {a: {extends: b}, b: {extends: a}}\n", "in a circle: a -> b -> a"),
        (recipes("[encoder]"), "recipe 'mine' must be a mapping of parts"),
        (recipes("{summary: x}"), "recipes.mine: Value error, a recipe needs encoder, face_model, renderer"),
        (recipes("{extends: [a]}"), "recipe 'mine': extends must be the name of a recipe"),
        (recipes("{extends: {a: b}}"), "recipe 'mine': extends must be the name of a recipe"),
        (recipes("{extends: 3}"), "recipe 'mine': extends must be the name of a recipe"),
        ("version: 1\nrecipes: 3\n", "must hold 'version: 1'"),
        ("version: 1\ncomponents: text\n", "must hold 'version: 1'"),
        ("version: 1\ncomponents: {encoder: [a]}\n", "components.encoder: Input should be a valid dictionary"),
        ("version: 1\nassets: {a: {files: 3}}\n", "assets.a.files: Input should be a valid tuple"),
        ("version: [1]\n", "version: Input should be 1"),
        ("version: 1\nversion: 1\n", "the key 'version' stands twice"),
        (recipes("{summary: x, encoder: {uses: [a]}}"), "recipes.mine.encoder.uses: Input should be a valid string"),
        (recipes("{summary: x, losses: {a: {uses: b, weight: .nan}}}"), "mine.losses.a.weight: Input should be"),
        (CHAIN, "3,000|33 recipes are more than the limit of 32"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(files, text, said):
    with pytest.raises(CatalogueError, match=said) as caught:
        load(files(text))
    assert "registry0.yaml" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_extending_a_recipe_that_does_not_exist_suggests_the_nearest(files):
    with pytest.raises(UnknownNameError, match=r"recipe to extend in 'mine' named 'bas'. Did you mean 'base'"):
        load(files(BASE, recipes("{extends: bas}")))


def test_a_negative_weight_is_refused(files):
    with pytest.raises(CatalogueError, match=r"losses\.landmark\.weight"):
        load(files(BASE, recipes("{extends: base, losses: {landmark: {weight: -1}}}")))


def test_missing_files_and_binary_files_are_refused(tmp_path):
    with pytest.raises(CatalogueError, match=r"cannot read .*nowhere.yaml"):
        load([tmp_path / "nowhere.yaml"])
    (tmp_path / "binary.yaml").write_bytes(b"\x81\xfe\x00\x81")
    with pytest.raises(CatalogueError, match=r"cannot read .*binary.yaml: byte 0"):
        load([tmp_path / "binary.yaml"])
    with pytest.raises(CatalogueError, match="is a folder"):
        load([tmp_path])


def test_unknown_recipes_and_presets_suggest_the_nearest(files):
    base = load(files(BASE))
    with pytest.raises(UnknownNameError, match=r"no recipe named 'bsae'. Did you mean 'base'"):
        base.recipe("bsae")
    use = base.recipe("base").encoder.model_copy(update={"preset": "smal"})
    with pytest.raises(UnknownNameError, match=r"no preset of encoder 'net' named 'smal'. Did you mean 'small'"):
        base.params("encoder", use)


def test_the_users_file_comes_from_the_argument_or_the_environment(files, monkeypatch):
    (first, second) = files(
        recipes("{summary: one, encoder: {uses: a}, face_model: {uses: b}, renderer: {uses: c}}"), ""
    )
    second.write_text(first.read_text().replace("one", "two"))
    assert "mine" not in get_catalogue().recipes
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(first))
    assert get_catalogue().recipe("mine").summary == "one"
    assert get_catalogue(second).recipe("mine").summary == "two"  # the argument wins


def test_plugins_add_their_catalogues_below_the_users(files):
    (shipped, mine) = files(
        "version: 1\ncomponents: {loss: {theirs: {summary: Theirs., license: MIT}}}\n",
        "version: 1\ncomponents: {loss: {theirs: {license: changed}}}\n",
    )
    registry = Registry()
    registry.add_plugin(plugin(catalogues=[shipped]), "them")
    assert get_catalogue(None, registry).card("loss", "theirs").license == "MIT"
    assert get_catalogue(mine, registry).card("loss", "theirs").license == "changed"


def test_every_name_in_the_shipped_recipes_exists():
    shipped, registry = get_catalogue(), get_registry()
    for name, recipe in shipped.recipes.items():
        for kind, use in [*recipe.parts().items(), *(("loss", term) for term in recipe.losses.values())]:
            assert (kind, use.uses) in registry.components, f"recipe {name}: no {kind} '{use.uses}'"
            shipped.params(kind, use)  # its preset exists


def test_every_asset_of_a_card_has_a_card_itself():
    shipped = get_catalogue()
    for kind, cards in shipped.components.items():
        for name, card in cards.items():
            missing = set(card.assets) - set(shipped.assets)
            assert not missing, f"{kind} {name} needs assets without a card: {sorted(missing)}"


def _parameter_sets():
    """Kind, name and parameters of every preset and of every part of every recipe."""
    shipped = get_catalogue()
    for kind, cards in shipped.components.items():
        for name, card in cards.items():
            yield from ((kind, name, preset) for preset in card.presets.values())
    for recipe in shipped.recipes.values():
        for kind, use in [*recipe.parts().items(), *(("loss", term) for term in recipe.losses.values())]:
            yield kind, use.uses, shipped.params(kind, use)


def test_every_preset_and_recipe_has_valid_parameters():
    registry = get_registry()
    for kind, name, params in _parameter_sets():
        try:
            model = registry.resolve(kind, name).Params
        except ComponentImportError as error:
            assert "pip install" in str(error)  # an extra that is not installed here
            continue
        try:
            model.model_validate(params)
        except pydantic.ValidationError as error:
            # a folder is the user's to give
            wrong = [e for e in error.errors() if e["type"] != "missing"]
            assert not wrong, f"{kind} {name}: {wrong}"


@given(MAPPINGS)
def test_merging_nothing_changes_nothing(tree):
    assert merge(tree, {}) == tree
    assert merge(tree, tree) == tree


@given(MAPPINGS, MAPPINGS)
def test_a_change_wins_and_is_idempotent(base, change):
    merged = merge(base, change)
    assert merge(merged, change) == merged
    for key, value in change.items():
        if not isinstance(value, dict):
            assert merged[key] == value


@given(MAPPINGS, MAPPINGS)
def test_merging_leaves_its_arguments_alone(base, change):
    before = yaml.safe_dump([base, change])
    merge(base, change)
    assert yaml.safe_dump([base, change]) == before


@given(MAPPINGS, KEYS)
def test_null_removes_a_key_that_exists_or_not(base, key):
    if key == "uses":
        return
    assert merge(base, {key: None}) == {k: v for k, v in base.items() if k != key}


@given(MAPPINGS, MAPPINGS)
def test_untouched_keys_stay_unless_the_component_is_replaced(base, change):
    if "uses" in change and change["uses"] != base.get("uses"):
        assert merge(base, change).keys() == change.keys()
    else:
        assert merge(base, change).keys() == base.keys() | change.keys()


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
def test_a_chain_of_recipes_keeps_the_last_word(tmp_path_factory, names):
    """Every recipe extends the one before it and sets its own weight; all of them set a shared one."""
    parts = {"summary": "x", "encoder": {"uses": "e"}, "face_model": {"uses": "f"}, "renderer": {"uses": "r"}}
    tree = {}
    for index, name in enumerate(names):
        tree[name] = {"losses": {name: {"uses": "l", "weight": index}, "shared": {"uses": "l", "weight": index}}}
        tree[name] |= {"extends": names[index - 1]} if index else parts
    path = tmp_path_factory.mktemp("chain") / "registry.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "recipes": tree}))
    last = load([path]).recipe(names[-1])
    assert {name: term.weight for name, term in last.losses.items()} == {
        **{name: index for index, name in enumerate(names)},
        "shared": len(names) - 1,
    }


def test_an_empty_catalogue_is_valid():
    assert Catalogue(version=1).recipes == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": 3}, "encoder: Input should be a valid dictionary"),
        ({"encodr": {}}, r"no part named 'encodr'. Did you mean 'encoder'"),
        ({"encoder": {"params": [1]}}, r"encoder\.params: Input should be a valid dictionary"),
        ({"encoder": None}, "a recipe needs encoder"),
        ({"losses": {"a": {"weight": "much"}}}, r"(?s)losses\.a\.uses: Field required.*losses\.a\.weight"),
    ],
)
def test_a_change_that_gives_no_recipe_is_refused(change, said):
    with pytest.raises(RecipeError, match=said):
        changed(get_catalogue().recipe("open_fit"), change)
    with pytest.raises(RecipeError, match=said):
        load_method("open_fit", change=change)


@pytest.mark.parametrize("change", [3, [1], {3: 4}, "encoder"])
def test_a_change_that_is_none_is_refused(change):
    with pytest.raises(RecipeError, match="a change maps names of parts"):
        changed(get_catalogue().recipe("open_fit"), change)


def test_a_name_that_no_folder_can_have_is_no_recipe():
    with pytest.raises(UnknownNameError, match="no recipe or run folder named"):
        load_method("x" * 5000)


def test_a_file_that_is_edited_is_read_again(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(recipes(f"{{extends: open_fit, summary: {folder}}}"))
        monkeypatch.chdir(tmp_path / folder)
        assert get_catalogue("mine.yaml").recipe("mine").summary == folder
    (tmp_path / "b" / "mine.yaml").write_text(recipes("{extends: open_fit, summary: edited}"))
    assert get_catalogue("mine.yaml").recipe("mine").summary == "edited"
