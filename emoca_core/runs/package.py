"""A run as a folder that can be given away: trained weights in one file, card, recipe, licences."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from emoca_core.errors import EmocaError, OutputError
from emoca_core.files import atomic_folder, leaves_of, map_leaves, sha256_of, write_json, write_text, writing_to
from emoca_core.method import Method, build_parts
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import PACKAGE_CARD, Catalogue, Recipe, Use
from emoca_core.runs.cards import (
    PACKAGE_WEIGHTS,
    RUN_CARD,
    RUN_WEIGHTS,
    TRAINED_PARTS,
    Asset,
    PackageCard,
    Training,
    Weights,
)
from emoca_core.runs.loading import load_trained, trained_state
from emoca_core.runs.model_card import licences_text, model_card, registry_text
from emoca_core.runs.run_folder import RunFolder
from emoca_core.runs.trained_folder import TrainedFolder, open_folder, without_weights
from emoca_core.weights.write_tensors import write_tensors

_TRAINING = {"name", "recipe", "frozen", "stage", "step", "metrics"}
"""What the card of a package keeps of the card of each training."""


def package_run(run: Path, out: Path, catalogue: Catalogue, registry: Registry) -> PackageCard:
    """Write weights.safetensors, card.json, README.md, registry.yaml and LICENSES.md; all or nothing.

    The weights are those that were trained, along the runs that this one started from. Published weights and face
    models stay where they are: the card names them with their hash and where to obtain them. The emotion backbone that
    watched the training is not needed any more; the card keeps the hash of its weights.

    Args:
        run: A run of ``emoca train coarse`` or ``detail``.
        out: The folder to make.
        catalogue: With the licences.
        registry: With the components.

    Returns:
        The card.

    Raises:
        EmocaError: Not such a run, its weights do not fit, or its recipe names a file of this machine.
        OutputError: ``out`` exists already.
    """
    trained = open_folder(run)
    if trained.packaged:
        raise EmocaError(f"{run} is a package already")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already: remove it, or give another --out")
    recipe = trained.recipe(registry)
    parts = build_parts(recipe.model_copy(update={"landmarker": None}), catalogue, registry)
    method = Method(trained.name, recipe, parts)
    load_trained(parts, trained)
    state, files = trained_state(trained)
    own = [kind for kind in TRAINED_PARTS if _is_of_a_run(_weights_file(recipe, kind))]
    for kind in own:  # the whole part comes from another run, which the recipe names as a file
        state |= {f"{kind}.{name}": tensor for name, tensor in getattr(method, kind).state_dict().items()}
    portable = portable_recipe(recipe, own, catalogue, registry)
    of_runs = {file.resolve() for file in (*files.values(), *(_weights_file(recipe, kind) for kind in own)) if file}
    brought = {name: path for name, path in method.asset_paths().items() if path.resolve() not in of_runs}
    with writing_to(out), atomic_folder(out) as temporary:
        weights = temporary / PACKAGE_WEIGHTS
        write_tensors(weights, state, {"format": "pt"})
        values = sum(tensor.numel() for tensor in state.values())
        described = Weights(sha256=sha256_of(weights), tensors=len(state), values=values, file=weights.name)
        card = describe(trained, out.resolve().name, portable, brought, catalogue, described)
        write_json(temporary / PACKAGE_CARD, card.model_dump(mode="json", exclude_unset=True))
        write_text(temporary / "README.md", model_card(card))
        write_text(temporary / "LICENSES.md", licences_text(card))
        write_text(temporary / "registry.yaml", registry_text(card))
    return card


def portable_recipe(recipe: Recipe, own: Iterable[str], catalogue: Catalogue, registry: Registry) -> Recipe:
    """The recipe without presets, which may change, and without the files of this machine.

    Args:
        recipe: As it was trained.
        own: Parts whose weights lie in the package.
        catalogue: With the presets.
        registry: With the components.

    Raises:
        EmocaError: A part names a file.
    """
    changes: dict[str, object] = {}
    for kind, use in recipe.parts().items():
        params = catalogue.params(kind, use) | (without_weights(kind, use.uses, registry) if kind in own else {})
        texts = [leaf for leaf in leaves_of(params) if isinstance(leaf, str)]
        changes[kind] = use.model_copy(update={"preset": None, "params": params})
        if named := next((t for t in texts if os.path.isabs(t) or Path(t).is_file()), None):
            raise EmocaError(
                f"{kind} reads {named}, a file that others do not have: add it with 'emoca assets add' and train with "
                "the asset's name"
            )
    return recipe.model_copy(update=changes)


def describe(
    trained: TrainedFolder,
    name: str,
    recipe: Recipe,
    brought: Mapping[str, Path],
    catalogue: Catalogue,
    weights: Weights,
) -> PackageCard:
    """The card of a package."""
    card = trained.method_card
    return PackageCard(
        format="emoca-method/1",
        name=name,
        summary=recipe.summary,
        trained_from=card.name,
        recipe=recipe,
        stage=card.stage,
        step=card.step,
        metrics=card.metrics,
        frozen={key: value for key, value in trained.frozen.items() if key.partition(".")[0] in TRAINED_PARTS},
        trainings=[entry for folder in trained.chain() for entry in _trainings(folder)],
        assets={asset: _asset(asset, path, catalogue) for asset, path in sorted(brought.items())},
        licenses=catalogue.licenses(card.recipe),
        weights=weights,
    )


def _trainings(trained: TrainedFolder) -> list[Training]:
    """What one training was: settings, versions, hardware."""
    card = trained.method_card
    if isinstance(card, PackageCard):
        return card.trainings
    record = RunFolder(trained.path).record()
    entry = {
        "run": trained.name,
        **card.model_dump(mode="json", by_alias=True, exclude_none=True, include=_TRAINING),
        "settings": record.settings.train,
        **record.model_dump(exclude={"settings"}),
        "assets": {name: asset.sha256 for name, asset in card.assets.items()},
    }
    return [Training.model_validate(map_leaves(entry, _without_folders))]


def _asset(name: str, path: Path, catalogue: Catalogue) -> Asset:
    known = catalogue.assets.get(name)
    about = known.model_dump(include={"summary", "license", "obtain"}) if known else {}
    return Asset(file=path.name, sha256=sha256_of(path), **about)


def _weights_file(recipe: Recipe, kind: str) -> Path | None:
    use: Use | None = getattr(recipe, kind)
    named = use.params.get("weights") if use else None
    return Path(named) if isinstance(named, str) and Path(named).is_file() else None


def _is_of_a_run(file: Path | None) -> bool:
    return file is not None and file.name == RUN_WEIGHTS and (file.parent / RUN_CARD).is_file()


def _without_folders(leaf: object) -> object:
    """A file by its name alone: folders of this machine tell others nothing."""
    return Path(leaf).name if isinstance(leaf, str) and os.path.isabs(leaf) else leaf
