"""Lists of vertices: where landmarks lie, and which vertices of a larger mesh a smaller one keeps."""

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats import BARE, Arrays, Content, Format, named

BASEL_VERTICES = 53490
"""Vertices of the Basel Face Model 2009."""
EXPRESSION_VERTICES = 53215
"""Vertices of the face without the inside of the mouth, on which expression bases are defined."""
NONECK_VERTICES = 38365
"""Vertices of 3DDFA-V2's face, which has no ears and no neck."""
LANDMARKS = 68
_PLAUSIBLE_COUNTS = range(20, 200)
"""How long a list may be to be taken for one of landmarks, so that one of another length gets a clear answer."""


def _numbers(content: Content) -> np.ndarray | None:
    """The non-negative whole numbers of an npy or a text file; ``None`` where it holds anything else."""
    if content.container == "npy":
        values = content.array(BARE).ravel() if BARE in content.shapes else np.zeros(0)
        return values.astype(np.int64) if values.dtype.kind in "iu" and (values >= 0).all() else None
    if content.path.stat().st_size > 10_000:
        return None
    words = content.path.read_text(encoding="utf-8", errors="replace").replace(",", " ").split()
    return np.array(words, np.int64) if all(w.isascii() and w.isdecimal() and len(w) < 10 for w in words) else None


def _is_landmark_list(content: Content) -> bool:
    numbers = _numbers(content)
    return numbers is not None and numbers.size in _PLAUSIBLE_COUNTS and int(numbers.max()) < BASEL_VERTICES


def _landmark_list(content: Content) -> Arrays:
    numbers = _numbers(content)
    if numbers is None or numbers.size != LANDMARKS:
        found = "no such list" if numbers is None else f"{numbers.size} vertex numbers"
        raise AssetFormatError(f"{content.path} holds {found}, expected {LANDMARKS}, one for each iBUG landmark")
    return {"landmark_vertices": numbers}


def _is_selection(content: Content) -> bool:
    numbers = _numbers(content)
    return numbers is not None and int(numbers.max()) < EXPRESSION_VERTICES


BFM_EXPNET_LANDMARKS = Format(
    "bfm_expnet_landmarks", convert=_landmark_list, containers=("npy", "other"), matches=_is_landmark_list
)
BFM_3DDFA_INDICES = Format(
    "bfm_3ddfa_indices",
    entries={BARE: str(NONECK_VERTICES)},
    convert=named("vertices"),
    containers=("npy",),
    matches=_is_selection,
)
FORMATS = (BFM_EXPNET_LANDMARKS, BFM_3DDFA_INDICES)
