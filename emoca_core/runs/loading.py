"""The one way in which trained weights come into a method: strictly, by the names of its parts."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Shaped
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of
from emoca_core.interfaces import Component, EmotionBackbone, ModuleComponent
from emoca_core.registry import Registry
from emoca_core.registry.spec import Kind
from emoca_core.runs.cards import EmotionCard, MethodCard, PackageCard
from emoca_core.runs.trained_folder import TrainedFolder, is_within, without_weights
from emoca_core.runs.trained_part import sha256_of_tensors
from emoca_core.weights.checkpoints import read_checkpoint


def load_trained(parts: Mapping[Kind, Component], trained: TrainedFolder, *, larger: bool = False) -> None:
    """Fill parts with what was trained, and compare what was frozen during training with what it was then.

    The files are added to the ``asset_paths`` of the parts, so that results record their hashes.

    Args:
        parts: Components by kind; those that the folder has no weights for are left alone.
        trained: The folder.
        larger: The parts may have networks that the folder does not know, e.g. a second one that a training adds.

    Raises:
        AssetFormatError: A tensor has no place, the wrong shape or is missing; or a frozen part has other weights than
            the one that the others were trained with.
    """
    state, files = trained_state(trained)
    named = {f"training {number} {label}": file for number, (label, file) in enumerate(files.items(), 1)}
    modules = {kind: part for kind in trained.parts if isinstance(part := parts.get(kind), ModuleComponent)}
    for kind, module in modules.items():
        own = {n.removeprefix(kind + "."): t for n, t in state.items() if is_within(n, kind)}
        if own:
            _fill(kind, module, own, trained, larger)
            module.asset_paths = {**module.asset_paths, **named}
    for name, expected in trained.frozen.items():
        kind = name.partition(".")[0]
        if kind in modules:
            _compare(name, expected, modules[kind], trained)


def trained_state(trained: TrainedFolder) -> tuple[dict[str, Shaped[Tensor, "..."]], dict[str, Path]]:
    """All trained tensors by their name in the method, and the files that they come from by the name of their folder.

    Raises:
        AssetFormatError: A file is damaged or is not the one that the card describes.
    """
    state: dict[str, Tensor] = {}
    chain = trained.chain()
    for folder in chain:
        card = folder.card
        if isinstance(card, PackageCard) and sha256_of(folder.weights) != card.weights.sha256:
            raise AssetFormatError(f"{folder.weights} is not the file that its card describes: get the package again")
        checkpoint = read_checkpoint(folder.weights)
        prefix = "emotion_backbone." if isinstance(card, EmotionCard) else ""
        state |= {prefix + name: checkpoint[name] for name in checkpoint}
    return state, {folder.name: folder.weights for folder in chain}


def trained_backbone(trained: TrainedFolder, registry: Registry) -> EmotionBackbone:
    """The network of a run of ``emoca train emotion``.

    Raises:
        AssetFormatError: It is no such run, or its weights do not fit.
    """
    use = trained.emotion_card.emotion_backbone
    params = {**use.params, **without_weights("emotion_backbone", use.uses, registry)}
    backbone = registry.build("emotion_backbone", use.uses, params)
    load_trained({"emotion_backbone": backbone}, trained)
    return backbone


def _fill(
    kind: str, module: ModuleComponent, state: Mapping[str, Tensor], trained: TrainedFolder, larger: bool
) -> None:
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
        if not larger and name not in state and not any(is_within(f"{kind}.{name}", part) for part in trained.frozen)
    ]
    if problems:
        rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise AssetFormatError(
            f"the weights in {trained.path} do not fit {type(module).__name__}, its {kind}: {problems[0]}{rest}"
        )
    nn.Module.load_state_dict(module, state, strict=False)


def _compare(name: str, expected: str, part: ModuleComponent, trained: TrainedFolder) -> None:
    """Refuse a frozen network that is not the one that was there during training."""
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
    assets = trained.card.assets if isinstance(trained.card, MethodCard) else {}
    return "; ".join(f"{n}, sha256 {a.sha256[:16]}" for n, a in assets.items()) or "random ones, which only its run had"
