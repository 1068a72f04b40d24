"""``python -m emoca_core`` is ``emoca``."""

import sys

from emoca_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
