"""Photos as queries: encoded by what made the index, or refused."""

import filecmp
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.errors import AssetFormatError, EmocaError, ImageError
from emoca_core.images.batch import crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import Landmarker
from emoca_core.probe.codes import CodeSource
from emoca_core.registry import get_registry
from emoca_core.retrieval.build import find_source, square_of
from emoca_core.retrieval.index import Index, code_of, made_of
from emoca_core.retrieval.search import Neighbours

COPIES = 64
"""Of a photo in an index, as many as are looked for."""
_ROUNDING = 1e-3
"""Of a feature's length."""


@dataclass(frozen=True)
class Query:
    """The largest face of a photo.

    Attributes:
        path: The photo.
        pixels: RGB.
        box: The square that was looked at, as in the index.
        feature: By what made the index.
        rows: Of the same face in the index: of this photo, then of byte-identical copies of it under other names.
        faces: In the photo.
    """

    path: Path
    pixels: UInt8[ndarray, "H W 3"]
    box: Float[ndarray, "4"]
    feature: Float[ndarray, "D"]
    rows: tuple[int, ...]
    faces: int

    @property
    def row(self) -> int:
        """Of the photo itself or the first copy; -1 where there is none."""
        return self.rows[0] if self.rows else -1


@dataclass(frozen=True)
class Retriever:
    """Finds the faces of an index that are like that of a photo.

    Attributes:
        index: The faces.
        source: What made their features.
        landmarker: Finds the face of a photo.
        warning: That the Python files have changed since the index was made; empty where they have not.

    Example: ``Retriever.of(open_index("faces.index")).retrieve("smile.jpg", top=10)``
    """

    index: Index
    source: CodeSource
    landmarker: Landmarker
    warning: str = ""

    @classmethod
    def of(cls, index: Index, device: torch.device | None = None) -> "Retriever":
        """What made the index, once more.

        Raises:
            AssetFormatError: The backbone or method is another one now, with other weights or parameters.
            EmocaError: It cannot run here.
        """
        card = index.card
        blocks = card.inputs if card.by.startswith("codes:") else ()
        source = find_source(card.by, card.crop, device, blocks)
        if made_of(source) != card.made_of:
            raise AssetFormatError(
                f"{index.folder} was made by {card.by} with other weights or parameters than are here: build it again"
            )
        changed = code_of(source) != card.code
        warning = f"{index.folder} was made by other code of {card.by} (emoca-core {card.version})" if changed else ""
        return cls(index, source, get_registry().build("landmarker", card.landmarker), warning)

    def query(self, photo: str | Path) -> Query:
        """Encode the largest face of a photo.

        Raises:
            ImageError: The photo cannot be read, or shows no face.
            EmocaError: The face cannot be encoded.
        """
        read = read_photo(photo)
        faces = self.landmarker.detect(read.pixels)
        if not faces:
            raise ImageError(f"{photo}: {self.landmarker.explain_no_face(read.pixels)}")
        batch = crops_to_batch([self.source.rule(read.pixels, faces[0])], faces[:1], [read.size])
        with torch.no_grad():
            feature = self.source.encode(batch).numpy()[0]
        if not np.isfinite(feature).all():
            raise EmocaError(f"{photo}: {self.index.card.by} cannot encode this face")
        box = square_of(faces[0])
        return Query(Path(photo), read.pixels, box, feature, self._rows_of(Path(photo), box, feature), len(faces))

    def retrieve(self, photo: str | Path, top: int = 10, metric: str = "l2", distinct: str | None = None) -> Neighbours:
        """The faces that are nearest to that of a photo; the photo itself and copies of it are left out.

        Where there are fewer than ``top``, rows end with -1.

        Raises:
            ImageError: As ``query``.
            ParamsError: As ``Index.search``.
        """
        asked = self.query(photo)
        return self.index.search(asked.feature[None], top, metric, distinct, [asked.row], asked.rows)

    def _rows_of(self, photo: Path, box: Float[ndarray, "4"], feature: Float[ndarray, "D"]) -> tuple[int, ...]:
        """Where the photo's face is in the index: the nearest one of the same file, and that of every copy."""
        path = photo.resolve()
        faces = self.index.faces
        same_name = [row for row, name in enumerate(faces.texts("path")) if name and Path(name).name == path.name]
        own = [row for row in same_name if faces.image_path(faces[row]).resolve() == path]
        distances = [float(np.abs(np.asarray(faces[row].box, np.float64) - box).sum()) for row in own]
        found = [own[int(np.argmin(distances))]] if own else []
        return (*found, *(row for row in self._alike(feature) if row not in own and self._is_copy(row, path)))

    def _alike(self, feature: Float[ndarray, "D"]) -> list[int]:
        """Rows whose features are the query's but for rounding, which differs from batch to batch."""
        found = self.index.search(feature[None], COPIES)
        alike = found.distances[0] <= _ROUNDING * np.linalg.norm(feature)
        rows: list[int] = found.rows[0][alike].tolist()
        return rows

    def _is_copy(self, row: int, path: Path) -> bool:
        other = self.index.faces.image_path(self.index.faces[row])
        try:
            return filecmp.cmp(other, path, shallow=False)
        except OSError:  # it is gone
            return False
