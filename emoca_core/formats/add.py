"""Taking published files into the asset folder: recognised by content, converted once, recorded with their origin."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emoca_core.errors import AssetFormatError, MissingAssetError, unknown_name
from emoca_core.files import sha256_of
from emoca_core.formats.bfm import FRONT_PARTS, build_front
from emoca_core.formats.content import Content, open_content
from emoca_core.formats.convert import FORMATS, convert, recognise, write_converted
from emoca_core.formats.heads import ict_folder
from emoca_core.formats.table import Arrays, Format
from emoca_core.registry.assets import AssetRecord, asset_folder, read_index, write_index


@dataclass(frozen=True)
class Added:
    """What became of one file.

    Attributes:
        path: As the user gave it.
        record: Its entry in the index; ``None`` if it was not taken.
        problem: Why not.
        unchanged: It was there already.
    """

    path: Path
    record: AssetRecord | None = None
    problem: str | None = None
    unchanged: bool = False


def add_files(paths: Iterable[Path | str], name: str | None = None, folder: Path | None = None) -> Iterator[Added]:
    """Recognise, convert and record published files, one result for each.

    Args:
        paths: Files, or folders that are searched; a clone of ICT FaceKit is one model.
        name: Asset name for a file whose content fits several (FLAME's editions, two masks, two eyelids).
        folder: Asset folder; the user's by default.

    Raises:
        UnknownNameError: ``name`` is not an asset name.
        OSError: The asset folder cannot be written.
    """
    known = sorted({asset for candidate in FORMATS for asset in candidate.assets})
    if name is not None and name not in known:
        raise unknown_name("asset", name, known)
    folder = folder or asset_folder()
    parts: dict[str, Content] = {}
    to_assemble = False
    for path, searched in _expanded(paths):
        try:
            content = open_content(path)
            recognised = recognise(content)
            if recognised.part_of:
                parts[recognised.name] = content
            if recognised.stands_alone:
                yield _take(content, recognised, None if recognised.part_of else name, folder)
            to_assemble |= not recognised.stands_alone
        except AssetFormatError as error:
            if not searched:  # a folder may hold anything
                yield Added(path, problem=str(error))
    if to_assemble:
        yield _assemble(parts, folder)


def _expanded(paths: Iterable[Path | str]) -> Iterator[tuple[Path, bool]]:
    """Files to look at, and whether they were found by searching a folder."""
    for path in map(Path, paths):
        if not path.exists():
            raise MissingAssetError(f"there is no file {path}")
        if path.is_dir() and ict_folder(path) is None:
            yield from ((file, True) for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size)
        else:
            yield path, False


def _take(content: Content, recognised: Format, name: str | None, folder: Path) -> Added:
    asset = name or recognised.asset_for(content.path)
    if asset not in recognised.assets:
        raise AssetFormatError(
            f"{content.path} is {recognised.name}, which cannot be '{asset}' (but {' or '.join(recognised.assets)})"
        )
    origin_hash = _hash_of(content.path)
    known = read_index(folder).get(asset)
    if known and known.origin_sha256 == origin_hash and (folder / known.file).is_file():
        return Added(content.path, known, unchanged=True)
    arrays = convert(content, recognised)
    return Added(content.path, _keep(asset, recognised, arrays, content.path.name, origin_hash, folder))


def _assemble(parts: Mapping[str, Content], folder: Path) -> Added:
    """Deep3DFace's model from the parts that were given together."""
    first = next(iter(parts.values())).path
    missing = [part.name for part in FRONT_PARTS if part.name not in parts]
    if missing:
        wanted = ", ".join(f"{name} ({_PUBLISHED_AS[name]})" for name in missing)
        return Added(first, problem=f"{first} is one part of 'bfm09'; add it together with: {wanted}")
    hashes = "+".join(_hash_of(parts[part.name].path) for part in FRONT_PARTS)
    origin = "+".join(parts[part.name].path.name for part in FRONT_PARTS)
    target = next(candidate for candidate in FORMATS if candidate.name == "bfm09_front")
    try:
        return Added(first.parent, _keep("bfm09", target, build_front(parts), origin, hashes, folder))
    except (AssetFormatError, ValueError, IndexError) as error:
        return Added(first.parent, problem=f"the parts of 'bfm09' do not fit together: {error}")


_PUBLISHED_AS = {
    "bfm09_basel": "01_MorphableModel.mat",
    "bfm09_front_info": "facemodel_info.mat",
    "bfm09_front_index": "BFM_front_idx.mat",
    "bfm09_expression_index": "BFM_exp_idx.mat",
    "bfm09_expression_basis": "Exp_Pca.bin",
    "bfm09_expression_sigma": "std_exp.txt",
}


def _keep(asset: str, recognised: Format, arrays: Arrays, origin: str, origin_hash: str, folder: Path) -> AssetRecord:
    path = folder / f"{asset}{'.safetensors' if recognised.containers == ('weights',) else '.npz'}"
    write_converted(path, recognised.name, arrays)
    record = AssetRecord(
        name=asset,
        file=path.name,
        sha256=sha256_of(path),
        format=recognised.name,
        origin=origin,
        origin_sha256=origin_hash,
        added=datetime.date.today().isoformat(),
    )
    index = read_index(folder)
    write_index({**index, asset: record}.values(), folder)
    return record


def _hash_of(path: Path) -> str:
    """Of a file; of a folder, of its largest part that defines it (the neutral mesh)."""
    folder = ict_folder(path) if path.is_dir() else None
    return sha256_of(folder / "generic_neutral_mesh.obj" if folder else path)
