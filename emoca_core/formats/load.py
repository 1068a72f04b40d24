"""A published file of a foreign layout into a network: converted by its format, loaded by a key map."""

from pathlib import Path

import torch

from emoca_core.formats.convert import open_asset
from emoca_core.formats.open import open_content
from emoca_core.formats.table import Format
from emoca_core.interfaces import ModuleComponent
from emoca_core.weights.checkpoints import (
    Checkpoint,
    KeyMap,
    LoadReport,
    asset_name,
    find_weights,
    load_into,
    read_checkpoint,
)


def load_converted(component: ModuleComponent, wanted: Format, weights: str | None, keys: KeyMap) -> LoadReport | None:
    """Fill a component from a file that ``wanted`` converts, switch it to inference, note the file in ``asset_paths``.

    Args:
        component: Receives the tensors.
        wanted: Format of the file; its name is that of the default asset.
        weights: The ``weights`` parameter of the component.
        keys: How the converted names become those of the component.

    Returns:
        What happened to every tensor; ``None`` for random initialisation, which must be asked for.

    Raises:
        MissingAssetError: The file is not there.
        AssetFormatError: It is something else, or does not fit.
    """
    path = find_weights(wanted.name, weights)
    if path is None:
        return None
    report = load_into(component, read_converted(path, wanted), keys)
    component.asset_paths = {**component.asset_paths, asset_name(wanted.name, weights): path}
    component.eval()
    return report


def read_converted(path: Path, wanted: Format) -> Checkpoint:
    """The tensors of a file under the names that ``wanted`` gives them.

    Args:
        path: As published, as the asset folder keeps it, or saved by this project under the network's names.
        wanted: Format of the published file.

    Raises:
        AssetFormatError: It is something else.
    """
    if wanted.containers != ("weights",) and open_content(path).container == "weights":
        return read_checkpoint(path)
    content = open_asset(path, wanted)
    return Checkpoint(path, content.shapes, lambda name: torch.from_numpy(content.array(name)))
