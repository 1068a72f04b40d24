"""docs/hooks.md describes every hook, with its arguments."""

from pathlib import Path

import pytest

from emoca_core import Registry

DOCS = Path(__file__).parents[2] / "docs" / "hooks.md"
MANAGER = Registry().pm
HOOKS = {name: caller.spec.argnames for name, caller in vars(MANAGER.hook).items() if caller.spec}


def test_hooks_are_found():
    assert {"emoca_components", "emoca_catalogues"} <= set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_its_arguments(hook):
    signature = f"{hook}({', '.join(HOOKS[hook])})"
    assert signature in DOCS.read_text(encoding="utf-8"), f"docs/hooks.md does not describe {signature}"


def test_no_hook_is_documented_that_does_not_exist():
    headings = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("## `emoca_")]
    assert len(headings) == len(HOOKS)
