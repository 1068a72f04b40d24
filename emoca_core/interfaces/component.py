"""What all components share: validated parameters, kept so that a checkpoint can rebuild the part."""

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import nn

from emoca_core.registry.spec import ComponentParams


class Component(ABC):
    """Anything the registry builds.

    A subclass declares a nested ``Params`` and, on one line, ``params: Params`` so that type checkers know it.

    Attributes:
        params: The validated parameters it was built from.
        asset_paths: Files that it was built from, by asset name; results record their hashes.
        takes_parts: Whether it can only be built for the other parts of its method; its constructor then takes
            ``parts: Parts``. Components that its ``Params`` name by ``uses`` are arguments of the constructor too.
    """

    Params: ClassVar[type[ComponentParams]] = ComponentParams
    takes_parts: ClassVar[bool] = False
    params: ComponentParams
    asset_paths: Mapping[str, Path] = {}

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__()
        self.params = self.Params() if params is None else params


class ModuleComponent(Component, nn.Module):
    """A component that is also a torch module: it has devices, buffers, a state and modes.

    Attributes:
        is_loaded: Whether a state was loaded into it, so that its weights are not those of its initialisation.
    """

    is_loaded: bool = False

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        self.register_load_state_dict_post_hook(_note_loaded)  # type: ignore[no-untyped-call]


def _note_loaded(module: ModuleComponent, _: object) -> None:
    module.is_loaded = True
