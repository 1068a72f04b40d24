"""The weights of a trained method into its parts, strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of
from emoca_core.interfaces import ModuleComponent
from emoca_core.runs.trained_folder import TRAINED_PARTS, TrainedFolder, is_within, label_of
from emoca_core.weights.checkpoints import read_checkpoint


def load_trained(parts: Mapping[Any, Any], trained: TrainedFolder) -> None:
    """Fill the parts of a method, and compare what was frozen during training with what it was then.

    The files are added to the ``asset_paths`` of the parts, so that results record their hashes.

    Args:
        parts: Components by kind, as the folder's recipe describes them; encoders are attached already.
        trained: The folder.

    Raises:
        AssetFormatError: A tensor has no place, the wrong shape or is missing; or a frozen part has other weights than
            the one that the others were trained with.
    """
    state, files = trained_state(trained)
    named = {f"training {number} {label_of(file.parent)}": file for number, file in enumerate(files, 1)}
    modules = {kind: parts[kind] for kind in TRAINED_PARTS if isinstance(parts.get(kind), nn.Module)}
    for kind, module in modules.items():
        own = {n.removeprefix(kind + "."): t for n, t in state.items() if is_within(n, kind)}
        if own:
            _fill(kind, module, own, trained)
            module.asset_paths = {**module.asset_paths, **named}
    for name, expected in trained.frozen.items():
        kind = name.partition(".")[0]
        if kind in modules:
            _compare(name, expected, modules[kind], trained)


def trained_state(trained: TrainedFolder) -> tuple[dict[str, Shaped[Tensor, "..."]], list[Path]]:
    """All trained tensors by their name in the method, and the files that they come from.

    Raises:
        AssetFormatError: A file is damaged or is not the one that the card describes.
    """
    state: dict[str, Tensor] = {}
    files = []
    for file, card in trained.chain():
        expected = card.get("weights", {}).get("sha256")
        if expected and sha256_of(file) != expected:
            raise AssetFormatError(f"{file} is not the file that its card describes: get the package again")
        checkpoint = read_checkpoint(file)
        state |= {name: checkpoint[name] for name in checkpoint}
        files.append(file)
    return state, files


def _fill(kind: str, module: ModuleComponent, state: Mapping[str, Tensor], trained: TrainedFolder) -> None:
    """Load a part's tensors; everything must fit, and what is left out must be known as frozen."""
    own = module.state_dict()
    problems = [f"{kind}.{name} has no place" for name in state if name not in own]
    problems += [
        f"{kind}.{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    problems += [
        f"{kind}.{name} is missing"
        for name, _ in module.named_parameters()
        if name not in state and not any(is_within(f"{kind}.{name}", part) for part in trained.frozen)
    ]
    if problems:
        rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise AssetFormatError(
            f"the weights in {trained.path} do not fit {type(module).__name__}, the {kind} of its recipe: "
            f"{problems[0]}{rest}"
        )
    nn.Module.load_state_dict(module, state, strict=False)


def _compare(name: str, expected: str, part: ModuleComponent, trained: TrainedFolder) -> None:
    """Refuse a frozen network that is not the one that was there during training."""
    from emoca_core.runs.trained_part import sha256_of_tensors

    _, _, inside = name.partition(".")
    try:
        module: nn.Module = part.get_submodule(inside)
    except AttributeError:
        raise AssetFormatError(f"{trained.path} was trained with a network {name}, which its recipe lacks") from None
    if sha256_of_tensors(module.state_dict()) != expected:
        raise AssetFormatError(
            f"{trained.path} was trained on top of other weights of {name} than are here: bring the files it was "
            f"trained with ({_files(trained)})"
        )


def _files(trained: TrainedFolder) -> str:
    named = [f"{name}, sha256 {asset['sha256'][:16]}" for name, asset in trained.card.get("assets", {}).items()]
    return "; ".join(named) or "random ones, which only its run had"
