"""Files that users bring: licensed face models and published weights, found by asset name.

The asset folder (``EMOCA_ASSETS``, else the platform's user data folder) holds converted files and ``assets.json``, an
index that records where each came from. ``emoca assets add FILE`` fills it. Nothing in it is ever re-exported.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, field_validator

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import path_below, write_json
from emoca_core.parsing import read_record

if TYPE_CHECKING:
    from emoca_core.registry.catalogue import AssetCard

ENVIRONMENT_VARIABLE = "EMOCA_ASSETS"
INDEX = "assets.json"


@dataclass(frozen=True)
class AssetRecord:
    """One entry of the index.

    Attributes:
        name: Asset name, as in the catalogue.
        file: Converted file, relative to the asset folder.
        sha256: Of the converted file.
        format: What the content was recognised as (``emoca_core.formats``).
        origin: File name as the user gave it.
        origin_sha256: Of that file.
        added: ISO date.
    """

    name: str
    file: str
    sha256: str
    format: str
    origin: str
    origin_sha256: str
    added: str


class _Index(BaseModel):
    version: Literal[1]
    assets: dict[str, AssetRecord]

    @field_validator("assets", mode="before")
    @classmethod
    def _with_names(cls, entries: object) -> object:
        entries = entries if isinstance(entries, Mapping) else {"": entries}
        return {name: {**entry, "name": name} if isinstance(entry, dict) else entry for name, entry in entries.items()}


def asset_folder() -> Path:
    """``EMOCA_ASSETS`` where set, else the user data folder of the platform. It need not exist yet."""
    import platformdirs  # here, because `emoca --help` imports this module

    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir("emoca", appauthor=False)) / "assets"


def read_index(folder: Path | None = None) -> dict[str, AssetRecord]:
    """What the asset folder holds, by asset name. Empty where there is no folder.

    Raises:
        AssetFormatError: ``assets.json`` is damaged.
    """
    path = (folder or asset_folder()) / INDEX
    if not os.path.lexists(path):
        return {}
    try:
        return read_record(path, _Index).assets
    except AssetFormatError as error:
        raise AssetFormatError(f"{error}; delete it and run 'emoca assets add' on your files again") from None


def write_index(records: Iterable[AssetRecord], folder: Path | None = None) -> None:
    """Replace the index of the asset folder, atomically."""
    entries = {record.name: dataclasses.asdict(record) for record in sorted(records, key=lambda r: r.name)}
    for entry in entries.values():
        del entry["name"]
    write_json((folder or asset_folder()) / INDEX, {"version": 1, "assets": entries})


def find_asset(name: str, given: Path | str | None = None) -> Path:
    """The file behind an asset name.

    Args:
        name: Asset name of the catalogue, e.g. ``"flame"``.
        given: A path that the user wrote into the configuration; it wins over the asset folder.

    Returns:
        An existing file: the given one as it is, or the converted one in the asset folder. Both are understood by the
        readers of ``emoca_core.formats``.

    Raises:
        MissingAssetError: There is no such file.
    """
    return find_assets({name: given})[name]


def find_assets(wanted: Mapping[str, Path | str | None]) -> dict[str, Path]:
    """Several assets at once, so that one message names everything that is missing.

    Args:
        wanted: Asset names, each with the path given by the user or ``None``.

    Raises:
        MissingAssetError: Lists every file that is not there.
    """
    folder = asset_folder()
    index = read_index(folder) if None in wanted.values() else {}
    found: dict[str, Path] = {}
    problems = []
    for name, given in wanted.items():
        path = Path(given).expanduser() if given is not None else _indexed(index.get(name), folder)
        if path is not None and path.exists():
            found[name] = path
        else:
            problems.append(_explain(name, given, path, folder))
    if problems:
        raise MissingAssetError("\n".join(problems))
    return found


def has_asset(name: str) -> bool:
    """Whether the asset folder holds this asset: for optional parts of a model."""
    folder = asset_folder()
    path = _indexed(read_index(folder).get(name), folder)
    return path is not None and path.exists()


def _indexed(record: AssetRecord | None, folder: Path) -> Path | None:
    return path_below(folder, record.file, what=f"file of '{record.name}' in {folder / INDEX},") if record else None


def _explain(name: str, given: Path | str | None, path: Path | None, folder: Path) -> str:
    card = _card(name)
    files = " or ".join(card.files) if card else "file unknown to the catalogue"
    lines = [f"missing asset '{name}' ({files})"]
    if given is not None:
        lines.append(f"  the given path does not exist: {given}")
    elif path is not None:
        lines.append(f"  {folder / INDEX} lists it, but {path} is gone")
    else:
        lines.append(f"  searched: {folder} (set {ENVIRONMENT_VARIABLE} to use another folder)")
        if lying := [folder / file for file in (card.files if card else ()) if (folder / file).is_file()]:
            lines.append(f"  not added yet: {lying[0]}")
    if card:
        lines += [f"  what: {card.summary}", f"  licence: {card.license}", f"  obtain: {card.obtain}"]
    example = card.files[0] if card and card.files else "FILE"
    lines.append(f"  then: emoca assets add {example}")
    return "\n".join(lines)


def _card(name: str) -> "AssetCard | None":
    from emoca_core.registry.catalogue import (
        get_catalogue,  # reading YAML takes time that a successful look-up need not spend
    )

    return get_catalogue().assets.get(name)
