"""How much of a stranger's file is read: every limit of the project in one table.

A message names the row that refused, and the variable that raises it for a file that deserves it:
``EMOCA_LIMIT_ASSET_BYTES=40e9 emoca assets add ...``.
"""

import os
from dataclasses import dataclass

from emoca_core.errors import EmocaError, LimitError

_VARIABLE = "EMOCA_LIMIT_"


@dataclass(frozen=True, slots=True)
class Limit:
    """One row of the table.

    Attributes:
        name: What the message calls it.
        default: The largest value that passes.
        unit: What is counted, in the plural.
    """

    name: str
    default: int
    unit: str

    @property
    def most(self) -> int:
        """The largest value that passes: the default, or what the environment says.

        Raises:
            LimitError: The environment variable holds no whole, positive number.
        """
        given = os.environ.get(self.variable)
        if given is None:
            return self.default
        try:
            if 0 < (value := float(given)) < 2**63 and value == int(value):
                return int(value)
        except ValueError:
            pass
        raise LimitError(f"{self.variable} is '{given[:40]}', which is not a whole number of {self.unit}")

    @property
    def variable(self) -> str:
        """The environment variable that changes it."""
        return _VARIABLE + self.name.upper()

    def check(self, value: int, what: object, error: type[EmocaError] = LimitError) -> None:
        """Pass, or refuse before the memory is taken.

        Args:
            value: How much it is.
            what: File, or part of a file, for the message; nothing, where somebody else names it.
            error: Class of the refusal, e.g. ``AssetFormatError``.

        Raises:
            LimitError: Or ``error``: it is more than the limit.

        Example:
            >>> CATALOGUE_BYTES.check(512, "registry.yaml")
            >>> CATALOGUE_BYTES.check(10**12, "registry.yaml")
            Traceback (most recent call last):
            emoca_core.errors.LimitError: registry.yaml: 1,000,000,000,000 bytes are more than the limit of 4,194,304 \
(catalogue_bytes; EMOCA_LIMIT_CATALOGUE_BYTES raises it)
        """
        if value > (most := self.most):
            raise error(
                f"{f'{what}: ' if what else ''}{_shown(value)} {self.unit} are more than the limit of {most:,} "
                f"({self.name}; {self.variable} raises it)"
            )


def _shown(value: int) -> str:
    return f"{value:,}" if value < 10**18 else "far too many"


KIB, MIB, GIB = 2**10, 2**20, 2**30

# text that people write, or that this program wrote
CATALOGUE_BYTES = Limit("catalogue_bytes", 4 * MIB, "bytes")
"""One YAML file: a registry.yaml, a sweep."""
RECORD_BYTES = Limit("record_bytes", 64 * MIB, "bytes")
"""One JSON file: an index, a face, a state."""
TABLE_BYTES = Limit("table_bytes", 4 * GIB, "bytes")
"""One CSV, JSON-lines or Parquet manifest."""
TEXT_DEPTH = Limit("text_depth", 64, "levels of nesting")
"""Lists in lists of YAML and JSON."""
TEXT_NODES = Limit("text_nodes", 200_000, "values")
"""Values of a YAML file after its aliases are followed."""
TABLE_ROWS = Limit("table_rows", 100_000_000, "rows")
"""Of a manifest: a few bytes of Parquet can promise any number."""
NUMBER_DIGITS = Limit("number_digits", 100, "digits")
"""One whole number in text."""
EXTENDS_DEPTH = Limit("extends_depth", 32, "recipes")
"""A recipe that extends one that extends one ..."""

# pictures
PHOTO_BYTES = Limit("photo_bytes", 512 * MIB, "bytes")
"""One file of a picture."""
PHOTO_PIXELS = Limit("photo_pixels", 100_000_000, "pixels")
"""10,000 x 10,000: a small file cannot fill the memory."""
CLIP_BYTES = Limit("clip_bytes", 4096 * GIB, "bytes")
"""One video, which is read piece by piece; ``PHOTO_PIXELS`` holds for its frames."""

# other people's code
PLUGIN_SECONDS = Limit("plugin_seconds", 60, "seconds")
"""Time that a plugin may take to say what it offers."""
PLUGIN_OFFERS = Limit("plugin_offers", 1_000, "items")
"""What one hook of one plugin may return."""

# published files
ASSET_BYTES = Limit("asset_bytes", 16 * GIB, "bytes")
"""One published file, and everything unpacked from it."""
PICKLE_BYTES = Limit("pickle_bytes", 4 * GIB, "bytes")
"""One pickle, which is held in memory whole."""
PICKLE_STEPS = Limit("pickle_steps", 1_000_000, "steps")
"""Instructions of a pickle and their arguments; each makes at most one list, text, number or array."""
PICKLE_DEPTH = Limit("pickle_depth", 64, "levels of nesting")
"""Lists in lists, groups in groups, structs in structs of a published file."""
EXPANDED_BYTES = Limit("expanded_bytes", 256 * MIB, "bytes")
"""One array that is stored in a shorter form: a sparse matrix, a list, a tensor with a stride of 0."""
HEADER_BYTES = Limit("header_bytes", 16 * MIB, "bytes")
"""The part of a file that says what the rest is: of safetensors, npy, TensorFlow's index."""
NAME_CHARACTERS = Limit("name_characters", 4096, "characters")
"""Name of one tensor."""
TEXT_BYTES = Limit("text_bytes", 256 * MIB, "bytes")
"""One text file that is held in memory whole: a mesh."""
MEMBERS = Limit("members", 100_000, "members")
"""Entries of one archive, arrays of one file."""
UNPACKED_RATIO = Limit("unpacked_ratio", 200, "times its packed size")
"""How much a compressed member may grow; small ones (``UNPACKED_FREE``) may grow as they like."""
UNPACKED_FREE = 64 * MIB
"""Unpacked size below which the ratio does not matter."""

# settings: what is larger is a typing error, and would cost the memory of the machine
COUNT = 10**9
"""Steps, epochs and the like."""
SEED = 2**32 - 1
"""Largest seed of NumPy's generators."""
BATCH = 2**16
"""Faces computed at once."""
IMAGE_SIZE = 4096
"""Side of computed images and maps, pixels."""
DATASET_LENGTH = 10**8
"""Faces of an endless data set that count as one epoch."""
