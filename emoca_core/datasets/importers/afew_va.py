"""AFEW-VA: one folder for each clip, with its frames and a JSON file of labels.

``<clip>/<clip>.json`` holds ``frames``: number -> landmarks [68][2] in pixels of the frame, and valence and arousal as
whole numbers from -10 to 10. The set has no expression classes. Clips become ``clip`` and, where it is given, ``actor``
becomes ``identity``.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.values import folder, level, number, points
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photo_search import walk_files
from emoca_core.parsing import read_record, shown

SCALE = 10
"""Published valence and arousal are divided by this."""


class _Frame(BaseModel):
    """What a clip says of a frame."""

    valence: object
    arousal: object
    landmarks: list[list[object]]


class _Clip(BaseModel):
    """The file of a clip, as far as it is used."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    frames: dict[str, _Frame]
    video_id: str | None = None
    actor: str | None = None


def read_clips(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Every frame of every clip.

    Raises:
        AssetFormatError: No clips, or a file that is not in the published layout; the message names it.
    """
    found = walk_files(folder(root), tally.pass_over)
    files = [path for path in found if path.suffix == ".json" and path.stem == path.parent.name]
    if not files:
        raise AssetFormatError(f"{root} holds no clips of AFEW-VA (looked for <clip>/<clip>.json)")
    for path in files:
        yield from _read_clip(path, root)


def _read_clip(path: Path, root: Path) -> Iterator[ManifestRow]:
    clip = read_record(path, _Clip)
    for name, frame in clip.frames.items():
        yield _row(name, frame, path, root, clip.video_id or path.stem, clip.actor)


def _row(name: str, frame: _Frame, path: Path, root: Path, clip: str, actor: str | None) -> ManifestRow:
    place = f"{path} frame {shown(name)}"
    position = int(number(name, place, "the frame's name"))  # first: the name becomes a path
    return ManifestRow(
        path=(path.parent / f"{name}.png").relative_to(root).as_posix(),
        valence=level(number(str(frame.valence), place, "valence") / SCALE, place, "valence"),
        arousal=level(number(str(frame.arousal), place, "arousal") / SCALE, place, "arousal"),
        identity=actor,
        clip=clip,
        frame=position,
        landmarks=points([value for point in frame.landmarks for value in point], place),
    )
