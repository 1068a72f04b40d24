"""VoxCeleb2 with DECA's annotations: frames by person, video and face, landmarks, segmentations, and a list.

``dev/images_cropped_full_height/<person>/<video>/<face>/<frame>.png``, ``vox2_best_clips_annotated_torch7`` and ``seg``
with the same names as ``.npy``. A list (``--list``) is a NumPy file [N] of ``<person>/<video>/<face>/<frame>``; without
one all frames with landmarks are taken. EMOCA's public code lost the first frame of every clip; here it stays.
"""

from collections.abc import Iterator
from pathlib import Path

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.annotated_lists import annotated, read_list
from emoca_core.datasets.importers.values import folder
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError

PHOTOS = "dev/images_cropped_full_height"
LANDMARKS = "vox2_best_clips_annotated_torch7"


def read_frames(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Every frame of the list, or of the folder; ``clip`` is the video, whatever faces were cut from it.

    Raises:
        AssetFormatError: Not this layout; the message names the file.
    """
    places = annotated(folder(root), PHOTOS, LANDMARKS, ("seg",), options)
    names = list(dict.fromkeys(read_list(options.file, 1).tolist())) if options.file else places.names(tally)
    for name in names:
        parts = name.split("/")
        if len(parts) != 4:
            raise AssetFormatError(f"'{name}' is no frame of VoxCeleb2: expected <person>/<video>/<face>/<frame>")
        person, video, _, frame = parts
        number = int(frame) if frame.isdecimal() else None
        row = places.row(ManifestRow(name, identity=person, clip=f"{person}/{video}", frame=number), tally)
        if row is not None:
            yield row
