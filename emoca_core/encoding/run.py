"""A manifest to a folder of codes: shared among processes, resumed by shard."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from emoca_core.api import load_method
from emoca_core.claims import Claim
from emoca_core.datasets import Manifest
from emoca_core.datasets.encoded import CARD, Encoded, EncodedCard
from emoca_core.encoding.ray_engine import fill_parts_by_ray
from emoca_core.encoding.rows import RowEncoder, shards_of
from emoca_core.errors import EmocaError, OutputError, ParamsError
from emoca_core.files import atomic_write, delete_made, sha256_of, write_json, writing_to
from emoca_core.images.crops import CropPolicy
from emoca_core.method import pick_device
from emoca_core.parsing import read_record
from emoca_core.probe.codes import code_hash
from emoca_core.probe.detections import manifest_hash
from emoca_core.probe.processes import Part, fill_parts
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.runs.trained_part import sha256_of_tensors
from emoca_core.train.world import go_on_alone, processes

Engine = Literal["processes", "ray"]


@dataclass(frozen=True)
class EncodeSettings:
    """How faces are encoded.

    Attributes:
        emotion: Backbone of the columns of emotion, as ``load_emotion_backbone`` takes it; ``None`` leaves them out.
        crop: ``native`` cuts faces as the method was published, ``shared`` by one rule for all methods.
        second_look: Look again at every face: two more figures of quality, half the speed.
        shard: Rows of one file: what a stop can cost each process.
        batch_size: Faces encoded at once.
    """

    emotion: str | None = None
    crop: CropPolicy = "native"
    second_look: bool = False
    shard: int = 1024
    batch_size: int = 32


def encode_manifest(
    manifest: Manifest,
    recipe: str,
    out: Path | str,
    settings: EncodeSettings = EncodeSettings(),
    device: torch.device | None = None,
    overwrite: bool = False,
    engine: Engine = "processes",
) -> Counter[str] | None:
    """Encode the largest face of every image; the same call goes on where a stopped one ended.

    Several processes share the shards, or the workers of a Ray cluster do; one process writes them.

    Args:
        manifest: The images.
        recipe: A method, as ``emoca_core.load_method`` takes it.
        out: Folder of the shards.
        settings: How.
        device: Where networks run; the CPU by default.
        overwrite: Replace codes that others settings made.
        engine: ``processes`` that were started together share the work, or the workers of a cluster (``ray``), each on
            a GPU of its own where there are any. Either goes on where the other stopped.

    Returns:
        How many rows are ``ok``, ``no_face`` and ``unreadable``; ``None`` in processes other than the main one.

    Raises:
        EmocaError: A file is missing, the method has no landmarker, or no image shows a face.
        OutputError: ``out`` holds something else, or another run writes to it.

    Example: ``encode_manifest(Manifest.open("faces.csv"), "open_fit", "codes.parquet")``
    """
    if not len(manifest):
        raise ParamsError("the manifest has no rows")
    if engine == "ray" and processes().num_processes > 1:
        raise ParamsError("a Ray cluster has processes of its own: start one process, without torchrun")
    out, device = Path(out), device or torch.device("cpu")
    encoder = _encoder(recipe, settings, torch.device("cpu") if engine == "ray" else device)  # workers have their own
    card = _card(manifest, recipe, encoder, settings)
    _check_out(out, card, overwrite)
    processes().wait_for_everyone()  # all have looked before the main one writes
    parts = [Part(rows, out / name) for rows, name in shards_of(len(manifest), settings.shard)]
    claim = _begin(out, card) if processes().is_main_process else None
    try:
        if engine == "ray":
            fill_parts_by_ray(parts, manifest, partial(_encoder, recipe, settings), _write, recipe)
        else:
            fill_parts(parts, lambda rows: encoder(manifest, rows), _write, recipe)
        if not go_on_alone():
            return None
        _unify([part.file for part in parts])
        counts = Counter(Encoded.open(out).table(["status"])["status"].to_pylist())
    finally:
        if claim is not None:
            claim.release()
    if not counts["ok"]:
        raise EmocaError(f"no face in {len(manifest)} images, {counts['unreadable']} of them unreadable")
    return counts


def _encoder(recipe: str, settings: EncodeSettings, device: torch.device | None = None) -> RowEncoder:
    """The method, on the fastest device of this machine unless another one is named."""
    device = device or pick_device("auto")
    backbone = load_emotion_backbone(settings.emotion, device) if settings.emotion else None
    method = load_method(recipe, device=str(device))
    return RowEncoder(method, backbone, settings.crop, settings.second_look, settings.batch_size)


def _card(manifest: Manifest, recipe: str, encoder: RowEncoder, settings: EncodeSettings) -> EncodedCard:
    method, backbone = encoder.method, encoder.emotion
    parts = method.parts() | ({"judge": backbone} if backbone else {})
    assets = {name: path for part in parts.values() for name, path in part.asset_paths.items()}
    made_of: Mapping[str, object] = {
        "images": manifest_hash(manifest),
        "parts": {kind: part.params.model_dump(mode="json") for kind, part in parts.items()},
        "code": {kind: code_hash(part) for kind, part in parts.items()},
        "weights": {
            kind: sha256_of_tensors(part.state_dict())
            for kind, part in parts.items()
            if isinstance(part, torch.nn.Module)
        },
        "assets": {name: sha256_of(path) for name, path in assets.items() if path.is_file()},
        "settings": asdict(settings),
    }
    return EncodedCard(
        recipe=recipe,
        probe=method.recipe.probe,
        emotion=settings.emotion,
        crop=settings.crop,
        rows=len(manifest),
        made_of=hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest(),
        files=tuple(name for _, name in shards_of(len(manifest), settings.shard)),
    )


def _check_out(out: Path, card: EncodedCard, overwrite: bool) -> None:
    """Refuse to mix."""
    if not out.exists() or overwrite:
        return
    if not (out / CARD).is_file():
        raise OutputError(f"{out} exists and holds no codes: choose another --out")
    if read_record(out / CARD, EncodedCard, OutputError).made_of != card.made_of:
        raise OutputError(
            f"{out} holds codes of other images, another method or other settings: choose another --out, "
            "or replace them by --overwrite"
        )


def _begin(out: Path, card: EncodedCard) -> Claim:
    """The folder with its card, and the right to write to it."""
    with writing_to(out):
        known = read_record(out / CARD, EncodedCard, OutputError) if (out / CARD).is_file() else None
        if known is None or known.made_of != card.made_of:
            if not delete_made(out, CARD):
                raise OutputError(f"{out} holds files that 'emoca encode' did not make: choose another --out")
            out.mkdir(parents=True)
            write_json(out / CARD, card.model_dump(mode="json"))
        if (claim := Claim.take(out)) is None:
            raise OutputError(f"another run is writing to {out}")
    return claim


def _write(part: Part, table: pa.Table) -> None:
    with writing_to(part.file.parent), atomic_write(part.file) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _unify(files: list[Path]) -> None:
    """Give shards in which no face was found the columns of the others, so that all are one table."""
    schemas = {file: pq.read_schema(file) for file in files}
    fullest = max(schemas.values(), key=len)
    for file, schema in schemas.items():
        if schema.names != fullest.names:
            table = pq.read_table(file)
            nulls = [
                table[field.name] if field.name in schema.names else pa.nulls(len(table), field.type)
                for field in fullest
            ]
            _write(Part(range(0), file), pa.table(nulls, schema=fullest))
