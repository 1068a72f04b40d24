"""Importing a library without what it imports for other purposes than ours."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def imported_when_used(*names: str) -> Iterator[None]:
    """Let libraries that are imported in this block get some modules only when they use them.

    They are bound to a stand-in, which imports the real module at the first question for anything in it; outside of
    the block nobody sees a stand-in in ``sys.modules``.

    Args:
        *names: The modules, parents before their children. Those that are imported already stay as they are.
    """
    later = {name: _Later(name) for name in names if name not in sys.modules}
    for name, module in later.items():
        parent, _, child = name.rpartition(".")
        if parent in later:
            setattr(later[parent], child, module)
    sys.modules.update(later)
    try:
        yield
    finally:
        for module in later.values():
            module.step_aside()


class _Later(ModuleType):
    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> object:
        self.step_aside()
        return getattr(importlib.import_module(self.__name__), name)
