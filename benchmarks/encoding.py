"""How many faces a second ``emoca encode`` encodes, and what its stages take.

    python benchmarks/encoding.py [MANIFEST] [--recipe open_fit] [--images 128] [--batch 32]
        [--device auto] [--threads N]

Without a manifest the pictures are synthetic faces of 224 pixels. Each stage is run alone over the same images, then
all of them as ``emoca encode`` runs them; what is left of the whole is the verdict of quality and the table.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from emoca_core import get_registry, load_method
from emoca_core.datasets import Manifest
from emoca_core.datasets.render import render_dataset
from emoca_core.encoding.rows import RowEncoder
from emoca_core.images.crops import SHARED_CROP, choose_crop, crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.method import pick_device
from emoca_core.reconstruction.capture import FoundFace, batched, capture_faces
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.runs.backbones import load_emotion_backbone

T = TypeVar("T")

STAGES = ("reading", "finding", "cutting", "encoding", "emotion", "whole")
SHOWN = {"whole": "all, as emoca encode"}


def row_encoder(recipe: str, device: str, batch: int, emotion: str | None = "open_emotion") -> RowEncoder:
    """A method and the default backbone, on a device."""
    where = pick_device(device)
    backbone = load_emotion_backbone(emotion, where) if emotion else None
    return RowEncoder(load_method(recipe, device=str(where)), backbone, batch_size=batch)


def seconds_of_stages(encoder: RowEncoder, manifest: Manifest, images: int) -> dict[str, float]:
    """Seconds of each stage for the first ``images`` rows, those of computing, and how many ``faces`` they show.

    Stages that there are not (no landmarker, no backbone) are left out.
    """
    method, rows = encoder.method, range(min(images, len(manifest)))
    assert method.landmarker is not None
    encoder(manifest, rows[: encoder.batch_size])  # warm
    rule = choose_crop(encoder.crop, method.encoder.crop_rule)
    took: dict[str, float] = {}

    def timed(stage: str, run: Callable[[], T]) -> T:
        start, computed = time.perf_counter(), time.process_time()
        result = run()
        settle(method.device)
        took[stage], took[f"{stage}, CPU"] = time.perf_counter() - start, time.process_time() - computed
        return result

    photos = timed("reading", lambda: [read_photo(manifest.image_path(manifest[row])) for row in rows])
    detect = method.landmarker.detect
    seen = timed("finding", lambda: [next(iter(detect(photo.pixels)), None) for photo in photos])
    shown = [(photo, one) for photo, one in zip(photos, seen, strict=True) if one is not None]
    cuts = timed("cutting", lambda: [rule(photo.pixels, one) for photo, one in shown])
    faces = [FoundFace(photo, 0, one, cut, rule.name) for (photo, one), cut in zip(shown, cuts, strict=True)]
    batches = list(batched(faces, encoder.batch_size))
    timed("encoding", lambda: [capture_faces(method, batch, Settings(crop=encoder.crop)) for batch in batches])
    if encoder.emotion is not None:
        timed("emotion", lambda: [emotion_of(encoder, batch) for batch in batches])
    timed("whole", lambda: encoder(manifest, rows))
    return took | {"faces": len(faces)}


def seconds_on_synthetic_faces(encoder: RowEncoder, images: int) -> dict[str, float]:
    """The same, for pictures of so many synthetic faces."""
    faces = get_registry().build("dataset", "synthetic_faces", {"length": images, "image_size": 224, "seed": 7})
    with tempfile.TemporaryDirectory() as folder:
        return seconds_of_stages(encoder, Manifest.open(render_dataset(faces, Path(folder))), images)


@torch.no_grad()
def emotion_of(encoder: RowEncoder, faces: list[FoundFace]) -> object:
    """What the backbone says of a batch, by the shared crop."""
    assert encoder.emotion is not None
    cuts = [SHARED_CROP(face.photo.pixels, face.detection) for face in faces]
    crops = crops_to_batch(cuts, [face.detection for face in faces], [face.photo.size for face in faces])
    return encoder.emotion(crops.image.to(encoder.method.device))


def settle(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(took: Mapping[str, float]) -> dict[str, float]:
    """Faces a second."""
    return {stage: took["faces"] / took[stage] for stage in STAGES if stage in took}


def main() -> None:
    """Print faces a second, by stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--recipe", default="open_fit")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    encoder = row_encoder(options.recipe, options.device, options.batch)
    if options.manifest:
        took = seconds_of_stages(encoder, Manifest.open(options.manifest), options.images)
    else:
        took = seconds_on_synthetic_faces(encoder, options.images)
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    print(f"{options.recipe}, {took['faces']:.0f} faces, {encoder.method.device}, {threads} threads, load {load:.1f}")
    for stage, rate in rates(took).items():
        computing = 1e3 * took[f"{stage}, CPU"] / took["faces"]
        print(f"  {SHOWN.get(stage, stage):22s} {rate:8.1f} faces/s   {computing:7.1f} ms of computing a face")


if __name__ == "__main__":
    main()
