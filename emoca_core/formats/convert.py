"""From a published file to plain arrays: recognise it, convert it, and tell converted files from published ones."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.files import atomic_write
from emoca_core.formats.content import BARE, MARK, Content
from emoca_core.formats.open import open_content
from emoca_core.formats.table import Arrays, Format


def recognise(content: Content, formats: Iterable[Format]) -> Format:
    """The format of a published file, by its content.

    Args:
        content: The file.
        formats: What it may be; the first that fits.

    Raises:
        AssetFormatError: No format has these entries, or one has them in other shapes.
    """
    near = []
    for candidate in formats:
        if candidate.has_entries(content):
            wrong = candidate.wrong_shapes(content)
            if not wrong and candidate.matches(content):
                return candidate
            if wrong and BARE not in candidate.entries:
                near.append((candidate, wrong))
    if near:
        candidate, wrong = near[0]
        raise AssetFormatError(f"{content.path} looks like {candidate.name}, but {'; '.join(wrong)}")
    entries = sorted(name for name in content.shapes if name)
    holds = f", entries: {', '.join(entries[:8])}{', ...' if len(entries) > 8 else ''}" if entries else ""
    raise AssetFormatError(f"{content.path} is not a published model this project knows ({content.container}{holds})")


def open_asset(path: Path | str, wanted: Format) -> Content:
    """A model file under our names, be it converted (asset folder) or as published (a path the user gave).

    Args:
        path: The file or folder.
        wanted: What it must be.

    Returns:
        Entries that load when asked for.

    Raises:
        AssetFormatError: It is something else, damaged, or an unsafe pickle.
    """
    content = open_content(path)
    content = next((network for network in content.networks if wanted.fits(network)), content)
    name = content.format
    if name is None:
        wrong = wanted.wrong_shapes(content) if wanted.has_entries(content) else None
        if wrong == [] and wanted.matches(content):
            arrays = wanted.converted(content)
            return Content(content.path, content.container, {n: a.shape for n, a in arrays.items()}, arrays.__getitem__)
        if wrong:
            raise AssetFormatError(f"{path} looks like {wanted.name}, but {'; '.join(wrong)}")
        if missing := [entry for entry in wanted.entries if entry not in content.shapes]:
            raise AssetFormatError(f"{path} is not {wanted.name}: it lacks {', '.join(map(repr, missing))}")
        name = "something else"
    if name != wanted.name:
        raise AssetFormatError(f"{path} is {name}, expected {wanted.name}")
    return content


def write_converted(
    path: Path, format_name: str, arrays: Mapping[str, np.ndarray], switches: Mapping[str, bool] | None = None
) -> None:
    """Keep converted arrays: tensors of networks as safetensors, everything else as npz. Atomic.

    Args:
        path: Ends in ``.safetensors`` or ``.npz``.
        format_name: Name of the format they come from.
        arrays: What it was converted to.
        switches: What a network was trained for, kept beside its tensors.
    """
    if path.suffix == ".safetensors":
        from emoca_core.weights.write_tensors import write_tensors  # which imports torch

        write_tensors(path, arrays, {"format": "pt", **{n: str(on).lower() for n, on in (switches or {}).items()}})
    else:
        with atomic_write(path) as temporary:
            np.savez(temporary, **{MARK: np.array(format_name)}, **arrays)  # type: ignore[arg-type]


def convert(content: Content, recognised: Format) -> Arrays:
    """The arrays of a published file under our names.

    Raises:
        AssetFormatError: Its parts do not fit together, or it is one part of a bundle.
    """
    if not recognised.stands_alone and recognised.part_of:
        raise AssetFormatError(f"{content.path} is one part of '{recognised.part_of.asset}'; add all parts together")
    return recognised.converted(content)
