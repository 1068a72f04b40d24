"""``python -m emoca_core.train``: the same as ``emoca train``, for ``accelerate launch -m emoca_core.train``."""

import sys

from emoca_core.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
