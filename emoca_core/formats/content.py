"""What a file holds: named entries that are loaded when asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from emoca_core.errors import AssetFormatError
from emoca_core.weights.pickled_arrays import to_array

Container = Literal["npz", "npy", "pickle", "mat", "weights", "hdf5", "tfjs", "obj", "picture", "folder", "other"]
Shape = tuple[int, ...]

BARE = ""
"""Name of the only entry of a file that holds one array."""


MARK = "__format__"
"""Entry of a converted npz file that names its format."""


@dataclass(frozen=True)
class Content:
    """A file as named entries, loaded when asked for.

    Attributes:
        path: The file or folder.
        container: How it is stored.
        shapes: Shape of every entry that is an array, known without loading it where the container allows.
        read: Loads an entry by name.
        settings: What the file says of itself, for weights of networks.
        networks: What an archive of several networks holds, each as a content of its own.
        format: What a converted file of the asset folder was; ``None`` for a published file.
    """

    path: Path
    container: Container
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    read: Callable[[str], object] = field(default=lambda name: None, repr=False)
    format: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    networks: tuple["Content", ...] = ()

    def array(self, name: str, dtype: DTypeLike | None = None) -> np.ndarray:
        """An entry as a plain array.

        Raises:
            AssetFormatError: There is no such entry, or it does not hold numbers.
        """
        if name not in self.shapes:
            raise AssetFormatError(
                f"{self.path} lacks '{name}' (it has: {', '.join(sorted(self.shapes)) or 'nothing'})"
            )
        try:
            return np.asarray(to_array(self.read(name)), dtype)
        except AssetFormatError as error:
            if str(self.path) in str(error):
                raise
            raise AssetFormatError(f"{self.path}: '{name}' cannot be read: {error}") from None
        except Exception as error:  # a damaged member of an archive: zlib, value, key, ...
            raise AssetFormatError(f"{self.path}: '{name}' cannot be read: {error}") from None
