"""Where a training starts from: the weights of another run, and of the runs that it started from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of
from emoca_core.method import Method
from emoca_core.runs.trained_part import sha256_of_tensors

TRAINED = ("encoder", "detail")
"""Parts of a method that a stage trains; the others come from the recipe."""


def read_card(run: Path) -> dict[str, Any]:
    """``best.json`` of a run folder.

    Raises:
        AssetFormatError: The folder holds no finished validation.
    """
    file = run / "best.json"
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AssetFormatError(
            f"{run} has no best.json: give the folder of a run that got as far as a validation"
        ) from None
    except ValueError as error:
        raise AssetFormatError(f"{file} is damaged: {error}") from None
    if not isinstance(card, dict):
        raise AssetFormatError(f"{file} does not describe a run")
    return card


def load_run(method: Method, run: Path) -> None:
    """Load what a run trained into a method, after what the runs before it trained.

    Args:
        method: A recipe with the run's networks; it may have more, e.g. a second one that starts as a copy.
        run: A folder of ``emoca train coarse`` or ``detail``.

    Raises:
        AssetFormatError: Not such a run, a file has changed since, the weights do not fit, or what was frozen while
            they were trained is not there.
    """
    frozen: dict[str, str] = {}
    for folder, card in chain(run):
        _load_file(method, folder / "best.safetensors")
        frozen |= card["frozen"]
    parts = dict(method.named_modules())
    for name, expected in frozen.items():
        known = name in parts and name.partition(".")[0] in TRAINED
        if known and sha256_of_tensors(parts[name].state_dict()) != expected:
            raise AssetFormatError(
                f"{run} was trained on top of another {name} than recipe '{method.name}' has: use the recipe and the "
                "files it was trained with"
            )


def chain(run: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """A run and those it started from, the oldest first, with their cards.

    Raises:
        AssetFormatError: A run is missing, or its weights have changed since.
    """
    card = read_card(run)
    if "stage" not in card or "frozen" not in card:
        raise AssetFormatError(f"{run} is no run of 'emoca train coarse' or 'emoca train detail'")
    if before := card.get("start"):
        file = Path(before["file"])
        if not file.is_file() or sha256_of(file) != before["sha256"]:
            raise AssetFormatError(f"{run} started from {file}, which is gone or has changed since")
        yield from chain(file.parent)
    yield run, card


def start_of(run: Path) -> dict[str, str]:
    """What a card records of the run that a training starts from."""
    file = run / "best.safetensors"
    return {"file": str(file.resolve()), "sha256": sha256_of(file)}


def start_changes(stage: str, uses: str, run: Path) -> dict[str, Any]:
    """What a recipe has to change to start from a run: where the encoder's weights come from before those of the run.

    The detail stage takes over the whole encoder of the run; the coarse one may add a second network to it.

    Args:
        stage: ``coarse`` or ``detail``.
        uses: Encoder of the recipe.
        run: The run to start from.
    """
    encoder = read_card(run).get("recipe", {}).get("encoder")
    if not encoder:
        raise AssetFormatError(f"{run} is no run of 'emoca train coarse' or 'emoca train detail'")
    if stage == "detail":
        return {"encoder": encoder}
    weights = encoder.get("params", {}).get("weights")
    return {"encoder": {"params": {"weights": weights}}} if encoder["uses"] == uses and weights is not None else {}


def emotion_changes(run: Path) -> dict[str, Any]:
    """What a recipe has to change to look through a backbone that ``emoca train emotion`` has trained.

    Raises:
        AssetFormatError: The folder holds no such run.
    """
    backbone, weights = read_card(run).get("emotion_backbone"), run / "best.safetensors"
    if not isinstance(backbone, dict) or not weights.is_file():
        raise AssetFormatError(f"{run} is not a run of 'emoca train emotion'")
    params = {**backbone["params"], "weights": str(weights.resolve())}
    return {"emotion_backbone": {"uses": backbone["uses"], "preset": None, "params": params}}


def _load_file(method: Method, file: Path) -> None:
    state, own = load_file(file), method.state_dict()
    wrong = [name for name, tensor in state.items() if name not in own or own[name].shape != tensor.shape]
    if wrong:
        raise AssetFormatError(
            f"{len(wrong)} of the {len(state)} weights in {file} do not fit recipe '{method.name}', "
            f"the first is {wrong[0]}: start from a run of the same encoder"
        )
    module: nn.Module = method
    module.load_state_dict(state, strict=False)
