"""Plugins that do what plugins must not do: source of the module, files beside it, and what has to be said about it."""

from dataclasses import dataclass, field

HEAD = "from emoca_core import ComponentSpec, hookimpl\n"
GOOD = 'ComponentSpec("loss", "of_the_newcomer", "newcomer_parts:Quiet")'
PARTS = '''
import os

from emoca_core import ComponentParams
from emoca_core.interfaces import FaceModel, Loss


class Quiet(Loss):
    """Source: this test."""

    requires = frozenset()

    def forward(self, capture):
        return capture.crop.image.sum() * 0


class FailsToStart(Quiet):
    def __init__(self, params=None):
        raise ZeroDivisionError("at the start")


class ExitsAtStart(Quiet):
    def __init__(self, params=None):
        raise SystemExit(5)


class Talks(Quiet):
    def __init__(self, params=None):
        print("TALK")
        os.write(1, b"TALK")
        super().__init__(params)


class InterruptsAtStart(Quiet):
    def __init__(self, params=None):
        raise KeyboardInterrupt


class Unfinished(Loss):
    requires = frozenset()


class OddParams(Quiet):
    Params = 3


def no_class():
    pass
'''


@dataclass(frozen=True)
class Hostile:
    """One package.

    Attributes:
        source: Of its module; ``PARTS`` lie beside it.
        said: What ``emoca list`` and ``emoca doctor`` must say.
        deep: What only ``emoca doctor --deep`` can find.
        files: Beside the module, by name.
        keeps: Whether its good component still works.
        name: Of its entry point.
        environment: Variables.
    """

    source: str
    said: str = ""
    deep: str = ""
    files: dict[str, str] = field(default_factory=dict)
    keeps: bool = False
    name: str = "newcomer"
    environment: dict[str, str] = field(default_factory=dict)


def offering(*components: str, more: str = "") -> str:
    """A module that offers some components."""
    return f"{HEAD}@hookimpl\ndef emoca_components():\n    return [{', '.join(components)}]\n{more}"


def odd(field_name: str, value: str) -> str:
    """A component with one field that is of another type, past the type checker of the tests."""
    return f'[object.__setattr__(s := ComponentSpec("loss", "odd", "a:B"), "{field_name}", {value}), s][1]'


def with_hook(hook: str, body: str) -> str:
    """A module with the good component and one other hook."""
    return offering(GOOD, more=f"@hookimpl\ndef {hook}():\n    {body}\n")


def with_catalogue(text: str, said: str) -> Hostile:
    """A package with the good component and a catalogue."""
    body = "import pathlib; return [pathlib.Path(__file__).with_name('registry.yaml')]"
    return Hostile(with_hook("emoca_catalogues", body), said, files={"registry.yaml": text}, keeps=True)


def component(target: str, deep: str) -> Hostile:
    """A package whose second component turns out to be broken when it is imported or built."""
    return Hostile(offering(GOOD, f'ComponentSpec("loss", "odd", "{target}")'), deep=deep, keeps=True)


ODD_PATH = """
from importlib.resources.abc import Traversable

def leave(*_, **__):
    raise SystemExit(9)

class Odd(Traversable):
    name = "odd"
    iterdir = read_bytes = read_text = is_dir = is_file = joinpath = __truediv__ = open = leave
"""
RECIPE = "{summary: mine, encoder: {uses: deca}, face_model: {uses: flame}, renderer: {uses: zbuffer}}"
HOSTILE = {
    # while it is imported
    "exits": Hostile("raise SystemExit(0)", "SystemExit: 0"),
    "raises": Hostile("class Odd(BaseException): pass\nraise Odd('of no family')", "Odd: of no family"),
    "raises what cannot be read": Hostile(
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd", "Odd: (its text cannot be read)"
    ),
    "cannot be imported": Hostile("import half_installed", "No module named 'half_installed'"),
    "is not there": Hostile("", "No module named", name="newcomer", environment={"NO_MODULE": "1"}),
    "prints": Hostile("print('HELLO')\n" + offering(GOOD), "prints while it is loaded", keeps=True),
    "prints past Python": Hostile(
        "import os; os.write(1, b'HELLO\\n')\n" + offering(GOOD), "prints while it is loaded", keeps=True
    ),
    "has a shell print": Hostile(
        "import os; os.system('echo HELLO')\n" + offering(GOOD), "prints while it is loaded", keeps=True
    ),
    "prints to Python's first stream": Hostile(
        "import sys; print('HELLO', file=sys.__stdout__)\n" + offering(GOOD), "prints while it is loaded", keeps=True
    ),
    "prints without end": Hostile("import os\nwhile True: os.write(1, 4096 * b'HELLO ')", "BlockingIOError"),
    "prints in a hook": Hostile(
        with_hook("emoca_crops", "import os; os.write(1, b'HELLO\\n'); return {}"), "prints while it is", keeps=True
    ),
    "prints and closes": Hostile(
        "import sys; print('HELLO'); sys.stdout.close()\n" + offering(GOOD), "prints while it is loaded", keeps=True
    ),
    "never ends": Hostile(
        "while True: pass",
        "does not come to an end within 1 s (EMOCA_LIMIT_PLUGIN_SECONDS raises the limit)",
        environment={"EMOCA_LIMIT_PLUGIN_SECONDS": "1"},
    ),
    "is slow": Hostile(
        "import time; time.sleep(0.4)\n" + offering(GOOD), "s to load, for which every command", keeps=True
    ),
    "raises Ctrl-C": Hostile("raise KeyboardInterrupt", "plugin 'newcomer': RuntimeError: KeyboardInterrupt"),
    # in its hooks
    "raises Ctrl-C in a hook": Hostile(with_hook("emoca_crops", "raise KeyboardInterrupt"), "KeyboardInterrupt"),
    "exits in a hook": Hostile(with_hook("emoca_crops", "raise SystemExit"), "SystemExit"),
    "misspelt hook": Hostile(offering(GOOD).replace("emoca_components", "emoca_componets"), "unknown hook"),
    "endless generator": Hostile(
        f"{HEAD}@hookimpl\ndef emoca_components():\n    while True: yield {GOOD}\n", "1,001 items are more than"
    ),
    "a generator that waits": Hostile(
        f"{HEAD}import time\n@hookimpl\ndef emoca_components():\n    yield {GOOD}\n    time.sleep(60)\n",
        "does not come to an end within 1 s",
        environment={"EMOCA_LIMIT_PLUGIN_SECONDS": "1"},
    ),
    "10,000 components": Hostile(
        f"{HEAD}@hookimpl\ndef emoca_components():\n    return 10_000 * [{GOOD}]\n",
        "1,001 items are more than the limit of 1,000",
    ),
    "returns nothing": Hostile(
        f"{HEAD}@hookimpl\ndef emoca_components(): pass\n",
        "TypeError: emoca_components must return several things, got NoneType",
    ),
    "returns texts": Hostile(offering(GOOD, "'loss mine'"), "must return ComponentSpec objects, got str", keeps=True),
    "a name that is a number": Hostile(
        offering(GOOD, odd("name", "3")),
        "loss '3' of plugin 'newcomer': TypeError: a name",
        keeps=True,
    ),
    "a name with an escape": Hostile(
        offering(GOOD, 'ComponentSpec("loss", "\\x1b[31mred", "a:B")'), r"loss '\x1b[31mred' of plugin", keeps=True
    ),
    "a target that is none": Hostile(offering(GOOD, odd("target", "7")), "not '7'", keeps=True),
    "a kind that is none": Hostile(
        offering(GOOD, 'ComponentSpec("losss", "odd", "a:B")'), "no kind named 'losss'. Did you mean 'loss'", keeps=True
    ),
    "the name of a built-in loss": Hostile(
        offering(GOOD, 'ComponentSpec("loss", "photometric", "newcomer_parts:Quiet")'),
        "loss 'photometric' is offered by 'builtin' and by 'newcomer' (pip uninstall newcomer-package removes it)",
        keeps=True,
    ),
    "one name twice": Hostile(offering(GOOD, GOOD), "by 'newcomer' and by 'newcomer'", keeps=True),
    "the name of the built-in plugin": Hostile(
        offering(GOOD, 'ComponentSpec("renderer", "zbuffer", "newcomer_parts:Quiet")'),
        "renderer 'zbuffer' is offered by 'builtin' and by 'builtin (newcomer-package)'",
        keeps=True,
        name="builtin",
    ),
    "the name of a built-in crop": Hostile(
        with_hook("emoca_crops", "return {'emoca': 'a:B'}"),
        "crop rule 'emoca' is offered by 'builtin' and by",
        keeps=True,
    ),
    "the name of a built-in kind": Hostile(
        with_hook(
            "emoca_kinds",
            "from emoca_core.registry.kinds import KindSpec; return [KindSpec('loss', 'x', 'newcomer_parts:Quiet')]",
        ),
        "there is a kind 'loss' already",
        keeps=True,
    ),
    # its catalogue
    "catalogue is missing": Hostile(
        with_hook("emoca_catalogues", "import pathlib; return [pathlib.Path('/nowhere/registry.yaml')]"),
        "registry.yaml of plugin 'newcomer': cannot read",
        keeps=True,
    ),
    "catalogue is no path": Hostile(
        with_hook("emoca_catalogues", "return [3]"), "must return paths, got int", keeps=True
    ),
    "catalogue exits": Hostile(
        with_hook("emoca_catalogues", "return [Odd()]").replace(HEAD, HEAD + ODD_PATH, 1),
        "odd of plugin 'newcomer': SystemExit: 9",
        keeps=True,
    ),
    "catalogue is no YAML": with_catalogue("a: [1\n", "is not valid YAML"),
    "catalogue is not valid": with_catalogue(
        "version: 1\nrecipes: {mine: {encodr: {uses: deca}}}\n", "no part named 'encodr'. Did you mean 'encoder'"
    ),
    "catalogue extends nothing": with_catalogue(
        "version: 1\nrecipes: {mine: {extends: nobody}}\n", "no recipe to extend"
    ),
    "catalogue replaces a recipe": with_catalogue(
        f"version: 1\nrecipes: {{open_fit: {RECIPE}, of_the_newcomer: {RECIPE}}}\n", "recipe 'open_fit' of plugin"
    ),
    "catalogue removes a recipe": with_catalogue(
        "version: 1\nrecipes: {open_fit: null}\n", "recipe 'open_fit' of plugin"
    ),
    "catalogue names the default": with_catalogue(
        "version: 1\ndefault_recipe: {uses: deca}\n", "default_recipe of plugin"
    ),
    "catalogue replaces an asset": with_catalogue(
        "version: 1\nassets: {flame: {summary: a, files: [b], license: free, obtain: here}}\n",
        "asset 'flame' of plugin",
    ),
    "catalogue replaces a card": with_catalogue(
        "version: 1\ncomponents: {face_model: {flame: {summary: mine, license: free}}}\n",
        "face_model 'flame' of plugin",
    ),
    # when a component is imported or built
    "no module": component("no_such_module:Odd", "loss 'odd' (plugin 'newcomer') cannot be imported: No module"),
    "no such class": component("newcomer_parts:Odd", "has no attribute 'Odd'"),
    "no class": component("newcomer_parts:no_class", "loss 'odd' (plugin 'newcomer') is no subclass of"),
    "the wrong kind": component("newcomer_parts:FaceModel", "is no subclass of emoca_core.interfaces.Loss"),
    "odd Params": component("newcomer_parts:OddParams", "Params is no subclass"),
    "abstract": component("newcomer_parts:Unfinished", "does not implement forward"),
    "module exits": Hostile(
        offering(GOOD, 'ComponentSpec("loss", "odd", "newcomer_exit:Odd")'),
        deep="loss 'odd' (plugin 'newcomer') cannot be imported: SystemExit: 4",
        files={"newcomer_exit.py": "raise SystemExit(4)"},
        keeps=True,
    ),
    "fails to start": component("newcomer_parts:FailsToStart", "cannot be built: ZeroDivisionError: at the start"),
    "exits at the start": component("newcomer_parts:ExitsAtStart", "cannot be built: SystemExit: 5"),
    "raises Ctrl-C at the start": component("newcomer_parts:InterruptsAtStart", "cannot be built: RuntimeError: Keyb"),
    "module raises Ctrl-C": Hostile(
        offering(GOOD, 'ComponentSpec("loss", "odd", "newcomer_exit:Odd")'),
        deep="loss 'odd' (plugin 'newcomer') cannot be imported: RuntimeError: KeyboardInterrupt",
        files={"newcomer_exit.py": "raise KeyboardInterrupt"},
        keeps=True,
    ),
    "talks at the start": component("newcomer_parts:Talks", ""),
}
