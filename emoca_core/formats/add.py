"""Taking published files into the asset folder: recognised by content, converted once, recorded with their origin."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emoca_core.claims import Claim
from emoca_core.errors import AssetFormatError, EmocaError, OutputError, unknown_name
from emoca_core.files import path_below, sha256_of, writing_to
from emoca_core.formats.content import Content
from emoca_core.formats.convert import convert, recognise, write_converted
from emoca_core.formats.known import known_formats, names_of
from emoca_core.formats.open import open_content
from emoca_core.formats.table import Arrays, Bundle, Format
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.assets import AssetRecord, asset_folder, read_index, write_index


@dataclass(frozen=True)
class Added:
    """What became of one file.

    Attributes:
        path: As the user gave it.
        record: Its entry in the index; ``None`` if it was not taken.
        problem: Why not.
        unchanged: It was there already.
        replaced: Name of the file whose place it took, if that was another one.
    """

    path: Path
    record: AssetRecord | None = None
    problem: str | None = None
    unchanged: bool = False
    replaced: str | None = None


def add_files(
    paths: Iterable[Path | str], name: str | None = None, folder: Path | None = None, registry: Registry | None = None
) -> Iterator[Added]:
    """Recognise, convert and record published files, one result for each.

    Args:
        paths: Files, or folders that are searched; a folder may also be one model (a clone of ICT FaceKit).
        name: Asset name for a file whose content fits several (FLAME's editions, two masks, two eyelids).
        folder: Asset folder; the user's by default.
        registry: Whose plugins know the files; everything installed by default.

    Raises:
        UnknownNameError: ``name`` is not an asset name.
        OutputError: The asset folder cannot be written, or the disk is full.
    """
    registry = registry or get_registry()
    formats = known_formats(registry)
    if name is not None and name not in (known := names_of(formats)):
        raise unknown_name("asset", name, known)
    folder = folder or asset_folder()
    bundles: dict[str, tuple[Bundle, dict[str, Content]]] = {}
    incomplete: set[str] = set()
    taken: dict[str, Path] = {}
    for path, searched in _expanded(paths, formats):
        try:
            content = open_content(path)
            if content.networks:
                yield from _take_networks(content, formats, folder, registry, taken)
                continue
            recognised = recognise(content, formats)
            if (bundle := recognised.part_of) is not None:
                bundles.setdefault(bundle.asset, (bundle, {}))[1][recognised.name] = content
            if recognised.stands_alone:
                added = _take(content, recognised, None if bundle else name, folder, registry, taken)
                taken |= {added.record.name: path} if added.record else {}
                yield added
            elif bundle:
                incomplete.add(bundle.asset)
        except OutputError:
            raise
        except EmocaError as error:
            if not searched or not isinstance(error, AssetFormatError):  # a folder may hold anything
                yield Added(path, problem=str(error))
    for asset in incomplete:
        yield _assemble(*bundles[asset], formats, folder)


def _expanded(paths: Iterable[Path | str], formats: Iterable[Format]) -> Iterator[tuple[Path, bool]]:
    """Files to look at, and whether they were found by searching a folder."""
    models = [candidate for candidate in formats if "folder" in candidate.containers]
    for path in map(Path, paths):
        if path.is_dir() and not any(model.matches(Content(path, "folder")) for model in models):
            yield from ((file, True) for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size)
        else:
            yield path, False


def _take_networks(
    archive: Content, formats: Iterable[Format], folder: Path, registry: Registry, taken: dict[str, Path]
) -> Iterator[Added]:
    """Every network of an archive that is known; the others are not wanted.

    Raises:
        AssetFormatError: None is known.
    """
    found = [(network, known) for network in archive.networks for known in formats if known.fits(network)]
    if not found:
        raise AssetFormatError(f"{archive.path} holds {len(archive.networks)} networks, but none this project knows")
    for network, recognised in found:
        added = _take(network, recognised, None, folder, registry, taken)
        taken |= {added.record.name: archive.path} if added.record else {}
        yield added


def _take(
    content: Content,
    recognised: Format,
    name: str | None,
    folder: Path,
    registry: Registry,
    before: Mapping[str, Path],
) -> Added:
    """One file by itself; ``before`` has the assets that other files of the same call became."""
    asset = name or recognised.asset_for(content.path)
    if asset not in recognised.assets:
        raise AssetFormatError(
            f"{content.path} is {recognised.name}, which cannot be '{asset}' (but {' or '.join(recognised.assets)})"
        )
    origin_hash = sha256_of(recognised.key_file(content.path))
    known = read_index(folder).get(asset)
    if known and known.origin_sha256 == origin_hash and (folder / known.file).is_file():
        return Added(content.path, known, unchanged=True)
    if asset in before:
        problem = f"{content.path} is '{asset}', as {before[asset]} is: add one of them, or one at a time with --name"
        return Added(content.path, problem=problem)
    arrays = convert(content, recognised)
    prove(content, recognised, registry)
    record = _keep(asset, recognised, arrays, content.path.name, origin_hash, folder, _switches(content, recognised))
    return Added(content.path, record, replaced=known.origin if known else None)


def prove(content: Content, recognised: Format, registry: Registry) -> None:
    """Build the components that read these weights from them, without memory for the network itself.

    Raises:
        AssetFormatError: A tensor is missing, unexpected, of the wrong shape, or not finite.
    """
    for use in recognised.used_by:
        params = use.params(content) if callable(use.params) else use.params
        if any(use.where in name for name in content.shapes):
            import torch

            with torch.device("meta"):
                registry.build(use.kind, use.name, {**params, use.parameter: str(content.path.absolute())})


def _assemble(bundle: Bundle, parts: Mapping[str, Content], formats: Iterable[Format], folder: Path) -> Added:
    """A model from the parts that were given together."""
    first = next(iter(parts.values())).path
    if missing := [f"{name} ({file})" for name, file in bundle.parts.items() if name not in parts]:
        problem = f"{first} is one part of '{bundle.asset}'; add it together with: {', '.join(missing)}"
        return Added(first, problem=problem)
    hashes = "+".join(sha256_of(parts[part].path) for part in bundle.parts)
    origin = "+".join(parts[part].path.name for part in bundle.parts)
    target = next(candidate for candidate in formats if candidate.name == bundle.format)
    try:
        arrays = bundle.build(parts)
        target.check(arrays, first.parent)
        return Added(first.parent, _keep(bundle.asset, target, arrays, origin, hashes, folder, {}))
    except (AssetFormatError, ValueError, IndexError) as error:
        return Added(first.parent, problem=f"the parts of '{bundle.asset}' do not fit together: {error}")


def _switches(content: Content, recognised: Format) -> dict[str, bool]:
    """What the file says of its training, as far as the format keeps it."""
    said = {name.rpartition(".")[2]: value for name, value in content.settings.items()}
    return {name: value for name in recognised.switches if isinstance(value := said.get(name), bool)}


def _keep(
    asset: str,
    recognised: Format,
    arrays: Arrays,
    origin: str,
    origin_hash: str,
    folder: Path,
    switches: Mapping[str, bool],
) -> AssetRecord:
    suffix = ".safetensors" if recognised.as_tensors or recognised.containers == ("weights",) else ".npz"
    path = path_below(folder, asset + suffix, what="asset")
    with writing_to(folder):
        write_converted(path, recognised.name, arrays, switches)
        record = AssetRecord(
            name=asset,
            file=path.name,
            sha256=sha256_of(path),
            format=recognised.name,
            origin=origin,
            origin_sha256=origin_hash,
            added=datetime.date.today().isoformat(),
        )
        with Claim.wait(folder):  # another process may be adding, too
            write_index({**read_index(folder), asset: record}.values(), folder)
    return record
