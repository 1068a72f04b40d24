"""AFEW-VA: one folder for each clip, with its frames and a JSON file of labels.

``<clip>/<clip>.json`` holds ``frames``: number -> landmarks [68][2] in pixels of the frame, and valence and arousal as
whole numbers from -10 to 10. The set has no expression classes. Clips become ``clip`` and, where it is given, ``actor``
becomes ``identity``.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.values import folder, level, number, points
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photos import natural_key

SCALE = 10
"""Published valence and arousal are divided by this."""


def read_clips(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Every frame of every clip.

    Raises:
        AssetFormatError: No clips, or a file that is not in the published layout; the message names it.
    """
    files = [path for path in folder(root).rglob("*.json") if path.stem == path.parent.name]
    if not files:
        raise AssetFormatError(f"{root} holds no clips of AFEW-VA (looked for <clip>/<clip>.json)")
    for path in sorted(files, key=natural_key):
        yield from _read_clip(path, root)


def _read_clip(path: Path, root: Path) -> Iterator[ManifestRow]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        frames = content["frames"].items()
        clip = str(content.get("video_id", path.stem))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetFormatError(f"{path} is not a clip of AFEW-VA: {type(error).__name__}: {error}") from None
    for name, frame in frames:
        yield _row(name, frame, path, root, clip, content.get("actor"))


def _row(name: str, frame: Mapping[str, Any], path: Path, root: Path, clip: str, actor: str | None) -> ManifestRow:
    place = f"{path} frame {name}"
    try:
        valence, arousal = frame["valence"], frame["arousal"]
        landmarks = [value for point in frame["landmarks"] for value in point]
    except (KeyError, TypeError) as error:
        raise AssetFormatError(f"{place}: not a frame of AFEW-VA, {type(error).__name__}: {error}") from None
    return ManifestRow(
        path=(path.parent / f"{name}.png").relative_to(root).as_posix(),
        valence=level(number(str(valence), place, "valence") / SCALE, place, "valence"),
        arousal=level(number(str(arousal), place, "arousal") / SCALE, place, "arousal"),
        identity=actor,
        clip=clip,
        frame=int(number(name, place, "the frame's name")),
        landmarks=points(landmarks, place),
    )
