"""Reading the open head's data files that are shipped with the package."""

import io
from collections.abc import Mapping
from importlib.resources import files

import numpy as np


def read_open_head_arrays(name: str) -> Mapping[str, np.ndarray]:
    """Arrays of one shipped data file.

    Args:
        name: ``"open_head"`` (geometry) or ``"open_head_albedo"``.
    """
    content = files("emoca_plugins.face_models").joinpath(f"data/{name}.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
