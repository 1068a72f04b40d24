"""Documents: their code runs, their links lead somewhere, and they speak of what exists."""

import ast
import doctest
import importlib
import re
import sys
import types
from pathlib import Path

import pytest
from local_plugins import component_registry

from emoca_core import cli
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.testing import check_component

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

ids = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Info string and text of the fenced blocks in one language."""
    return [(info.strip(), text) for name, info, text in FENCE.findall(page.read_text("utf-8")) if name == language]


def test_pages_are_found():
    assert {"README.md", "docs/writing-plugins.md", "docs/hooks.md"} <= set(ids)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_blocks_are_valid(page):
    for _, text in blocks(page, "python"):
        ast.parse(text)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Import a text as a module; from a file, because docstrings of fields are read from the source."""

    def run_text(name: str, text: str) -> types.ModuleType:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return run_text


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_blocks_marked_to_run_do_run(page, run):
    """One after the other, as one module."""
    text = "\n\n".join(text for info, text in blocks(page, "python") if info == "run")
    if text:
        run(f"page_{page.stem.replace('-', '_')}", text)


def test_the_guide_has_code_that_runs():
    assert sum(info == "run" for info, _ in blocks(ROOT / "docs" / "writing-plugins.md", "python")) >= 3


def test_the_plugin_of_the_readme_keeps_its_contract(run):
    (text,) = [text for _, text in blocks(ROOT / "README.md", "python") if "(EmotionBackbone)" in text]
    (name,) = re.findall(r"class (\w+)\(EmotionBackbone\)", text)
    with component_registry("emotion_backbone", under_test=getattr(run("readme_plugin", text), name)) as registry:
        check_component("emotion_backbone", "under_test", registry=registry)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_to_files_lead_somewhere(page):
    text = FENCE.sub("", page.read_text("utf-8"))
    local = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link and not link.startswith("#")]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_exist(page):
    """Every `emoca x` in a document is a command."""
    named = set(re.findall(r"(?:^|`)\s*(?:\$ )?emoca ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE))
    assert named - set(cli.COMMANDS) == set()


def test_recipes_of_the_readme_exist():
    table = re.findall(r"^\| (`[a-z].*?) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`([a-z0-9_]+)`", cell)}
    assert named
    assert named - set(get_catalogue().recipes) == set()


EXAMPLES = sorted(path for path in (ROOT / "emoca_core").rglob("*.py") if ">>> " in path.read_text("utf-8"))
WITHOUT_CODE = {"CHANGELOG.md", "docs/architecture.md"}
"""Pages that tell and show nothing to type: a history, and the rooms of the code."""


def test_examples_of_docstrings_are_found():
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_docstrings_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captures").mkdir()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_pages_show_what_to_type(page):
    """Code in a language, or commands set apart by four spaces."""
    text = page.read_text("utf-8")
    shows = bool(re.search(r"^```(python|sh|yaml)", text, re.MULTILINE) or re.search(r"\n\n {4}\S", text))
    assert shows != (str(page.relative_to(ROOT)) in WITHOUT_CODE)
